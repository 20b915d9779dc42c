"""Pointer and keyboard on macOS through Quartz events; Ctrl in a chord is Command there.

Apple Developer Documentation, Core Graphics, "Quartz Event Services": ``CGEventCreateMouseEvent``, ``CGEventPost``,
``CGEventSourceFlagsState``, ``CGPreflightPostEventAccess``. Virtual key codes name places on an ANSI keyboard: right for QWERTY,
QWERTZ, AZERTY and Cyrillic layouts, whose V is in the same place, not for Dvorak.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Point as ScreenPoint
from desktop_agent.geometry import Rect, bounding_rect
from desktop_agent.input_hands import HandsSession

# Events.h of Carbon's HIToolbox: kVK_Command, kVK_Option, kVK_Shift, kVK_Control, kVK_Escape, the arrows
KEYS = {
    "Control_L": 0x37, "Alt_L": 0x3A, "Shift_L": 0x38, "Escape": 0x35,
    "Left": 0x7B, "Right": 0x7C, "Down": 0x7D, "Up": 0x7E,
}  # fmt: skip
LETTERS = {"v": 0x09, "z": 0x06}  # kVK_ANSI_V, kVK_ANSI_Z
MODIFIERS = {0x37: 1 << 20, 0x38: 1 << 17, 0x3B: 1 << 18, 0x3A: 1 << 19}  # key -> its CGEventFlags bit
MOVED, DOWN, UP, DRAGGED = 5, 1, 2, 6  # kCGEventMouseMoved, LeftMouseDown, LeftMouseUp, LeftMouseDragged
HID_TAP = 0  # kCGHIDEventTap
COMBINED = 0  # kCGEventSourceStateCombinedSessionState
BUTTONS = (0, 1, 2)
ALLOW = (
    "The agent may not move the pointer or press keys here: allow it in System Settings > Privacy & Security > Accessibility, "
    "and start it again."
)


class MacInput:
    @contextlib.contextmanager
    def session(self) -> Iterator[MacSession]:
        import Quartz

        if not Quartz.CGPreflightPostEventAccess():
            Quartz.CGRequestPostEventAccess()  # macOS asks the person, once
            raise PasteFailed(ALLOW, code="needs_permission")
        session = MacSession()
        start = session.position()
        session.wait_for_free_hands()
        try:
            yield session
        finally:
            session.put_back(start)


class MacSession(HandsSession):
    def __init__(self) -> None:
        super().__init__()
        import Quartz

        self._quartz = Quartz
        self._flags = 0  # of the modifiers that this session holds; each event carries them

    def _where(self) -> tuple[int, int]:
        at = self._quartz.CGEventGetLocation(self._quartz.CGEventCreate(None))
        return int(at.x), int(at.y)

    def _put(self, x: int, y: int, *, dragging: bool) -> None:
        self._mouse(DRAGGED if dragging else MOVED, x, y)

    def _mouse(self, kind: int, x: int, y: int) -> None:
        event = self._quartz.CGEventCreateMouseEvent(None, kind, (x + 0.5, y + 0.5), 0)
        self._quartz.CGEventPost(HID_TAP, event)

    def _desktop(self) -> Rect:
        _, displays, _ = self._quartz.CGGetActiveDisplayList(16, None, None)
        corners: list[ScreenPoint] = []
        for display in displays:
            bounds = self._quartz.CGDisplayBounds(display)
            corners.append(ScreenPoint(bounds.origin.x, bounds.origin.y))
            corners.append(ScreenPoint(bounds.origin.x + bounds.size.width, bounds.origin.y + bounds.size.height))
        return bounding_rect(corners)

    def _button_held(self) -> bool:
        return any(self._quartz.CGEventSourceButtonState(COMBINED, button) for button in BUTTONS)

    def _modifiers_held(self) -> list[int]:
        flags = self._quartz.CGEventSourceFlagsState(COMBINED)
        return [code for code, bit in MODIFIERS.items() if flags & bit]

    def _button(self, down: bool) -> None:
        x, y = self._where()
        self._mouse(DOWN if down else UP, x, y)

    def _key(self, code: int, down: bool) -> None:
        bit = MODIFIERS.get(code, 0)
        self._flags = self._flags | bit if down else self._flags & ~bit
        event = self._quartz.CGEventCreateKeyboardEvent(None, code, down)
        self._quartz.CGEventSetFlags(event, self._flags)
        self._quartz.CGEventPost(HID_TAP, event)

    def _code(self, key: str) -> int:
        code = KEYS.get(key, LETTERS.get(key.lower()))
        if code is None:
            raise ValueError(f"no such key: {key}")
        return code
