"""The board: a full-screen collage page on loopback, the place to paste for people with no editor open."""

from desktop_agent.board.blueprint import create_board
from desktop_agent.board.driver import BoardDriver
from desktop_agent.board.opening import open_board
from desktop_agent.board.store import BoardStore

__all__ = ["BoardDriver", "BoardStore", "create_board", "open_board"]
