"""Pointer and keyboard on Windows through pywin32, by virtual-key codes, so that no keyboard layout matters.

Microsoft Learn, Win32 API: ``SetCursorPos``, ``mouse_event``, ``keybd_event``, ``GetAsyncKeyState``, "Virtual-Key Codes".
Coordinates are physical pixels, because the process that captures the screen is per-monitor aware.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from desktop_agent.geometry import Rect
from desktop_agent.input_hands import HandsSession

KEYS = {
    "Control_L": 0x11,
    "Alt_L": 0x12,
    "Shift_L": 0x10,
    "Escape": 0x1B,
    "Left": 0x25,
    "Up": 0x26,
    "Right": 0x27,
    "Down": 0x28,
}
MODIFIERS = (0x10, 0x11, 0x12, 0x5B, 0x5C)  # VK_SHIFT, VK_CONTROL, VK_MENU, VK_LWIN, VK_RWIN
BUTTONS = (0x01, 0x02, 0x04)  # VK_LBUTTON, VK_RBUTTON, VK_MBUTTON
LEFT_DOWN, LEFT_UP = 0x0002, 0x0004
KEY_UP = 0x0002
DOWN_NOW = 0x8000
VIRTUAL_SCREEN = (76, 77, 78, 79)  # SM_XVIRTUALSCREEN, SM_YVIRTUALSCREEN, SM_CXVIRTUALSCREEN, SM_CYVIRTUALSCREEN


class Win32Input:
    @contextlib.contextmanager
    def session(self) -> Iterator[Win32Session]:
        session = Win32Session()
        start = session.position()
        session.wait_for_free_hands()
        try:
            yield session
        finally:
            session.put_back(start)


class Win32Session(HandsSession):
    def __init__(self) -> None:
        super().__init__()
        import win32api

        self._api = win32api

    def _where(self) -> tuple[int, int]:
        x, y = self._api.GetCursorPos()
        return int(x), int(y)

    def _put(self, x: int, y: int, *, dragging: bool) -> None:
        self._api.SetCursorPos((x, y))

    def _desktop(self) -> Rect:
        return Rect(*(int(self._api.GetSystemMetrics(index)) for index in VIRTUAL_SCREEN))

    def _down(self, code: int) -> bool:
        return bool(self._api.GetAsyncKeyState(code) & DOWN_NOW)

    def _button_held(self) -> bool:
        return any(map(self._down, BUTTONS))

    def _modifiers_held(self) -> list[int]:
        return [code for code in MODIFIERS if self._down(code)]

    def _button(self, down: bool) -> None:
        self._api.mouse_event(LEFT_DOWN if down else LEFT_UP, 0, 0, 0, 0)

    def _key(self, code: int, down: bool) -> None:
        self._api.keybd_event(code, self._api.MapVirtualKey(code, 0), 0 if down else KEY_UP, 0)

    def _code(self, key: str) -> int:
        if len(key) == 1 and key.isascii() and key.isalnum():
            return ord(key.upper())  # the virtual-key codes of digits and letters are ASCII
        if key not in KEYS:
            raise ValueError(f"no such key: {key}")
        return KEYS[key]
