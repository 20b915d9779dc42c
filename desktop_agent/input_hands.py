"""What input sessions share where the platform tells the pointer's place and which keys are held: free hands, corners, drags."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Point, Rect

CORNER = 2  # pixels: the pointer in a corner of the desktop means stop
PATIENCE = 1.5  # seconds for the person to let go of a key
STEPS, ARRIVAL_SECONDS, STEP_SECONDS, REST_SECONDS = 15, 0.03, 0.012, 0.15


class HandsSession(ABC):
    """See ``desktop_agent.input.InputSession``; coordinates are the virtual desktop's, whole numbers name pixels."""

    def __init__(self) -> None:
        self._placed: tuple[int, int] | None = None

    @abstractmethod
    def _where(self) -> tuple[int, int]: ...

    @abstractmethod
    def _put(self, x: int, y: int, *, dragging: bool) -> None: ...

    @abstractmethod
    def _desktop(self) -> Rect: ...

    @abstractmethod
    def _button_held(self) -> bool: ...

    @abstractmethod
    def _modifiers_held(self) -> list[int]: ...

    @abstractmethod
    def _button(self, down: bool) -> None: ...

    @abstractmethod
    def _key(self, code: int, down: bool) -> None: ...

    @abstractmethod
    def _code(self, key: str) -> int:
        """The platform's key for an X keysym name; raises ValueError."""

    def position(self) -> Point:
        x, y = self._where()
        return Point(x + 0.5, y + 0.5)

    def move(self, point: Point) -> None:
        self._check_corners()
        self._place(int(point.x // 1), int(point.y // 1))

    def click(self) -> None:
        self._check_corners()
        self._button(True)
        self._button(False)

    def drag(self, start: Point, end: Point) -> None:
        self.move(start)
        time.sleep(ARRIVAL_SECONDS)
        self._button(True)
        try:
            for step in range(1, STEPS + 1):
                self._check_corners()
                part = step / STEPS
                x, y = start.x + part * (end.x - start.x), start.y + part * (end.y - start.y)
                self._place(int(x // 1), int(y // 1), dragging=True)
                time.sleep(STEP_SECONDS)
            time.sleep(REST_SECONDS)
        finally:
            self._button(False)

    def chord(self, *keys: str) -> None:
        self._check_corners()
        codes = [self._code(key) for key in keys]
        pressed: list[int] = []
        try:
            for code in codes:
                self._key(code, True)
                pressed.append(code)
        finally:
            for code in reversed(pressed):
                self._key(code, False)

    def wait_for_free_hands(self) -> None:
        """Held modifiers would turn Ctrl+V into something else: wait, then let go of them, else refuse."""
        deadline = time.monotonic() + PATIENCE
        while self._button_held() or self._modifiers_held():
            if time.monotonic() > deadline:
                break
            time.sleep(0.03)
        if self._button_held():
            raise PasteFailed("A mouse button is held down; let go of it and tap again.", code="button_held")
        for code in self._modifiers_held():
            self._key(code, False)
        if self._modifiers_held():
            raise PasteFailed(
                "A key such as Shift or Ctrl is held down; let go of it and tap again.", code="modifier_held"
            )

    def put_back(self, start: Point) -> None:
        """The pointer returns to where it was, unless the person has taken it meanwhile."""
        if self._placed == self._where():
            self._place(int(start.x // 1), int(start.y // 1))

    def _place(self, x: int, y: int, *, dragging: bool = False) -> None:
        self._put(x, y, dragging=dragging)
        self._placed = self._where()

    def _check_corners(self) -> None:
        (x, y), desktop = self._where(), self._desktop()
        across = min(x - desktop.left, desktop.right - 1 - x) <= CORNER
        down = min(y - desktop.top, desktop.bottom - 1 - y) <= CORNER
        if across and down and self._placed is not None and (x, y) != self._placed:
            raise PasteFailed("Stopped, because the mouse was moved into a corner of the screen.", code="aborted")
