"""The ``libreoffice`` driver: Draw and Impress take a picture that is dropped on them at the drop's point; an office that listens
for UNO connections gets it as a shape with exactly that size, angle and place."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Placement, Point
from desktop_agent.paste.calibrated import CalibratedDriver
from desktop_agent.paste.clipboard import PNG
from desktop_agent.paste.closed_loop import Desk, Watch
from desktop_agent.paste.drag_x11 import X11Drag
from desktop_agent.paste.driver import RGBA, Landing
from desktop_agent.paste.png import encode_png
from desktop_agent.paste.uno_office import UnoOffice, address_of, connected
from desktop_agent.windows import Window

FREE_PLACEMENT = ("libreoffice-draw", "libreoffice-impress")
GOOD_PX, GOOD_SCALE = 0.3, 0.004
CORRECTIONS = 3
REDRAW_SECONDS = 0.5  # some corrections are too small to be seen


class LibreOfficeDriver(CalibratedDriver):
    name = "libreoffice"
    scales_pictures = True

    def __init__(self, desk: Desk, drag: X11Drag) -> None:
        super().__init__(desk)
        self._drag = drag
        self._canvas: dict[int, Canvas] = {}

    def can_handle(self, window: Window | None) -> bool:
        return window is not None and window.app_class.lower().startswith(FREE_PLACEMENT)

    def paste(self, cutout: RGBA, placement: Placement, window: Window | None) -> Landing:
        address = None if window is None else address_of(window)
        if window is not None and address is not None:
            with connected(window, address) as office:
                if office is not None:
                    return self._insert(office, cutout, placement, window)
        return super().paste(cutout, placement, window)

    def _put(self, raster: RGBA, at: Point, window: Window, density: float) -> Watch:
        self._desk.windows.activate(window)
        watch = Watch(self._desk, window)
        self._drag.drop({PNG: encode_png(raster, density)}, window, at)
        return watch

    def _insert(self, office: UnoOffice, cutout: RGBA, wanted: Placement, window: Window) -> Landing:
        """The first place shows how the page lies on the screen, unless the last paste into the window has shown it."""
        self._desk.windows.activate(window)
        left, top, width, height = office.ask(open=window.title)["area"]
        middle = Point(left + width / 2, top + height / 2)
        known = self._canvas.get(window.id)
        canvas = known or Canvas(window.rect.center, window.rect.width)
        sheet = Sheet(canvas.center, middle, canvas.width / width)
        watch = Watch(self._desk, window)
        with tempfile.TemporaryDirectory(prefix="arcp-") as folder:
            picture = Path(folder) / "cut-out.png"
            picture.write_bytes(encode_png(cutout))
            office.ask(insert=str(picture), place=sheet.place(cutout, wanted))
            watch.wait_for_change()
        try:
            seen = watch.find(cutout, wanted, scales=(0.7, 1.4) if known else (0.1, 8.0)).placement
            for _ in range(CORRECTIONS):
                right_size = abs(wanted.scale / seen.scale - 1) < GOOD_SCALE
                if right_size and seen.center.distance(wanted.center) < GOOD_PX:
                    break
                sheet, was = sheet.corrected(wanted, seen), watch.now()
                office.ask(place=sheet.place(cutout, wanted))
                watch.wait_for_change(was, REDRAW_SECONDS)
                seen = watch.find(cutout, wanted, scales=(0.8, 1.25)).placement
        except PasteFailed:
            office.ask(remove=True)
            raise
        self._canvas[window.id] = Canvas(sheet.on_screen(middle), sheet.zoom * width)
        return Landing(self.name, window.app_class, landing_error_px=seen.center.distance(wanted.center))


@dataclass(frozen=True)
class Canvas:
    """The part of a window that shows the page: its middle on the screen and its width in pixels, whatever the zoom."""

    center: Point
    width: float


@dataclass(frozen=True)
class Sheet:
    """``page`` (1/100 mm) is seen at ``screen``; ``zoom``: screen pixels in 1/100 mm."""

    screen: Point
    page: Point
    zoom: float

    def to_page(self, point: Point) -> Point:
        return self.page.shifted((point.x - self.screen.x) / self.zoom, (point.y - self.screen.y) / self.zoom)

    def on_screen(self, point: Point) -> Point:
        return self.screen.shifted((point.x - self.page.x) * self.zoom, (point.y - self.page.y) * self.zoom)

    def place(self, cutout: RGBA, wanted: Placement) -> list[float]:
        """From the unit square to the page, two rows."""
        height, width = cutout.shape[:2]
        matrix = Placement(self.to_page(wanted.center), wanted.scale / self.zoom, wanted.rotation).matrix(width, height)
        return [float(value) for value in (matrix * (width, height, 1)).ravel()]

    def corrected(self, wanted: Placement, seen: Placement) -> Sheet:
        """The sheet on which what was placed as wanted is seen where it is."""
        return Sheet(seen.center, self.to_page(wanted.center), self.zoom * seen.scale / wanted.scale)
