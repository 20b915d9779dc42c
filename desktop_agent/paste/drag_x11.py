"""Dropping a picture at a point by the XDND protocol (version 5, freedesktop.org), without touching the pointer.

The messages say where the drop is, so no button is pressed and nothing can be drawn by the tool that is active.
"""

from __future__ import annotations

import time
from typing import Any

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Point
from desktop_agent.paste.clipboard_x11 import SelectionOwner
from desktop_agent.windows import Window
from desktop_agent.x11 import connection

VERSION = 5
ANSWER_SECONDS = 3.0
ACCEPT_SECONDS = 1.5
SETTLE_SECONDS = 0.05  # between positions: toolkits start their own autoscroll and hover work


class X11Drag:
    def __init__(self, display: str | None = None) -> None:
        self._name = display

    def drop(self, content: dict[str, bytes], window: Window, at: Point) -> None:
        """Raises ``PasteFailed`` (``drop_refused``) where the window does not take these kinds of content there."""
        source = SelectionOwner(self._name, "XdndSelection")
        try:
            source.offer(content)
            with connection(self._name) as display:
                _Drag(display, source, window, list(content)).drop(at)
        finally:
            source.stop()


class _Drag:
    def __init__(self, display: Any, source: SelectionOwner, window: Window, kinds: list[str]) -> None:
        self._display, self._source, self._title = display, source, window.title
        self._content = kinds
        self._kinds = [display.intern_atom(kind) for kind in kinds]
        self._target = display.create_resource_object("window", window.id)
        self._version = self._aware()

    def _aware(self) -> int:
        from Xlib import X

        found = self._target.get_full_property(self._display.intern_atom("XdndAware"), X.AnyPropertyType)
        if found is None or not len(found.value):
            raise PasteFailed(f"“{self._title}” takes no drops; point at a document.", code="drop_refused")
        return min(VERSION, int(found.value[0]))

    def drop(self, at: Point) -> None:
        kinds = [*self._kinds, 0, 0, 0][:3]
        self._send("XdndEnter", self._version << 24, *kinds)
        x, y = int(at.x // 1), int(at.y // 1)
        for step in (8, 4, 0):  # a short way, as a hand would come
            accepted = self._position(x - step, y - step)
            time.sleep(SETTLE_SECONDS)
        deadline = time.monotonic() + ACCEPT_SECONDS
        while (
            not accepted and time.monotonic() < deadline
        ):  # toolkits answer before their application has made up its mind
            accepted = self._position(x, y)
            time.sleep(SETTLE_SECONDS)
        if not accepted:
            self._send("XdndLeave", 0)
            raise PasteFailed(
                f"“{self._title}” does not take pictures at that point; point at the page itself.", code="drop_refused"
            )
        self._send("XdndDrop", 0, 0)
        finished = self._source.message("XdndFinished", ANSWER_SECONDS) is not None
        if any(self._source.taken(kind, 0) for kind in self._content):  # slow is not refused
            return
        if not finished:
            raise PasteFailed(
                f"“{self._title}” does not answer the drop; a dialog may be open in it.", code="no_answer"
            )
        raise PasteFailed(
            f"“{self._title}” let the drop go without taking the picture: it may be read-only. Point at a document that is not.",
            code="not_taken",
        )

    def _position(self, x: int, y: int) -> bool:
        copy = self._display.intern_atom("XdndActionCopy")
        self._send("XdndPosition", 0, (x << 16) | y, 0, copy)
        status = self._source.message("XdndStatus", ANSWER_SECONDS)
        return status is not None and bool(status[1] & 1)

    def _send(self, kind: str, *numbers: int) -> None:
        from Xlib.protocol import event

        data = [self._source.window_id, *numbers, 0, 0, 0, 0][:5]
        message = event.ClientMessage(window=self._target, client_type=self._display.intern_atom(kind), data=(32, data))
        self._target.send_event(message)
        self._display.flush()
