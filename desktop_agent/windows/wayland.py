"""Windows on Wayland, where no program is told of another's: one stand-in that covers all monitors."""

from __future__ import annotations

from collections.abc import Callable

from desktop_agent.geometry import Rect
from desktop_agent.screen import Monitor
from desktop_agent.windows import Window


class WaylandProbe:
    """The paste goes to the window that has the focus; whether that is the one under the point, the screen tells afterwards."""

    def __init__(self, monitors: Callable[[], list[Monitor]]) -> None:
        self._monitors = monitors

    def stack(self) -> list[Window]:
        rects = [monitor.rect for monitor in self._monitors()]
        left, top = min(rect.left for rect in rects), min(rect.top for rect in rects)
        right, bottom = max(rect.right for rect in rects), max(rect.bottom for rect in rects)
        return [Window(1, "the window in front", "Wayland", "wayland", Rect(left, top, right - left, bottom - top))]

    def activate(self, window: Window) -> None:
        """Nobody may give the focus away on Wayland; the person's last click did."""
