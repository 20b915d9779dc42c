"""The last resort: the squarely drawn view is slid over the screen at every scale and quarter turn.

Key points need corners. Here every pixel takes part, so that a blurred heading, the borders of a window or the screen's own edge
against its bezel suffice. Correlation by the Fourier transform, masked (Padfield 2012): what lies beside the screen does not count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from desktop_agent.geometry import Homography, Point
from desktop_agent.locate.features import Grey
from desktop_agent.locate.rectify import Upright
from desktop_agent.locate.screens import PreparedScreen
from desktop_agent.locate.voting import quarter_turn

Light = NDArray[np.float32]

LEAST_SPAN, MOST_SPAN = 0.12, 3.2
"""Widths of the screen that the squarely drawn view may span."""
COARSE_STEP, FINE_STEP = 1.1, 1.06
COARSE_SIZE, COARSE_RADIUS, FINE_RADIUS = 0.55, 5, 8
SMALLEST, SCREEN, LARGEST = 90, 667, 200
"""Long side in pixels of the view that is slid, and width of the screen beneath it, which decides between the two."""
LEAST_SCORE = 0.48
"""Of the best place in the coarse pass, less than which no finer one makes a match."""
PROMISING = 16
"""Pairs of scale and turn that the fine pass looks at."""
FLOOR = 10.0
"""Grey levels of contrast that count half."""
EDGE, LEAST_EDGES = 0.5, 12
"""Normalised contrast of an edge, and the pixels of it that make a view worth the search."""
BEZEL_WIDTH, BEZEL = 0.02, 25
DOUBT = 0.02
"""Contrast, as a part of the view's, that is added on either side: little texture fits anything."""
OVERLAP = 0.25
"""The exponent by which a smaller common part weakens a correlation."""


@dataclass(frozen=True, eq=False)
class Slide:
    """A place where the view fits: ``homography`` view -> screen, ``spot`` the screen position of the view's centre, ``score`` in
    about [-1, 1]; ``span`` in widths of the screen, with ``quarters`` turns of 90 degrees clockwise."""

    score: float
    span: float
    quarters: int
    homography: Homography
    spot: Point


@dataclass(frozen=True, eq=False)
class _Patch:
    """The view that is slid: ``values`` HxW of normalised contrast, ``seen`` HxW 0 or 1; ``from_view`` maps the view's pixels to
    its own, ``center`` is the view's centre there."""

    values: Light
    seen: Light
    from_view: Homography
    center: Point

    @property
    def size(self) -> tuple[int, int]:
        return self.values.shape[1], self.values.shape[0]

    @property
    def reach(self) -> int:
        """How far the patch goes beyond the screen's edge at most, for its centre is on the screen."""
        (width, height), center = self.size, self.center
        return math.ceil(max(center.x, width - center.x, center.y, height - center.y))


def sweep(upright: Upright, center: Point, screen: PreparedScreen, wanted: int) -> list[Slide]:
    """The ``wanted`` best places on the screen of the view with that ``center``, best first and different from each other.

    None for a blank view.
    """
    every = [(span, quarters) for span in _spans(COARSE_STEP) for quarters in range(4)]
    coarse = _slides(upright, center, screen, every, COARSE_SIZE, COARSE_RADIUS)
    if not coarse or coarse[0].score < LEAST_SCORE:
        return []
    pairs = list(dict.fromkeys((slide.span, slide.quarters) for slide in coarse))[:PROMISING]
    close = math.log(COARSE_STEP) / 2 + 1e-6
    finer = [
        (span, quarters)
        for span in _spans(FINE_STEP)
        for quarters in range(4)
        if any(turn == quarters and abs(math.log(span / near)) <= close for near, turn in pairs)
    ]
    found: list[Slide] = []
    for slide in _slides(upright, center, screen, finer, 1.0, FINE_RADIUS):
        if len(found) == wanted:
            break
        if not any(_same(slide, other, screen) for other in found):
            found.append(slide)
    return found


def featureless(upright: Upright) -> bool:
    """Whether there is nothing in the view but noise and shades: no edge that could tell a place."""
    return bool((np.abs(_patch(upright, Point(0, 0), LARGEST, FINE_RADIUS).values) > EDGE).sum() < LEAST_EDGES)


def _same(a: Slide, b: Slide, screen: PreparedScreen) -> bool:
    """Whether a refinement from either ends at the same pose."""
    return a.spot.distance(b.spot) < 0.01 * screen.diagonal and abs(math.log(a.span / b.span)) < 0.09


def _spans(step: float) -> list[float]:
    return list(np.exp(np.arange(math.log(LEAST_SPAN), math.log(MOST_SPAN), math.log(step))))


def _slides(
    upright: Upright, center: Point, screen: PreparedScreen, pairs: list[tuple[float, int]], part: float, radius: int
) -> list[Slide]:
    """The two best shifts for each pair of span and quarter turns, best first."""
    by_span: dict[float, list[int]] = {}
    for span, quarters in pairs:
        by_span.setdefault(span, []).append(quarters)
    patches: dict[int, _Patch] = {}
    found: list[Slide] = []
    for span, turns in by_span.items():
        long_side = 8 * round(part * min(max(SCREEN * span, SMALLEST), LARGEST) / 8)
        if long_side not in patches:
            patches[long_side] = _patch(upright, center, long_side, radius)
        patch = patches[long_side]
        if patch.values.any():
            found += _at_span(patch, screen, span, turns, long_side, radius)
    return sorted(found, key=lambda slide: -slide.score)


