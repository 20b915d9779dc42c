"""The ``krita`` driver: Ctrl+Alt+V pastes a picture as a new layer at the cursor."""

from __future__ import annotations

from desktop_agent.geometry import Point
from desktop_agent.paste.closed_loop import Watch
from desktop_agent.paste.driver import RGBA
from desktop_agent.paste.pointer_paste import PointerPasteDriver
from desktop_agent.windows import Window

HARDLY_SEEN = 1  # of 255, the least alpha there is


class KritaDriver(PointerPasteDriver):
    """Krita puts the middle of what is not transparent at the cursor, which may be half a pixel off the raster's: two corners that
    are hardly seen make them the same."""

    name = "krita"
    keys = ("Control_L", "Alt_L", "v")
    hold_seconds = 0.15
    rest_seconds = 0.8  # Krita 5.1 may crash when a paste is undone while its layer is still being computed

    def can_handle(self, window: Window | None) -> bool:
        return window is not None and window.app_class.lower() == "krita"

    def _put(self, raster: RGBA, at: Point, window: Window, density: float) -> Watch:
        cornered = raster.copy()
        for corner in ((0, 0), (-1, -1)):
            cornered[corner][3] = max(HARDLY_SEEN, raster[corner][3])
        return super()._put(cornered, at, window, density)
