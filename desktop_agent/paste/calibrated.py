"""Applications that put a picture at the pointer but choose its size themselves (the zoom): paste, look, and where size or
place are wrong undo it, and paste once more with what was learned. What was learned is kept for the window's next paste."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Placement, Point, Rect
from desktop_agent.paste.closed_loop import SHOW_SECONDS, Desk, Watch
from desktop_agent.paste.driver import RGBA, Landing
from desktop_agent.paste.match import Match
from desktop_agent.paste.nudge import move_into_place
from desktop_agent.paste.raster import premultiplied, resample, straight
from desktop_agent.windows import Window

GOOD_PX, GOOD_SCALE = 0.9, 0.01
FREE_PX, ELSEWHERE_PX = 6.0, 40.0
WRONG_SCALE = 0.02
MIDDLE_PX = 12.0
SAME_POINTER = 2  # steps so near that the same pointer serves, since another one may be rounded in another way
MAX_SIDE = 3000  # pixels of a raster
RETRIES = 3  # pictures may be made smaller to fit the view, or lie between an application's pixels
GRAIN = 2  # screen pixels; toolkits at twice their size draw pictures from and to every second one


@dataclass(frozen=True)
class Calibration:
    """``zoom``: screen pixels per pasted pixel. A pointer put on ``pointer`` brought a raster's centre to ``center``: documents of
    pixels take a picture at whole ones of theirs, which lie ``zoom`` screen pixels apart from there. ``own_place``: it comes to
    the same place wherever the pointer is. ``side``: screen pixels of the picture that showed the zoom."""

    zoom: float = 1.0
    pointer: Point | None = None
    center: Point | None = None
    own_place: bool = False
    side: float = 0.0

    def aim(self, wanted: Point, step: float) -> tuple[Point, Point]:
        """The pointer's place for a raster near ``wanted``, and where the raster's centre will come then; it goes by steps."""
        if self.pointer is None or self.center is None:
            pointer = Point(math.floor(wanted.x) + 0.5, math.floor(wanted.y) + 0.5)
            return pointer, pointer
        dx, dy = (
            0.0 if abs(far) < SAME_POINTER * step else step * round(far / step)
            for far in (wanted.x - self.center.x, wanted.y - self.center.y)
        )
        pointer = Point(math.floor(self.pointer.x + dx) + 0.5, math.floor(self.pointer.y + dy) + 0.5)
        return pointer, self.center.shifted(dx, dy)

    def seen(self, ratio: float, side: float) -> Calibration:
        """What is known once a picture came out ``ratio`` times as large as it should, ``side`` screen pixels wide: its size may
        have been rounded, which tells less of the zoom than a larger picture did."""
        if side < self.side and abs(ratio - 1) <= min(GOOD_SCALE, GRAIN / side):
            return replace(self, pointer=None, center=None)
        return Calibration(self.zoom * ratio, own_place=self.own_place, side=side)

    def then(self, pointer: Point, center: Point, before: Calibration) -> Calibration:
        """... and where it came to, for this pointer."""
        if before.pointer is not None and before.center is not None:
            told = before.pointer.distance(pointer)
            if told >= SAME_POINTER and before.center.distance(center) < told / 2:
                return replace(self, own_place=True)
        return replace(self, pointer=pointer, center=center)


class CalibratedDriver:
    """The loop; a subclass puts one raster into its application (``_put``) and names the keys that undo it."""

    name = "calibrated"
    undo_keys: tuple[str, ...] = ("Control_L", "z")
    show_seconds = SHOW_SECONDS
    scales_pictures = False  # it shows a PNG in the physical size that the file tells
    near_px = ELSEWHERE_PX  # of the point: farther off, the pointer had nothing to do with it
    undo_seconds = 10.0  # until a busy application shows that it took a paste back
    rest_seconds = 0.0  # between paste, undo and paste, for an application that still works on the last one

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._learned: dict[int, Calibration] = {}

    def can_handle(self, window: Window | None) -> bool:
        raise NotImplementedError

    def _put(self, raster: RGBA, at: Point, window: Window, density: float) -> Watch:
        """Paste the raster at a pointer position; returns the watch that was begun just before.

        ``density``: raster pixels per pasted pixel, 1 unless the application scales pictures.
        """
        raise NotImplementedError

    def paste(self, cutout: RGBA, placement: Placement, window: Window | None) -> Landing:
        """Raises ``PasteFailed``: not taken, a dialog, nothing or something else to be seen."""
        if window is None:
            raise PasteFailed("There is no window under the point: open a document there.", code="no_window")
        known = self._learned.get(window.id)
        watch, match = self._attempt(cutout, placement, window, known or Calibration(), sure=known is not None)
        for _ in range(RETRIES):
            settled = self._good(match, placement) or self._elsewhere(match, placement, window)
            if settled or not self._undo(watch, cutout, match):
                break
            watch, match = self._attempt(cutout, placement, window, self._learned[window.id], sure=True)
        if self._elsewhere(match, placement, window) and self._movable(match, window):
            match = self._moved(watch, cutout, match, placement)
        error = match.placement.center.distance(placement.center)
        if error > FREE_PX:  # the application has its own place for what is pasted, a text's caret for example
            self._learned.pop(window.id, None)
            return Landing(self.name, window.app_class, anchor="caret")
        ratio = match.placement.scale / placement.scale
        if abs(ratio - 1) > WRONG_SCALE:
            raise PasteFailed(
                f"The cut-out landed in “{window.title}” {ratio:.3g} times as large as you saw it, and could not be "
                "corrected: undo it there and tap again, the size is known now.",
                code="wrong_size",
            )
        return Landing(self.name, window.app_class, landing_error_px=error)

    def _attempt(
        self, cutout: RGBA, wanted: Placement, window: Window, calibration: Calibration, *, sure: bool
    ) -> tuple[Watch, Match]:
        zoom = calibration.zoom
        pointer, center = calibration.aim(wanted.center, GRAIN if self.scales_pictures else max(1.0, zoom))
        rest = Point((wanted.center.x - center.x) / zoom, (wanted.center.y - center.y) / zoom)
        density, grain = self._density(cutout, wanted.scale / zoom, zoom)
        rest_in_raster = Point(rest.x * density, rest.y * density)
        drawn = Placement(rest_in_raster, wanted.scale / zoom * density, wanted.rotation)
        raster = centered_raster(cutout, drawn, grain)
        watch = self._put(raster, pointer, window, density)
        scales = (0.7, 1.4) if sure else (0.1, 8.0)
        match = watch.find(cutout, wanted, scales=scales, seconds=self.show_seconds)
        seen = match.placement
        learned = calibration.seen(seen.scale / wanted.scale, seen.scale * max(cutout.shape[:2]))
        if seen.center.distance(wanted.center) <= self.near_px:
            came_to = seen.center.shifted(-rest.x * learned.zoom, -rest.y * learned.zoom)
            learned = learned.then(pointer, came_to, calibration)
        self._learned[window.id] = learned
        return watch, match

    def _density(self, cutout: RGBA, scale: float, zoom: float) -> tuple[float, int]:
        """All the cut-out's own pixels where the application can scale them, and how many of them make up a grain of the screen."""
        if not self.scales_pictures:
            return 1.0, 1
        largest = MAX_SIDE / (scale * max(cutout.shape[:2]))
        grain = math.ceil(max(1.0, min(1 / scale, largest)) * GRAIN / zoom - 1e-6)
        return grain * zoom / GRAIN, grain

    def _good(self, match: Match, wanted: Placement) -> bool:
        return right_size(match, wanted) and match.placement.center.distance(wanted.center) <= GOOD_PX

    def _elsewhere(self, match: Match, wanted: Placement, window: Window) -> bool:
        """As large as it should be, but far off, or where the pointer has no say: a second paste would go there, too."""
        if not right_size(match, wanted) or self._good(match, wanted):
            return False
        own_place = self._learned[window.id].own_place and self._movable(match, window)
        return own_place or match.placement.center.distance(wanted.center) > ELSEWHERE_PX

    def _movable(self, match: Match, window: Window) -> bool:
        """It is selected, as programs leave what they paste into the middle of the view."""
        return _in_the_middle(match, window)

    def _moved(self, watch: Watch, cutout: RGBA, match: Match, wanted: Placement) -> Match:
        """Drag what is selected to where it should be."""
        moved = move_into_place(self._desk, watch, cutout, match.placement, wanted)
        if moved is None:
            raise PasteFailed(
                f"The cut-out was pasted into “{watch.window.title}”, but moving it there lost it from view: look there, undo "
                "what is wrong, and try again.",
                code="lost",
            )
        return replace(match, placement=moved)

    def _ways_back(self, watch: Watch, cutout: RGBA, placement: Placement) -> list[tuple[str, ...]]:
        """Keys that take the paste back, the best first; the next ones are pressed where the window shows no effect."""
        return [self.undo_keys]

    def _undo(self, watch: Watch, cutout: RGBA, match: Match) -> bool:
        """Take the paste back. True once the window shows there what it showed before, False if nothing was taken back.

        Raises ``PasteFailed`` where neither is the case.
        """
        for keys in self._ways_back(watch, cutout, match.placement):
            shown = self._after(keys, watch, cutout, match.placement)
            if shown is None:
                raise PasteFailed(
                    f"The cut-out landed in “{watch.window.title}” with the wrong size, and taking it back did not work: "
                    "look there, undo what is wrong, and try again.",
                    code="undo_failed",
                )
            if not shown:
                return True
        return False

    def _after(self, keys: tuple[str, ...], watch: Watch, cutout: RGBA, placement: Placement) -> bool | None:
        """What ``Watch.still_shows`` says once these keys had time to take effect."""
        self._desk.windows.activate(watch.window)
        time.sleep(self.rest_seconds)
        with self._desk.input.session() as session:
            session.chord(*keys)
            deadline = time.monotonic() + self.undo_seconds
            shown: bool | None = True
            while shown is not False and time.monotonic() < deadline:
                time.sleep(0.08)
                shown = watch.still_shows(cutout, placement)
        time.sleep(self.rest_seconds)
        return shown


def right_size(match: Match, wanted: Placement) -> bool:
    return abs(match.placement.scale / wanted.scale - 1) <= GOOD_SCALE


def _in_the_middle(match: Match, window: Window) -> bool:
    """Where programs put what they paste when they ignore the pointer; bars above the view shift its middle down only."""
    middle, seen = window.rect.center, match.placement.center
    return abs(seen.x - middle.x) < MIDDLE_PX and abs(seen.y - middle.y) < window.rect.height / 6


def centered_raster(cutout: RGBA, placement: Placement, grain: int = 1) -> RGBA:
    """The cut-out drawn at a placement near (0, 0), in a raster around (0, 0) whose half sides are multiples of ``grain``."""
    bounds = placement.bounds(cutout.shape[1], cutout.shape[0])
    half_width = grain * math.ceil((max(-bounds.left, bounds.right) + 1) / grain)
    half_height = grain * math.ceil((max(-bounds.top, bounds.bottom) + 1) / grain)
    shifted = replace(placement, center=placement.center.shifted(half_width, half_height))
    return straight(resample(premultiplied(cutout), shifted, Rect(0, 0, 2 * half_width, 2 * half_height)))
