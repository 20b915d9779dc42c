"""The board driver against a drawn screen: what covers the page's corners for a moment, and what stays there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from desktop_agent.board import BoardDriver, BoardStore
from desktop_agent.board.driver import SEEN_S
from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Placement, Point, Rect
from desktop_agent.screen import Monitor, PictureScreen, Screenshot
from desktop_agent.windows import Window
from tests.desktop_agent.board.test_landing import leaf, on_desktop, page, view

SHIFT = (131, 77)
WINDOW = Window(1, "AR copy & paste board - Browser", "Browser", "browser", Rect(0, 0, 1300, 900))


class BoardScreen:
    """A browser that shows the board's page; ``covers`` tells from the number of looks whether a popup hides two corners."""

    def __init__(self, store: BoardStore, cutout: np.ndarray, covers: Callable[[int], bool]) -> None:
        self.store, self.cutout, self.covers, self.looks = store, cutout, covers, 0
        self.empty = on_desktop(page(0), np.array([[1.0, 0, SHIFT[0]], [0, 1, SHIFT[1]]]))

    def monitors(self) -> list[Monitor]:
        return [Monitor(1, Rect(0, 0, 1300, 900))]

    def grab(self) -> list[Screenshot]:
        self.looks += 1
        screen = PictureScreen(self.empty)
        for item in self.store.snapshot().items:
            on_page = item.placement
            screen.paste(self.cutout, Placement(on_page.center.shifted(*SHIFT), on_page.scale, on_page.rotation))
        shot = screen.picture
        if self.covers(self.looks):
            shot[60:140] = 128
        return [Screenshot(self.monitors()[0], shot)]


@contextmanager
def visible_page(store: BoardStore) -> Iterator[None]:
    """A page that answers every hail and paints every revision at once."""
    gone = threading.Event()

    def answer() -> None:
        while not gone.is_set():
            store.pages.enter("pagepage")
            _, hail = store.pages.status("pagepage")
            store.pages.painted("pagepage", store.snapshot().revision, hail, view())
            gone.wait(0.02)

    thread = threading.Thread(target=answer, name="arcp-test-page")
    thread.start()
    try:
        yield
    finally:
        gone.set()
        thread.join()


def test_a_popup_over_the_corners_is_waited_for(tmp_path: Path) -> None:
    store, cutout = BoardStore(tmp_path), leaf()
    screen = BoardScreen(store, cutout, lambda looks: looks <= 3)
    with visible_page(store):
        landing = BoardDriver(store, screen).paste(cutout, Placement(Point(500.3, 400.6), 0.5, 8), WINDOW)
    assert screen.looks >= 5
    assert landing.landing_error_px == pytest.approx(0, abs=0.3)
    assert len(store.snapshot().items) == 1


def test_corners_that_stay_covered_are_told_and_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("desktop_agent.board.driver.SEEN_S", SEEN_S / 10)
    store, cutout = BoardStore(tmp_path), leaf()
    with visible_page(store), pytest.raises(PasteFailed) as failed:
        BoardDriver(store, BoardScreen(store, cutout, lambda looks: True)).paste(
            cutout, Placement(Point(500, 400), 0.5), WINDOW
        )
    assert failed.value.code == "board_hidden"
    assert store.snapshot().items == ()
