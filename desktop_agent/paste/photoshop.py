"""The ``photoshop`` driver: a smart object at full resolution, placed, scaled, turned and moved by Photoshop's own scripting.

Scripts are constants into which nothing but numbers goes; the picture is a file whose name is a number, in a folder that both
sides know (ExtendScript's ``Folder.userData``). Adobe Photoshop JavaScript Reference: ``Application.executeAction``,
``ArtLayer.resize``, ``rotate``, ``translate``.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Placement, normalized_degrees
from desktop_agent.paste.closed_loop import Desk, Watch
from desktop_agent.paste.driver import RGBA, Landing
from desktop_agent.paste.photoshop_link import PhotoshopLink, open_link
from desktop_agent.paste.png import encode_png
from desktop_agent.windows import Window

GOOD_PX, GOOD_SCALE, GOOD_DEGREES = 0.4, 0.004, 0.15
CORRECTIONS = 3
OPAQUE = 8  # alpha from which Photoshop counts a pixel into a layer's bounds, about

# Pixels as units while it runs, and no dialogs. Answers "id,left,top,right,bottom,width,height" or a word.
_FRAME = """(function () {
  if (!app.documents.length) return "none";
  var units = app.preferences.rulerUnits, dialogs = app.displayDialogs, answer = "failed";
  app.preferences.rulerUnits = Units.PIXELS;
  app.displayDialogs = DialogModes.NO;
  try { %s } catch (problem) { answer = "failed"; }
  finally { app.preferences.rulerUnits = units; app.displayDialogs = dialogs; }
  return answer;
})()"""
_DESCRIBE = """
    var b = layer.bounds, d = app.activeDocument;
    answer = [layer.id, b[0].value, b[1].value, b[2].value, b[3].value, d.width.value, d.height.value].join(",");"""
_PLACE = (
    """
    var file = new File(Folder.userData.fsName + "/arcp-cut-out-" + %d + ".png");
    var placing = new ActionDescriptor();
    placing.putPath(charIDToTypeID("null"), file);
    placing.putEnumerated(charIDToTypeID("FTcs"), charIDToTypeID("QCSt"), charIDToTypeID("Qcsa"));
    executeAction(charIDToTypeID("Plc "), placing, DialogModes.NO);
    var layer = app.activeDocument.activeLayer;"""
    + _DESCRIBE
)
_CHANGE = (
    """
    var layer = app.activeDocument.activeLayer;
    if (layer.id !== %d) { answer = "other"; } else {
    if (%.6f !== 100) layer.resize(%.6f, %.6f, AnchorPosition.MIDDLECENTER);
    if (%.5f !== 0) layer.rotate(%.5f, AnchorPosition.MIDDLECENTER);
    layer.translate(new UnitValue(%.4f, "px"), new UnitValue(%.4f, "px"));"""
    + _DESCRIBE
    + "}"
)
_REMOVE = """
    var layer = app.activeDocument.activeLayer;
    if (layer.id === %d) { layer.remove(); answer = "removed"; }"""


class PhotoshopDriver:
    name = "photoshop"

    def __init__(self, desk: Desk, link: PhotoshopLink | None = None) -> None:
        self._desk, self._link = desk, link
        self._zoom: dict[int, float] = {}  # window id -> screen pixels per document pixel when last seen

    def can_handle(self, window: Window | None) -> bool:
        return window is not None and "photoshop" in window.app_class.lower()

    def paste(self, cutout: RGBA, placement: Placement, window: Window | None) -> Landing:
        """Raises ``PasteFailed``; a layer that is not seen afterwards does not stay."""
        if window is None:
            raise PasteFailed("There is no Photoshop window under the point.", code="no_window")
        link = self._link = self._link or open_link()
        known = self._zoom.get(window.id)
        self._desk.windows.activate(window)
        watch = Watch(self._desk, window)
        layer, per_pixel = self._place(link, cutout)
        try:
            units = placement.scale / (known or 1.0)  # document pixels per cut-out pixel that we ask for
            _change(link, layer, 100 * units / per_pixel, placement.rotation, 0.0, 0.0)
            scales = (0.8, 1.25) if known else (0.05, 16.0)
            landed = watch.find(cutout, placement, scales=scales).placement
            zoom = self._zoom[window.id] = landed.scale / units
            landed = self._correct(link, layer, watch, cutout, landed, placement, zoom)
        except PasteFailed:
            link.run(_FRAME % (_REMOVE % layer))
            raise
        return Landing(self.name, window.app_class, landing_error_px=landed.center.distance(placement.center))

    def _place(self, link: PhotoshopLink, cutout: RGBA) -> tuple[int, float]:
        """The new layer's id, and document pixels per cut-out pixel (Photoshop may shrink what it places to the document)."""
        with _picture_file(link.folder(), encode_png(cutout)) as number:
            fields = _numbers(link.run(_FRAME % (_PLACE % number)))
        layer, left, _, right, *_ = fields
        columns = np.flatnonzero((cutout[..., 3] >= OPAQUE).any(axis=0))
        if not len(columns) or right <= left:
            raise PasteFailed("The cut-out is wholly transparent: cut it again.", code="empty_cutout")
        return int(layer), (right - left) / float(columns[-1] + 1 - columns[0])

    def _correct(
        self,
        link: PhotoshopLink,
        layer: int,
        watch: Watch,
        cutout: RGBA,
        landed: Placement,
        wanted: Placement,
        zoom: float,
    ) -> Placement:
        for _ in range(CORRECTIONS):
            ratio, turn = wanted.scale / landed.scale, normalized_degrees(wanted.rotation - landed.rotation)
            dx, dy = wanted.center.x - landed.center.x, wanted.center.y - landed.center.y
            right_size = abs(ratio - 1) < GOOD_SCALE and abs(turn) < GOOD_DEGREES
            if right_size and math.hypot(dx, dy) < GOOD_PX:
                break
            size = 100.0 if abs(ratio - 1) < GOOD_SCALE else 100 * ratio
            _change(link, layer, size, 0.0 if abs(turn) < GOOD_DEGREES else turn, dx / zoom, dy / zoom)
            found = watch.refind(cutout, wanted)
            if found is None:
                raise PasteFailed(
                    "The cut-out was placed, but moving it in Photoshop lost it from view: try again.", code="lost"
                )
            landed = found.placement
        return landed


def _change(link: PhotoshopLink, layer: int, percent: float, degrees: float, dx: float, dy: float) -> None:
    numbers = (layer, percent, percent, percent, degrees, degrees, dx, dy)
    if not all(map(math.isfinite, numbers)):
        raise ValueError("a script takes finite numbers")
    _numbers(link.run(_FRAME % (_CHANGE % numbers)))


def _numbers(answer: str) -> list[float]:
    """Raises ``PasteFailed`` for the words that a script may answer instead."""
    if re.fullmatch(r"-?[\d.e+-]+(,-?[\d.e+-]+){6}", answer.strip()):
        return [float(part) for part in answer.split(",")]
    if answer.strip() == "none":
        raise PasteFailed("No picture is open in Photoshop: open one, or point at it.", code="no_document")
    if answer.strip() == "other":
        raise PasteFailed("Another layer was chosen in Photoshop while pasting: try again.", code="disturbed")
    raise PasteFailed(
        "Photoshop did not take the cut-out: its document may be locked, or not in a mode that takes layers "
        "(Image > Mode > RGB Color).",
        code="not_taken",
    )


@contextmanager
def _picture_file(folder: Path, png: bytes) -> Iterator[int]:
    """A file ``arcp-cut-out-NUMBER.png`` that is gone afterwards; yields the number."""
    number = secrets.randbelow(2**31)
    path = folder / f"arcp-cut-out-{number}.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png)
        yield number
    except OSError as error:
        raise PasteFailed(
            f"The cut-out could not be handed to Photoshop in {folder}: {error}", code="not_saved"
        ) from error
    finally:
        path.unlink(missing_ok=True)
