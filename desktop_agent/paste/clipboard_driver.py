"""The ``clipboard`` driver: any application that pastes pictures with Ctrl+V at the pointer, the caret or where it likes."""

from __future__ import annotations

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Placement
from desktop_agent.paste.clipboard import PNG
from desktop_agent.paste.closed_loop import Desk, Watch, paste_by_clipboard
from desktop_agent.paste.driver import RGBA, Landing
from desktop_agent.paste.match import Match
from desktop_agent.paste.png import encode_png
from desktop_agent.paste.raster import render
from desktop_agent.windows import Window

FREE = 4.0  # pixels: farther off, the application has its own idea of the place


class ClipboardDriver:
    """Pastes the picture as it shall look on the screen, since an unknown application cannot be asked to scale it."""

    name = "clipboard"
    keys: tuple[str, ...] = ("Control_L", "v")

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def can_handle(self, window: Window | None) -> bool:
        return window is not None

    def paste(self, cutout: RGBA, placement: Placement, window: Window | None) -> Landing:
        """Raises ``PasteFailed``: not taken, a dialog, clipboard stolen, nothing or something else to be seen."""
        if window is None:
            raise PasteFailed("There is no window under the point: open a document there.", code="no_window")
        raster = render_for_screen(cutout, placement)

        def seen(watch: Watch) -> Match:
            return watch.find(raster, Placement(placement.center), scales=(0.25, 4.0))

        _, match = paste_by_clipboard(
            self._desk, window, placement, {PNG: encode_png(raster)}, keys=self.keys, then=seen
        )
        error = match.placement.center.distance(placement.center)
        if error > FREE:
            return Landing(self.name, window.app_class, anchor="caret")
        return Landing(self.name, window.app_class, landing_error_px=error)


def render_for_screen(cutout: RGBA, placement: Placement) -> RGBA:
    """The cut-out scaled and turned, in a raster of even size whose centre is the cut-out's."""
    bounds = placement.bounds(cutout.shape[1], cutout.shape[0])
    drawn = render(cutout, Placement(bounds.center, placement.scale, placement.rotation))
    assert drawn is not None
    return drawn[0]
