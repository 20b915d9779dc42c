"""The ``gimp`` driver: a layer put in by GIMP's own script interpreter (2.10, D-Bus ``BatchRun``), at document pixels.

GIMP pastes into the middle of the view whatever the pointer does, so the first layer shows where document pixels lie on the
screen; unless that is the right place and size already, it is replaced by one rendered for exactly those pixels.
"""

from __future__ import annotations

import re
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Placement, Point, Rect
from desktop_agent.paste.closed_loop import Desk, Watch
from desktop_agent.paste.driver import RGBA, Landing
from desktop_agent.paste.png import encode_png
from desktop_agent.paste.raster import render
from desktop_agent.paste.session_bus import call
from desktop_agent.windows import Window

GOOD_PX, GOOD_SCALE = 0.5, 0.01
TITLE = re.compile(r"-(\d+)\.\d+ \(.*\) (\d+)x(\d+)")  # GIMP's: [name]-IMAGE.VIEW (RGB colour, 1 layer) WxH - GIMP
NAME = "Cut-out"


@dataclass(frozen=True)
class View:
    """Screen position of the document's corner, and screen pixels per document pixel."""

    left: float
    top: float
    zoom: float

    def to_document(self, placement: Placement) -> Placement:
        x, y = (placement.center.x - self.left) / self.zoom, (placement.center.y - self.top) / self.zoom
        return Placement(Point(x, y), placement.scale / self.zoom, placement.rotation)


class GimpDriver:
    name = "gimp"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._views: dict[int, View] = {}

    def can_handle(self, window: Window | None) -> bool:
        return window is not None and window.app_class.lower().startswith("gimp")

    def paste(self, cutout: RGBA, placement: Placement, window: Window | None) -> Landing:
        """Raises ``PasteFailed``; a layer that is not where it should be does not stay."""
        title = TITLE.search(window.title) if window is not None else None
        if window is None or title is None:
            raise PasteFailed("No picture is open in GIMP there: open one, or point at it.", code="no_document")
        image, width, height = (int(number) for number in title.groups())
        known = self._views.get(window.id)
        watch = Watch(self._desk, window)
        view = known or View(placement.center.x - width / 2, placement.center.y - height / 2, 1.0)
        landed = self._show(watch, cutout, placement, view, image, replaced=None, sure=known is not None)
        view = self._views[window.id] = _seen(view, placement, landed.placement)
        error = landed.placement.center.distance(placement.center)
        if error > GOOD_PX or abs(landed.placement.scale / placement.scale - 1) > GOOD_SCALE:
            landed = self._show(watch, cutout, placement, view, image, replaced=landed.layer, sure=True)
            self._views[window.id] = _seen(view, placement, landed.placement)
        return Landing(self.name, window.app_class, landing_error_px=landed.placement.center.distance(placement.center))

    def _show(
        self, watch: Watch, cutout: RGBA, wanted: Placement, view: View, image: int, *, replaced: str | None, sure: bool
    ) -> _Landed:
        layer = f"{NAME} {uuid.uuid4().hex[:8]}"
        drawn = render(cutout, view.to_document(wanted))
        assert drawn is not None
        raster, area = drawn
        with tempfile.TemporaryDirectory(prefix="arcp-") as folder:  # GIMP reads the file some time after it answers
            path = Path(folder) / "layer.png"
            path.write_bytes(encode_png(raster))
            was = watch.now()
            _insert(image, layer, path, area, replaced=replaced)
            watch.wait_for_change(was)  # what is to be replaced may still be seen for a while
            try:
                match = watch.find(cutout, wanted, scales=(0.8, 1.25) if sure else (0.05, 8.0))
            except PasteFailed:
                _remove(image, layer)
                raise
        return _Landed(match.placement, layer)


@dataclass(frozen=True)
class _Landed:
    placement: Placement
    layer: str


def _seen(view: View, wanted: Placement, seen: Placement) -> View:
    """The view that explains why what was drawn for ``wanted`` is seen where it is."""
    zoom = view.zoom * seen.scale / wanted.scale
    document = view.to_document(wanted).center
    return View(seen.center.x - document.x * zoom, seen.center.y - document.y * zoom, zoom)


def _insert(image: int, layer: str, path: Path, area: Rect, *, replaced: str | None) -> None:
    remove = "" if replaced is None else _remove_script(replaced)
    _run(
        f'(let* ((image {image}) (layer (car (gimp-file-load-layer RUN-NONINTERACTIVE image "{path}"))))'
        "(gimp-image-undo-group-start image)"
        f"{remove}"
        f'(gimp-item-set-name layer "{layer}")'
        "(gimp-image-insert-layer image layer 0 -1)"
        f"(gimp-layer-set-offsets layer {area.left} {area.top})"
        "(gimp-image-undo-group-end image)"
        "(gimp-displays-flush))"
    )


def _remove_script(layer: str) -> str:
    return f'(gimp-image-remove-layer image (car (gimp-image-get-layer-by-name image "{layer}")))'


def _remove(image: int, layer: str) -> None:
    _run(f"(let* ((image {image})) {_remove_script(layer)} (gimp-displays-flush))")


def _run(script: str) -> None:
    answer = call(
        "org.gimp.GIMP.UI", "/org/gimp/GIMP/UI", "org.gimp.GIMP.UI.BatchRun", "plug-in-script-fu-eval", script
    )
    if "true" not in answer:
        raise PasteFailed("GIMP did not run the script; a dialog may be open in it.", code="not_taken")
