"""Does anybody still wait for the answer? The WSGI server knows; the engine asks while a picture queues."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable, Iterator
from contextvars import ContextVar

Gone = Callable[[], bool]

_gone: ContextVar[Gone | None] = ContextVar("arcp_client_gone", default=None)


def client_gone() -> Gone | None:
    """The probe of the request that this thread answers; None where there is none."""
    return _gone.get()


@contextlib.contextmanager
def answering(gone: Gone) -> Iterator[None]:
    """Within it this thread answers a client that ``gone`` watches."""
    token = _gone.set(gone)
    try:
        yield
    finally:
        _gone.reset(token)


def closed_by_peer(connection: socket.socket) -> bool:
    """True once the peer has closed its side. HTTP clients close theirs only when they no longer want the answer."""
    try:
        if hasattr(select, "POLLRDHUP"):
            poller = select.poll()
            poller.register(connection, select.POLLRDHUP)  # errors and hang-ups are reported anyway
            return bool(poller.poll(0))
        readable, _, _ = select.select([connection], [], [], 0)  # elsewhere: readable, and nothing to read
        return bool(readable) and not socket.socket.recv(connection, 1, socket.MSG_PEEK)
    except (OSError, ValueError):
        return True
