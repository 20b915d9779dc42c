"""Applications that paste a picture from the clipboard with its centre at the pointer."""

from __future__ import annotations

import time

from desktop_agent.geometry import Point
from desktop_agent.paste.calibrated import CalibratedDriver
from desktop_agent.paste.clipboard import PNG
from desktop_agent.paste.closed_loop import FETCH_SECONDS, Watch
from desktop_agent.paste.driver import RGBA
from desktop_agent.paste.png import encode_png
from desktop_agent.windows import Window

HOVER_SECONDS = 0.08


class PointerPasteDriver(CalibratedDriver):
    keys: tuple[str, ...] = ("Control_L", "v")
    hold_seconds = 0.0  # for an application that reads the clipboard again after it has shown the picture

    def _put(self, raster: RGBA, at: Point, window: Window, density: float) -> Watch:
        desk = self._desk
        desk.windows.activate(window)
        with desk.clipboard.offering({PNG: encode_png(raster, density)}) as offer, desk.input.session() as session:
            session.move(at)
            time.sleep(HOVER_SECONDS)  # the application hears of the pointer and draws its hover effects
            watch = Watch(desk, window)
            session.chord(*self.keys)
            if not offer.taken(PNG, FETCH_SECONDS):
                raise watch.nothing_taken(offer)
            watch.wait_for_change()
            time.sleep(self.hold_seconds)
        return watch
