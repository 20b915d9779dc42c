"""No windows: a machine without a display, or a picture as the screen."""

from __future__ import annotations

from desktop_agent.errors import PasteFailed
from desktop_agent.windows import Window


class NullProbe:
    def stack(self) -> list[Window]:
        return []

    def activate(self, window: Window) -> None:
        raise PasteFailed("There are no windows on this screen; point at the picture itself.", code="no_window")
