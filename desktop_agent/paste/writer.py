"""LibreOffice Writer: a picture comes at the text's caret, selected, and is dragged from there to the point."""

from __future__ import annotations

import time

from desktop_agent.geometry import Placement, Point
from desktop_agent.paste.calibrated import CalibratedDriver, right_size
from desktop_agent.paste.clipboard import PNG
from desktop_agent.paste.closed_loop import FETCH_SECONDS, Watch
from desktop_agent.paste.driver import RGBA
from desktop_agent.paste.match import Match
from desktop_agent.paste.png import encode_png
from desktop_agent.windows import Window

CARET_SECONDS = 0.25


class WriterDriver(CalibratedDriver):
    """A picture that cannot be dragged (one that is a character of its line) stays at the caret and is reported so."""

    name = "libreoffice"
    scales_pictures = True
    follows_pointer = False
    fine_keys = ("Alt_L",)

    def can_handle(self, window: Window | None) -> bool:
        return window is not None and window.app_class.lower().startswith("libreoffice-writer")

    def _put(self, raster: RGBA, at: Point, window: Window, density: float) -> Watch:
        desk = self._desk
        desk.windows.activate(window)
        with desk.clipboard.offering({PNG: encode_png(raster, density)}) as offer, desk.input.session() as session:
            session.move(at)
            session.click()
            time.sleep(CARET_SECONDS)
            session.chord("Escape")  # a picture that the click selected would be replaced
            time.sleep(CARET_SECONDS)
            watch = Watch(desk, window)
            session.chord("Control_L", "v")
            if not offer.taken(PNG, FETCH_SECONDS):
                raise watch.nothing_taken(offer)
            watch.wait_for_change()
        return watch

    def _elsewhere(self, match: Match, wanted: Placement) -> bool:
        return right_size(match, wanted) and not self._good(match, wanted)

    def _movable(self, match: Match, window: Window) -> bool:
        return True
