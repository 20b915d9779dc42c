"""Pointer and keyboard on X11 through the XTEST extension, whatever keyboard layout is active."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from desktop_agent.geometry import Rect
from desktop_agent.input_hands import HandsSession
from desktop_agent.x11 import connection
from desktop_agent.x11_layout import active_group, find_keycode, unused_keycode

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


class X11Session(HandsSession):
    def __init__(self, display: Any) -> None:
        super().__init__()
        self._display = display
        self._root = display.screen().root
        self._borrowed: tuple[int, list[int]] | None = None  # keycode whose keysyms were replaced

    def _where(self) -> tuple[int, int]:
        pointer = self._root.query_pointer()
        return pointer.root_x, pointer.root_y

    def _put(self, x: int, y: int, *, dragging: bool) -> None:
        from Xlib import X

        self._fake(X.MotionNotify, 0, x=x, y=y)

    def _desktop(self) -> Rect:
        geometry = self._root.get_geometry()
        return Rect(0, 0, geometry.width, geometry.height)

    def _button_held(self) -> bool:
        return bool(self._root.query_pointer().mask & ANY_BUTTON)

    def _modifiers_held(self) -> list[int]:
        """Keycodes of Shift, Ctrl, Alt, ... that are down; Caps Lock and Num Lock only when pressed."""
        keymap = self._display.query_keymap()
        modifiers = {code for row in self._display.get_modifier_mapping() for code in row if code}
        return sorted(code for code in modifiers if keymap[code // 8] >> (code % 8) & 1)

    def _button(self, down: bool) -> None:
        from Xlib import X

        self._fake(X.ButtonPress if down else X.ButtonRelease, 1)

    def _key(self, code: int, down: bool) -> None:
        from Xlib import X

        self._fake(X.KeyPress if down else X.KeyRelease, code)

    def _code(self, key: str) -> int:
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

    def _fake(self, kind: int, detail: int, **position: int) -> None:
        from Xlib.ext import xtest

        xtest.fake_input(self._display, kind, detail, **position)
        self._display.sync()
