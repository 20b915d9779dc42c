"""LibreOffice Writer: pictures flow with the text, so a click puts the caret at the point and Ctrl+V puts the picture there."""

from __future__ import annotations

import time

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Placement, Point
from desktop_agent.paste.calibrated import centered_raster
from desktop_agent.paste.clipboard import PNG
from desktop_agent.paste.closed_loop import FETCH_SECONDS, Desk, Watch
from desktop_agent.paste.driver import RGBA, Landing
from desktop_agent.paste.png import encode_png
from desktop_agent.windows import Window

CARET_SECONDS = 0.25


class WriterDriver:
    name = "libreoffice"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def can_handle(self, window: Window | None) -> bool:
        return window is not None and window.app_class.lower().startswith("libreoffice-writer")

    def paste(self, cutout: RGBA, placement: Placement, window: Window | None) -> Landing:
        """Anchored at the caret; raises ``PasteFailed`` where the picture is not seen afterwards."""
        if window is None:
            raise PasteFailed("There is no text under the point: open a document there.", code="no_window")
        desk, raster = self._desk, centered_raster(cutout, Placement(Point(0, 0), placement.scale, placement.rotation))
        desk.windows.activate(window)
        with desk.clipboard.offering({PNG: encode_png(raster)}) as offer, desk.input.session() as session:
            session.move(placement.center)
            session.click()
            time.sleep(CARET_SECONDS)
            session.chord("Escape")  # a picture that the click selected would be replaced
            time.sleep(CARET_SECONDS)
            watch = Watch(desk, window)
            session.chord("Control_L", "v")
            if not offer.taken(PNG, FETCH_SECONDS):
                raise watch.nothing_taken(offer)
            watch.find(cutout, placement, scales=(0.1, 4.0))
        return Landing(self.name, window.app_class, anchor="caret")
