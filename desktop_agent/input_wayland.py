"""Pointer and keyboard on Wayland through the portal's RemoteDesktop session, by keysyms, so that no layout matters.

The portal does not tell where the pointer is nor which keys are held: the fail-safe corners and the pointer's way back are missing
there. Linux input-event-codes.h: BTN_LEFT.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Point
from desktop_agent.portal_session import DesktopSession, UnitMap

BTN_LEFT = 0x110
KEYSYMS = {
    "Control_L": 0xFFE3, "Alt_L": 0xFFE9, "Shift_L": 0xFFE1, "Escape": 0xFF1B,
    "Left": 0xFF51, "Up": 0xFF52, "Right": 0xFF53, "Down": 0xFF54,
}  # fmt: skip
STEPS, STEP_SECONDS, REST_SECONDS = 15, 0.012, 0.15


class PortalInput:
    """``maps`` tells where the monitors of the session's streams are in capture pixels, in the streams' order."""

    def __init__(self, session: DesktopSession, maps: Callable[[], list[UnitMap]]) -> None:
        self._session, self._maps = session, maps

    @contextlib.contextmanager
    def session(self) -> Iterator[PortalInputSession]:
        assert self._session.handle  # asks for the permission, if it has not been given
        yield PortalInputSession(self._session, self._maps())


class PortalInputSession:
    """See ``desktop_agent.input.InputSession``."""

    def __init__(self, session: DesktopSession, maps: list[UnitMap]) -> None:
        self._session, self._maps = session, maps

    def move(self, point: Point) -> None:
        on_pixel = Point(point.x // 1 + 0.5, point.y // 1 + 0.5)
        streams = [stream for stream in self._session.streams if stream.units.width * stream.units.height]
        for stream, each in zip(streams, self._maps, strict=False):
            if each.pixels.contains(on_pixel):
                units = each.to_units(on_pixel)
                self._session.notify("NotifyPointerMotionAbsolute", "udd", stream.node, units.x, units.y)
                return
        raise PasteFailed(
            "That monitor was not shared with the agent: allow all monitors when the desktop asks.",
            code="needs_permission",
        )

    def click(self) -> None:
        self._button(True)
        self._button(False)

    def drag(self, start: Point, end: Point) -> None:
        self.move(start)
        self._button(True)
        try:
            for step in range(1, STEPS + 1):
                part = step / STEPS
                self.move(Point(start.x + part * (end.x - start.x), start.y + part * (end.y - start.y)))
                time.sleep(STEP_SECONDS)
            time.sleep(REST_SECONDS)
        finally:
            self._button(False)

    def chord(self, *keys: str) -> None:
        keysyms = [_keysym(key) for key in keys]
        pressed: list[int] = []
        try:
            for keysym in keysyms:
                self._session.notify("NotifyKeyboardKeysym", "iu", keysym, 1)
                pressed.append(keysym)
        finally:
            for keysym in reversed(pressed):
                self._session.notify("NotifyKeyboardKeysym", "iu", keysym, 0)

    def _button(self, down: bool) -> None:
        self._session.notify("NotifyPointerButton", "iu", BTN_LEFT, int(down))


def _keysym(key: str) -> int:
    if len(key) == 1 and key.isascii():
        return ord(key)  # Latin-1 keysyms are their characters' codes
    if key not in KEYSYMS:
        raise ValueError(f"no such key: {key}")
    return KEYSYMS[key]
