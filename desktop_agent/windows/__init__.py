"""Which window lies under a point: one ``Window`` dataclass, one probe a platform."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from desktop_agent.geometry import Point, Rect


@dataclass(frozen=True)
class Window:
    """A top-level window. ``app_class`` is WM_CLASS's class on X11, the executable's or bundle's name elsewhere."""

    id: int
    title: str
    app_class: str
    app_instance: str
    rect: Rect
    pid: int | None = None


class WindowProbe(Protocol):
    """How the agent asks a platform for its windows; replace it in tests."""

    def stack(self) -> list[Window]:
        """The visible top-level windows, topmost first, without desktops and docks."""
        ...

    def activate(self, window: Window) -> None:
        """Give the window the focus through the window manager, never by a click."""
        ...


def window_at(stack: list[Window], point: Point) -> Window | None:
    """The topmost window that contains the point."""
    return next((window for window in stack if window.rect.contains(point)), None)
