"""Paste on the board: from the marks on the screenshot to board coordinates, into the store, and a look whether it is there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from desktop_agent.board.items import pose_of
from desktop_agent.board.marks import CAPTURE_SCALES, PageFit, find_page
from desktop_agent.board.measure import Measured, measure
from desktop_agent.board.pages import View
from desktop_agent.board.store import BoardStore
from desktop_agent.errors import BadRequest, PasteFailed
from desktop_agent.geometry import Placement, Point, Rect
from desktop_agent.paste.driver import RGBA, Landing
from desktop_agent.screen import RGB, ScreenSource
from desktop_agent.windows import Window

TITLE = "AR copy & paste board"
HAIL_S = 2.5
PAINT_S = 6.0
SEEN_S = 3.0  # for a notice of the browser's to go away, or its window to come to rest
LOOK_S = 2.0
ATTEMPTS = 3
GOOD_PX = 0.5


@dataclass(frozen=True)
class _Shown:
    """A page found on the screen: ``fit`` is in pixels of ``area``, a part of the virtual desktop that looked like ``image``."""

    page: str
    view: View
    fit: PageFit
    area: Rect
    image: RGB

    def to_board(self, on_screen: Placement) -> Placement:
        """From virtual desktop pixels to board units."""
        scale = self.fit.scale * self.view.scale
        x = on_screen.center.x - self.area.left - self.fit.x - self.fit.scale * self.view.x
        y = on_screen.center.y - self.area.top - self.fit.y - self.fit.scale * self.view.y
        return Placement(Point(x / scale, y / scale), on_screen.scale / scale, on_screen.rotation)

    def contains(self, point: Point) -> bool:
        x = (point.x - self.area.left - self.fit.x) / self.fit.scale
        y = (point.y - self.area.top - self.fit.y) / self.fit.scale
        return 0 <= x < self.view.size[0] and 0 <= y < self.view.size[1]


class _PageMoved(PasteFailed):
    """What the screen shows does not fit what was seen of the page a moment before."""

    code = "board_not_seen"

    def __init__(self) -> None:
        super().__init__("The cut-out cannot be seen where it should be. Uncover the board's window and try again.")


class BoardDriver:
    """The ``board`` paste driver. The item keeps the cut-out's full resolution; the page shows it scaled and turned."""

    name = "board"

    def __init__(self, store: BoardStore, screen: ScreenSource) -> None:
        self._store = store
        self._screen = screen

    def can_handle(self, window: Window | None) -> bool:
        """True for a browser window whose front tab is the board, also where that page has lost the agent."""
        return window is not None and window.title.startswith(TITLE)

    def paste(self, cutout: RGBA, placement: Placement, window: Window | None) -> Landing:
        """Raises ``PasteFailed``; then nothing of it stays on the board."""
        if window is None:
            raise PasteFailed("Point at the window that shows the board.", code="board_not_open")
        for attempt in range(1, ATTEMPTS + 1):
            try:
                error_px = self._paste_once(cutout, placement, window)
                break
            except _PageMoved:  # an info bar, another zoom, a moved window: nothing of this attempt is left
                if attempt == ATTEMPTS:
                    raise
        return Landing(self.name, window.title, landing_error_px=error_px)

    def _paste_once(self, cutout: RGBA, placement: Placement, window: Window) -> float | None:
        """The landing error in screen pixels, None where there is nothing to see."""
        shown = self._look_for_page(window)
        if not shown.contains(placement.center):
            raise PasteFailed("That point is beside the board's sheet. Point at the sheet.", code="board_outside")
        try:
            item = self._store.add(cutout, shown.to_board(placement))
        except BadRequest as error:
            raise PasteFailed(error.message, code=error.code) from None
        except OSError as error:
            raise PasteFailed(
                f"The board could not be saved ({error.strerror or error}). Free some disk space.", code="board_unsaved"
            ) from error
        try:
            return self._settle(item.id, cutout, placement, shown)
        except BaseException:
            self._store.withdraw(item.id)
            raise

    def _look_for_page(self, window: Window) -> _Shown:
        """The page as it is on the screen. It may tell its view before the screen shows it, and a popup may lie over its
        corners for a moment, so it is asked and looked at again for a while."""
        shown = self._look_once(window, CAPTURE_SCALES)
        deadline = time.monotonic() + SEEN_S
        while shown is None and time.monotonic() < deadline:
            time.sleep(0.1)
            shown = self._look_once(window, CAPTURE_SCALES[:1])  # the others are rare, and dear to look for
        shown = shown or self._look_once(window, CAPTURE_SCALES)
        if shown is None:
            raise PasteFailed(
                "The corners of the board are covered. Move what lies over the board's window, or move it onto the screen.",
                code="board_hidden",
            )
        return shown

    def _look_once(self, window: Window, scales: Sequence[float]) -> _Shown | None:
        views = self._store.pages.hail(HAIL_S)
        if not views:
            raise PasteFailed(
                "The board's page does not answer. Bring its window to the front, or reload it.",
                code="board_not_answering",
            )
        area, image = self._capture(window.rect)
        for page, view in views.items():
            fit = find_page(image, view, scales)
            if fit is not None:
                return _Shown(page, view, fit, area, image)
        return None

    def _settle(self, item_id: str, cutout: RGBA, placement: Placement, shown: _Shown) -> float | None:
        """Wait until the item is on the screen, measure it, and correct it once where it is off. The error in screen pixels."""
        expected = Placement(
            placement.center.shifted(-shown.area.left, -shown.area.top), placement.scale, placement.rotation
        )
        seen = self._measure(cutout, expected, shown)
        error_px = seen.error_px(expected)
        if seen.placement is not None and error_px is not None and error_px > GOOD_PX:
            miss = seen.placement.center
            aim = Placement(
                placement.center.shifted(expected.center.x - miss.x, expected.center.y - miss.y),
                placement.scale,
                placement.rotation,
            )
            self._store.update(item_id, dict(pose_of(shown.to_board(aim))), amend=True)
            error_px = self._measure(cutout, expected, shown).error_px(expected)
            if error_px is None:
                raise PasteFailed(
                    "The board changed while the cut-out was put there. Try again.", code="board_disturbed"
                )
        return error_px

    def _measure(self, cutout: RGBA, expected: Placement, shown: _Shown) -> Measured:
        revision = self._store.snapshot().revision
        view = self._store.pages.wait_painted(shown.page, revision, PAINT_S)
        if view is not None and view != shown.view:
            raise _PageMoved
        if view is None:
            raise PasteFailed(
                "The board's page did not show the cut-out. Bring its window to the front, or reload it.",
                code="board_not_painted",
            )
        deadline = time.monotonic() + LOOK_S
        while True:  # the page has painted, the compositor may need a few frames more
            seen = measure(shown.image, self._capture(shown.area)[1], cutout, expected)
            if seen.placement is not None or not seen.visible:
                return seen
            if time.monotonic() > deadline:
                raise _PageMoved
            time.sleep(0.05)

    def _capture(self, wanted: Rect) -> tuple[Rect, RGB]:
        """The part of a rectangle of the virtual desktop that is on monitors, as one uint8 HxWx3 image; the rest is black."""
        shots = self._screen.grab()
        parts = [(shot, part) for shot in shots if (part := shot.monitor.rect.intersection(wanted)) is not None]
        if not parts:
            raise PasteFailed("The board's window is on no monitor. Move it onto the screen.", code="board_hidden")
        left, top = min(part.left for _, part in parts), min(part.top for _, part in parts)
        right, bottom = max(part.right for _, part in parts), max(part.bottom for _, part in parts)
        image = np.zeros((bottom - top, right - left, 3), np.uint8)
        for shot, part in parts:
            row, column = part.top - shot.monitor.rect.top, part.left - shot.monitor.rect.left
            source = shot.image[row : row + part.height, column : column + part.width]
            image[part.top - top : part.bottom - top, part.left - left : part.right - left] = source
        return Rect(left, top, right - left, bottom - top), image