def _patch(upright: Upright, center: Point, long_side: int, radius: int) -> _Patch:
    height, width = upright.image.shape
    factor = long_side / max(width, height)
    size = (max(8, round(width * factor)), max(8, round(height * factor)))
    values = local_contrast(cv2.resize(upright.image, size, interpolation=cv2.INTER_AREA), radius)
    whole = cv2.resize(upright.seen.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) > 250
    seen = cv2.erode(whole.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32)
    from_view = Homography.scaling(size[0] / width, size[1] / height) @ upright.to_view.inverse()
    return _Patch(values * seen, seen, from_view, from_view.apply_point(center))


def local_contrast(grey: Grey, radius: int) -> Light:
    image = grey.astype(np.float32)
    side = (2 * radius + 1, 2 * radius + 1)
    mean = cv2.blur(image, side)
    deviation = cv2.sqrt(np.maximum(cv2.blur(image * image, side) - mean * mean, 0))
    return np.asarray((image - mean) / (deviation + FLOOR), dtype=np.float32)


def _at_span(
    patch: _Patch, screen: PreparedScreen, span: float, turns: list[int], long_side: int, radius: int
) -> list[Slide]:
    scale = span * screen.width / long_side
    drawn, inside, margin = _drawn(screen, scale, patch.reach, radius)
    shape = drawn.shape
    spectra = [_spectrum(picture, shape) for picture in (drawn, drawn * drawn, inside)]
    weight, area = float((patch.values**2).sum()), float(patch.seen.sum())
    found = []
    for quarters in turns:
        values, seen = np.rot90(patch.values, -quarters), np.rot90(patch.seen, -quarters)
        rows, columns = (a - b + 1 for a, b in zip(shape, values.shape, strict=True))
        if rows < 1 or columns < 1:
            continue
        product_, of_screen, of_view = (
            _correlated(spectrum, kernel, shape)[:rows, :columns]
            for spectrum, kernel in zip(spectra, (values, seen, values * values), strict=True)
        )
        fit = product_ / np.sqrt((of_view + DOUBT * weight) * (of_screen + DOUBT * area))
        fit *= np.clip(of_view / weight, 0.02, 1) ** OVERLAP
        for _ in range(2):
            _, score, _, (x, y) = cv2.minMaxLoc(fit)
            shift = np.array([[scale, 0, scale * (x - margin)], [0, scale, scale * (y - margin)], [0, 0, 1.0]])
            pose = Homography(shift) @ quarter_turn(quarters, patch.size)
            found.append(Slide(score, span, quarters, pose @ patch.from_view, pose.apply_point(patch.center)))
            near = max(3, long_side // 25)
            fit[max(0, y - near) : y + near + 1, max(0, x - near) : x + near + 1] = -1
    return found


def _drawn(screen: PreparedScreen, scale: float, margin: int, radius: int) -> tuple[Light, Light, int]:
    """The screen's contrast at ``scale`` screen pixels a pixel with a dark bezel, where they are (0 or 1), the margin around."""
    size = (max(8, round(screen.width / scale)), max(8, round(screen.height / scale)))
    level = screen.levels[min(max(int(math.log2(max(scale, 1))), 0), len(screen.levels) - 1)]
    smaller = size[0] < level.shape[1]
    picture = cv2.resize(level, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    bezel = max(2, round(BEZEL_WIDTH * size[0]))
    margin = max(margin, bezel)
    around = margin - bezel
    framed = _bordered(np.asarray(picture, np.uint8), bezel, cv2.BORDER_CONSTANT, BEZEL)
    contrast = local_contrast(_bordered(framed, around, cv2.BORDER_REPLICATE), radius)
    inside = _bordered(np.ones(framed.shape, np.uint8), around, cv2.BORDER_CONSTANT)
    return contrast, inside.astype(np.float32), margin


def _bordered(picture: Grey, width: int, kind: int, value: int = 0) -> Grey:
    return np.asarray(cv2.copyMakeBorder(picture, width, width, width, width, kind, value=[float(value)]), np.uint8)


def _spectrum(picture: Light, shape: tuple[int, ...]) -> Light:
    padded = np.zeros([cv2.getOptimalDFTSize(side) for side in shape], np.float32)
    padded[: picture.shape[0], : picture.shape[1]] = picture
    return np.asarray(cv2.dft(padded), dtype=np.float32)


def _correlated(spectrum: Light, kernel: Light, shape: tuple[int, ...]) -> Light:
    multiplied = cv2.mulSpectrums(spectrum, _spectrum(kernel, shape), 0, conjB=True)
    flags = cv2.DFT_INVERSE | cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT
    return np.asarray(cv2.dft(multiplied, flags=flags), dtype=np.float32)
