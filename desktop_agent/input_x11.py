"""Pointer and keyboard on X11 through the XTEST extension, whatever keyboard layout is active."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Point
from desktop_agent.x11 import connection
from desktop_agent.x11_layout import active_group, find_keycode, unused_keycode

CORNER = 2  # pixels: the pointer in a corner of the desktop means stop
PATIENCE = 1.5  # seconds for the person to let go of a key
STEPS, STEP_SECONDS, REST_SECONDS = 15, 0.012, 0.15
ANY_BUTTON = 0x1F00


class X11Input:
    def __init__(self, display: str | None = None) -> None:
        self._name = display

    @contextlib.contextmanager
    def session(self) -> Iterator[X11Session]:
        with connection(self._name) as display:
            session = X11Session(display)
            start = session.position()
            session.wait_for_free_hands()
            try:
                yield session
            finally:
                session.restore_keyboard()
                session.put_back(start)


class X11Session:
    def __init__(self, display: Any) -> None:
        self._display = display
        self._root = display.screen().root
        self._placed: tuple[int, int] | None = None
        self._borrowed: tuple[int, list[int]] | None = None  # keycode whose keysyms were replaced

    def position(self) -> Point:
        pointer = self._root.query_pointer()
        return Point(pointer.root_x + 0.5, pointer.root_y + 0.5)

    def move(self, point: Point) -> None:
        self._check_corners()
        self._place(int(point.x // 1), int(point.y // 1))

    def click(self) -> None:
        self._check_corners()
        self._button(True)
        self._button(False)

    def drag(self, start: Point, end: Point) -> None:
        self.move(start)
        time.sleep(0.03)
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
        from Xlib import X

        self._check_corners()
        codes = [self._keycode(key) for key in keys]
        pressed: list[int] = []
        try:
            for code in codes:
                self._fake(X.KeyPress, code)
                pressed.append(code)
        finally:
            for code in reversed(pressed):
                self._fake(X.KeyRelease, code)

    def wait_for_free_hands(self) -> None:
        """Held modifiers would turn Ctrl+V into something else: wait, then let go of them, else refuse."""
        deadline = time.monotonic() + PATIENCE
        while self._held_modifiers() or self._root.query_pointer().mask & ANY_BUTTON:
            if time.monotonic() > deadline:
                self._let_go()
                return
            time.sleep(0.03)

    def _let_go(self) -> None:
        from Xlib import X

        if self._root.query_pointer().mask & ANY_BUTTON:
            raise PasteFailed("A mouse button is held down; let go of it and tap again.", code="button_held")
        for code in self._held_modifiers():
            self._fake(X.KeyRelease, code)
        if self._held_modifiers():
            raise PasteFailed(
                "A key such as Shift or Ctrl is held down; let go of it and tap again.", code="modifier_held"
            )

    def _held_modifiers(self) -> list[int]:
        """Keycodes of Shift, Ctrl, Alt, ... that are down; Caps Lock and Num Lock only when pressed."""
        keymap = self._display.query_keymap()
        modifiers = {code for row in self._display.get_modifier_mapping() for code in row if code}
        return sorted(code for code in modifiers if keymap[code // 8] >> (code % 8) & 1)

    def _keycode(self, key: str) -> int:
        from Xlib import XK

        keysym = XK.string_to_keysym(key)
        if not keysym:
            raise ValueError(f"no such key: {key}")
        code = find_keycode(self._display, keysym, active_group(self._display))
        return code if code is not None else self._borrow(keysym)

    def _borrow(self, keysym: int) -> int:
        """No layout of the keyboard has this key (a Russian one alone): give it to a keycode that has none."""
        if self._borrowed is None:
            code = unused_keycode(self._display)
            self._borrowed = (code, list(self._display.get_keyboard_mapping(code, 1)[0]))
        code, original = self._borrowed
        self._display.change_keyboard_mapping(code, [[keysym] * max(4, len(original))])
        self._display.sync()
        time.sleep(0.1)  # applications read the new map when they hear of it
        return code

    def restore_keyboard(self) -> None:
        if self._borrowed is not None:
            code, original = self._borrowed
            self._display.change_keyboard_mapping(code, [original])
            self._display.sync()

    def put_back(self, start: Point) -> None:
        """The pointer returns to where it was, unless the person has taken it meanwhile."""
        now = self.position()
        if self._placed == (int(now.x), int(now.y)):
            self._place(int(start.x), int(start.y))

    def _check_corners(self) -> None:
        now, geometry = self.position(), self._root.get_geometry()
        x, y = int(now.x), int(now.y)
        in_corner = min(x, geometry.width - 1 - x) <= CORNER and min(y, geometry.height - 1 - y) <= CORNER
        if in_corner and self._placed is not None and (x, y) != self._placed:
            raise PasteFailed("Stopped, because the mouse was moved into a corner of the screen.", code="aborted")

    def _place(self, x: int, y: int) -> None:
        from Xlib import X

        self._fake(X.MotionNotify, 0, x=x, y=y)
        now = self.position()
        self._placed = (int(now.x), int(now.y))

    def _button(self, down: bool) -> None:
        from Xlib import X

        self._fake(X.ButtonPress if down else X.ButtonRelease, 1)

    def _fake(self, kind: int, detail: int, **position: int) -> None:
        from Xlib.ext import xtest

        xtest.fake_input(self._display, kind, detail, **position)
        self._display.sync()
