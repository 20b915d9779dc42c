"""LibreOffice Writer: a picture before the text, at a distance from the caret's paragraph that is learned from a first paste."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Placement, Point
from desktop_agent.paste.calibrated import GRAIN, CalibratedDriver, Calibration, right_size
from desktop_agent.paste.closed_loop import FETCH_SECONDS, Desk, Watch
from desktop_agent.paste.driver import RGBA, Landing
from desktop_agent.paste.match import Match
from desktop_agent.paste.odf import EMBEDDED, Frame, clipboard_document
from desktop_agent.paste.png import encode_png
from desktop_agent.windows import Window

CARET_SECONDS = 0.25
UNSEEN = {"nothing_changed", "not_recognised"}


@dataclass(frozen=True)
class _Start:
    """``clicked``: the pointer's place that stands for the first frame's, whose middle is ``middle`` 1/96 inch from its origin."""

    clicked: Point
    middle: Point
    from_character: bool = False
    tries: int = 0


class WriterDriver(CalibratedDriver):
    """The click puts the caret onto the page that is meant, since a picture belongs to a paragraph of its page. The text stays
    where it is. What was learned of a paragraph's place is good for one paste, the zoom for the next ones, too."""

    name = "libreoffice"
    scales_pictures = True
    near_px = float("inf")

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._start: _Start | None = None

    def can_handle(self, window: Window | None) -> bool:
        return window is not None and window.app_class.lower().startswith("libreoffice-writer")

    def paste(self, cutout: RGBA, placement: Placement, window: Window | None) -> Landing:
        known = None if window is None else self._learned.get(window.id)
        if window is not None and known is not None:
            self._learned[window.id] = replace(known, pointer=None, center=None)
        self._start = None
        return super().paste(cutout, placement, window)

    def _attempt(
        self, cutout: RGBA, wanted: Placement, window: Window, calibration: Calibration, *, sure: bool
    ) -> tuple[Watch, Match]:
        first = self._start is None
        try:
            return super()._attempt(cutout, wanted, window, calibration, sure=sure)
        except PasteFailed as failure:
            if not first or self._start is None or failure.code not in UNSEEN:
                raise
        # a paragraph that begins where nobody can see it; its character with the caret is in view
        self._start = replace(self._start, from_character=True)
        with self._desk.input.session() as session:
            session.chord(*self.undo_keys)
            time.sleep(CARET_SECONDS)
        return super()._attempt(cutout, wanted, window, calibration, sure=sure)

    def _put(self, raster: RGBA, at: Point, window: Window, density: float) -> Watch:
        desk, known = self._desk, self._learned.get(window.id)
        zoom = 1.0 if known is None else known.zoom
        height, width = (side / density for side in raster.shape[:2])
        first = self._start is None
        start = self._start or _Start(at, Point(width / 2, height / 2))
        # sides that lie between two grains may be rounded to different ones, so that no second try comes out as the first
        aside = GRAIN / 4 if start.tries >= 2 else 0.0
        left = (at.x + aside - start.clicked.x) / zoom + start.middle.x - width / 2
        top = (at.y + aside - start.clicked.y) / zoom + start.middle.y - height / 2
        self._start = replace(start, tries=start.tries + 1)
        rows, columns = _seen(raster, round(density * GRAIN / zoom))
        frame = Frame(
            left + columns.start / density, top + rows.start / density,
            (columns.stop - columns.start) / density, (rows.stop - rows.start) / density, start.from_character,
        )  # fmt: skip
        document = clipboard_document(encode_png(np.ascontiguousarray(raster[rows, columns])), frame)
        desk.windows.activate(window)
        with desk.clipboard.offering(document) as offer, desk.input.session() as session:
            if first:
                session.move(at)
                session.click()
                time.sleep(CARET_SECONDS)
                session.chord("Escape")  # a picture that the click selected would be replaced
                time.sleep(CARET_SECONDS)
            watch = Watch(desk, window)
            session.chord("Control_L", "v")
            if not offer.taken(EMBEDDED, FETCH_SECONDS):
                raise watch.nothing_taken(offer)
            watch.wait_for_change()
        return watch

    def _elsewhere(self, match: Match, wanted: Placement, window: Window) -> bool:
        """Writer keeps it on its page, however far the point is beyond the edge."""
        return right_size(match, wanted) and self._learned[window.id].own_place

    def _movable(self, match: Match, window: Window) -> bool:
        return False


def _seen(raster: RGBA, grain: int) -> tuple[slice, slice]:
    """Rows and columns without transparent margins, which would keep a picture from a page's edge; whole grains are left out."""
    slices = []
    for axis in (1, 0):
        inked = np.flatnonzero(raster[..., 3].any(axis=axis))
        low, high = (int(inked[0]), int(inked[-1]) + 1) if len(inked) else (0, raster.shape[1 - axis])
        side = raster.shape[1 - axis]
        slices.append(slice(low // grain * grain, side - (side - high) // grain * grain))
    return slices[0], slices[1]
