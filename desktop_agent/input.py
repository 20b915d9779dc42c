"""The pointer and the keyboard as drivers use them; one class a platform behind these protocols."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from desktop_agent.geometry import Point


class InputSession(Protocol):
    """One burst of input. Every step raises ``PasteFailed`` (code ``aborted``) once the person has moved the pointer into
    a corner of the desktop."""

    def move(self, point: Point) -> None:
        """Put the pointer on the pixel that holds ``point`` (virtual desktop pixels)."""
        ...

    def click(self) -> None:
        """Press and release the first button where the pointer is."""
        ...

    def drag(self, start: Point, end: Point) -> None:
        """Press the first button at ``start``, move in small steps, rest, and release it at ``end``."""
        ...

    def chord(self, *keys: str) -> None:
        """Press X keysym names in order and release them in reverse, e.g. ``chord("Control_L", "v")``."""
        ...


class InputDevices(Protocol):
    def session(self) -> AbstractContextManager[InputSession]:
        """Begins with no modifier and no button held (or raises ``PasteFailed``), ends with the pointer where it was."""
        ...
