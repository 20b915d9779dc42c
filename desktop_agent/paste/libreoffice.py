"""The ``libreoffice`` driver: Draw and Impress take a picture that is dropped on them at the drop's point."""

from __future__ import annotations

from desktop_agent.geometry import Point
from desktop_agent.paste.calibrated import CalibratedDriver
from desktop_agent.paste.clipboard import PNG
from desktop_agent.paste.closed_loop import Desk, Watch
from desktop_agent.paste.drag_x11 import X11Drag
from desktop_agent.paste.driver import RGBA
from desktop_agent.paste.png import encode_png
from desktop_agent.windows import Window

FREE_PLACEMENT = ("libreoffice-draw", "libreoffice-impress")


class LibreOfficeDriver(CalibratedDriver):
    name = "libreoffice"
    scales_pictures = True

    def __init__(self, desk: Desk, drag: X11Drag) -> None:
        super().__init__(desk)
        self._drag = drag

    def can_handle(self, window: Window | None) -> bool:
        return window is not None and window.app_class.lower().startswith(FREE_PLACEMENT)

    def _put(self, raster: RGBA, at: Point, window: Window, density: float) -> Watch:
        self._desk.windows.activate(window)
        watch = Watch(self._desk, window)
        self._drag.drop({PNG: encode_png(raster, density)}, window, at)
        return watch
