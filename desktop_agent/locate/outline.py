"""The screen's own outline in a squarely drawn view: two edges and what they leave open, or three, give its place and size.

It needs no key points, and a desk full of them does not matter; what the screen shows then decides between the outlines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from desktop_agent.geometry import Homography, Point, rectangle_quad
from desktop_agent.locate.rectify import Upright
from desktop_agent.locate.screens import PreparedScreen
from desktop_agent.locate.sweep import DOUBT, local_contrast
from desktop_agent.locate.voting import quarter_turn

Float = NDArray[np.float64]

SLANT = 0.04
"""Tangent of the angle between an edge of the screen and the axis it follows, at most."""
NEAR = 4.0
"""Pixels of the squared view between an outline and the lines that speak for it."""
MOST_LINES = 6
SPANS = np.exp(np.arange(np.log(0.4), np.log(4.0), np.log(1.08)))
"""Sizes of the screen in long sides of the squared view that are tried where only one of its corners is seen."""
LEAST_DRAWN, LEAST_SHOWN = 0.55, 0.3
"""Part of the outline that the view shows along which there are lines, and how much of it that is in long sides."""
SAMPLES = 24
LOOKED_AT = 40
"""Outlines of one orientation whose contents are compared."""
STEPS = (0.97, 1.03, 0.985, 1.015)
"""By which an outline that hangs on one corner is made to fit."""
SIZE, RADIUS = 200, 6
"""Long side in pixels at which the contents are compared, and of the squares whose contrast is normalised."""
LEAST_LIKENESS = 0.35
EDGE, CLOSE, STRAIGHT = 4.0, 6.0, math.cos(math.radians(3))
"""Pixels from the view's edge where lines end, and between a line and the edge that it shows; the angle between these two."""
LEAST_SIDE, FOLLOWED = 0.3, 0.7
"""Half long sides of the view in which an edge has to be seen, and the part of it along which there are lines."""


@dataclass(frozen=True, eq=False)
class Outline:
    """Where the screen may lie: ``homography`` takes the squared view's pixels to the screen's; ``likeness`` of what both show
    there, in [-1, 1]."""

    homography: Homography
    likeness: float


def outlines(upright: Upright, ends: Float, middle: Point, screen: PreparedScreen, wanted: int) -> list[Outline]:
    """The ``wanted`` outlines of ``screen`` that look best in a squared view, best first and different from each other.

    ``ends`` are the view's line segments (Nx4), in the pixels that ``upright.to_view`` maps to, ``middle`` is the place in the
    squared view that has to be on the screen.
    """
    lines = _aligned(upright, ends)
    if not len(lines.x) or not len(lines.y):
        return []
    patch, long_side = _Patch(upright), max(upright.image.shape)
    found: list[tuple[float, Float, Float, int]] = []
    for sideways in (False, True):
        ratio = screen.height / screen.width if sideways else screen.width / screen.height
        anchors, sides = _boxes(lines, ratio, long_side)
        low, high = np.minimum(anchors, anchors + sides), np.maximum(anchors, anchors + sides)
        on_screen = ((low < middle.external()) & (high > middle.external())).all(axis=1)
        anchors, sides = anchors[on_screen], sides[on_screen]
        drawn, shown = _drawn(anchors, sides, lines, upright)
        good = np.flatnonzero((drawn >= LEAST_DRAWN) & (drawn * shown >= LEAST_SHOWN * long_side))
        for i in good[np.argsort(-(drawn * shown)[good])][:LOOKED_AT]:
            for quarters in (1, 3) if sideways else (0, 2):
                pose = _pose(anchors[i], sides[i], quarters, upright, screen)
                found.append((patch.likeness(screen, pose), anchors[i], sides[i], quarters))
    best: list[Outline] = []
    for likeness, anchor, side, quarters in sorted(found, key=lambda one: -one[0]):
        if len(best) == wanted or likeness < LEAST_LIKENESS:
            break
        pose = _pose(anchor, side, quarters, upright, screen)
        if any(_same(pose, other.homography, upright, screen) for other in best):
            continue
        for step in STEPS:
            fitted = _pose(anchor, side * step, quarters, upright, screen)
            if (better := patch.likeness(screen, fitted)) > likeness:
                likeness, side, pose = better, side * step, fitted
        best.append(Outline(pose, likeness))
    return best


@dataclass(frozen=True, eq=False)
class _Lines:
    """Edges along the axes: ``x`` (N,) where the upright ones are, ``y`` (M,) where the level ones are, longest first; ``upright``
    and ``level`` HxW: 255 near them."""

    x: Float
    y: Float
    upright: NDArray[np.uint8]
    level: NDArray[np.uint8]


def _aligned(upright: Upright, ends: Float) -> _Lines:
    height, width = upright.image.shape
    to_upright = upright.to_view.inverse()
    ahead = (to_upright.depth(ends[:, :2]) > 0) & (to_upright.depth(ends[:, 2:]) > 0)
    a, b = to_upright.apply(ends[ahead, :2]), to_upright.apply(ends[ahead, 2:])
    across, along = np.abs(b - a).T
    drawn = []
    for low, high, axis in ((across, along, 0), (along, across, 1)):
        chosen = (low < SLANT * high) & (np.abs(a) < 1e5).all(axis=1) & (np.abs(b) < 1e5).all(axis=1)
        near = np.zeros((height, width), np.uint8)
        for start, end in zip(a[chosen], b[chosen], strict=True):
            cv2.line(near, start.round().astype(int).tolist(), end.round().astype(int).tolist(), 255, 2 * int(NEAR) + 1)
        places = (a[chosen, axis] + b[chosen, axis]) / 2
        drawn.append((_merged(places, high[chosen]), near))
    return _Lines(drawn[0][0], drawn[1][0], drawn[0][1], drawn[1][1])


def _merged(places: Float, length: Float) -> Float:
    """The places where most length lies, at most ``MOST_LINES`` and apart from each other."""
    found: list[float] = []
    together = (np.abs(places[:, None] - places) < NEAR) @ length
    for i in np.argsort(-together):
        if len(found) < MOST_LINES and all(abs(places[i] - other) > NEAR for other in found):
            found.append(float(places[i]))
    return np.array(found)


def _boxes(lines: _Lines, ratio: float, long_side: int) -> tuple[Float, Float]:
    """The rectangles of that width by height which three lines give, or two and one of ``SPANS``: Nx2 corners on two lines,
    and Nx2 sides (negative: to the left, upwards) from there."""
    widths = [long_side * SPANS * min(1, ratio)]
    for places, stretch in ((lines.x, 1.0), (lines.y, ratio)):
        between = np.abs(places[:, None] - places)[np.triu_indices(len(places), 1)] * stretch
        widths.append(between[between > 0.25 * long_side * min(1, ratio)])
    signs = np.array([1.0, -1.0])
    x, y, width, left, up = (
        values.ravel() for values in np.meshgrid(lines.x, lines.y, np.concatenate(widths), signs, signs, indexing="ij")
    )
    return np.column_stack([x, y]), np.column_stack([left * width, up * width / ratio])


def _drawn(anchors: Float, sides: Float, lines: _Lines, upright: Upright) -> tuple[Float, Float]:
    """For each box the part of its visible outline that lines follow, and how long the visible outline is in pixels."""
    height, width = upright.image.shape
    seen = cv2.erode(
        upright.seen.astype(np.uint8), np.ones((9, 9), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0
    )
    followed, shown = np.zeros(len(anchors)), np.zeros(len(anchors))
    step = np.linspace(0.01, 0.99, SAMPLES)
    for axis, near in ((0, lines.upright), (1, lines.level)):
        running = anchors[:, 1 - axis, None] + sides[:, 1 - axis, None] * step
        length = np.abs(sides[:, 1 - axis])
        for fixed in (anchors[:, axis], anchors[:, axis] + sides[:, axis]):
            place = np.broadcast_to(fixed[:, None], running.shape)
            x, y = (place, running) if axis == 0 else (running, place)
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            column, row = np.where(inside, x, 0).astype(np.intp), np.where(inside, y, 0).astype(np.intp)
            visible = inside & (seen[row, column] > 0)
            shown += visible.mean(axis=1) * length
            followed += (visible & (near[row, column] > 0)).mean(axis=1) * length
    return followed / np.maximum(shown, 1e-6), shown


def _pose(anchor: Float, side: Float, quarters: int, upright: Upright, screen: PreparedScreen) -> Homography:
    turn = quarter_turn(quarters, (upright.image.shape[1], upright.image.shape[0]))
    corners = turn.apply([anchor, anchor + side])
    (left, top), (right, _) = corners.min(axis=0), corners.max(axis=0)
    return Homography.scaling(screen.width / (right - left)) @ Homography.translation(-left, -top) @ turn


class _Patch:
    """The squared view, small, against what the screen shows."""

    def __init__(self, upright: Upright) -> None:
        height, width = upright.image.shape
        factor = SIZE / max(width, height)
        self.size = (max(8, round(width * factor)), max(8, round(height * factor)))
        self.from_squared = Homography.scaling(self.size[0] / width, self.size[1] / height)
        self.seen = cv2.resize(upright.seen.astype(np.float32), self.size, interpolation=cv2.INTER_AREA) > 0.99
        self.values = local_contrast(cv2.resize(upright.image, self.size, interpolation=cv2.INTER_AREA), RADIUS)

    def likeness(self, screen: PreparedScreen, pose: Homography) -> float:
        """Correlation of the contrasts where the view shows the screen under ``pose`` (squared view -> screen)."""
        to_screen = pose @ self.from_squared.inverse()
        scale = to_screen.scale_at(Point(self.size[0] / 2, self.size[1] / 2))
        level = screen.levels[min(max(int(np.log2(max(scale, 1))), 0), len(screen.levels) - 1)]
        to_level = Homography.scaling(level.shape[1] / screen.width, level.shape[0] / screen.height) @ to_screen
        matrix = (Homography.translation(-0.5, -0.5) @ to_level @ Homography.translation(0.5, 0.5)).matrix
        flags = cv2.INTER_AREA | cv2.WARP_INVERSE_MAP
        drawn = cv2.warpAffine(level, matrix[:2], self.size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        inside = cv2.warpAffine(np.full_like(level, 255), matrix[:2], self.size, flags=flags) > 250
        shown, seen = local_contrast(np.asarray(drawn, np.uint8), RADIUS), (self.seen & inside).astype(np.float32)
        of_view, of_screen = float((seen * self.values**2).sum()), float((seen * shown**2).sum())
        weight, area = float((self.values**2).mean()), float(seen.size)
        return float((seen * self.values * shown).sum()) / math.sqrt(
            (of_view + DOUBT * weight * area) * (of_screen + DOUBT * area)
        )


def _same(one: Homography, other: Homography, upright: Upright, screen: PreparedScreen) -> bool:
    """Whether a refinement from either ends at the same pose."""
    corners = rectangle_quad(upright.image.shape[1], upright.image.shape[0]).array()
    return bool(np.hypot(*(one.apply(corners) - other.apply(corners)).T).max() < 0.015 * screen.diagonal)


def framed(
    ends: Float, view_size: tuple[int, int], screen: PreparedScreen, homography: Homography, *, lens: float = 0.0
) -> bool:
    """Whether a view of that size (width, height) shows the screen's edges where a pose (view -> screen) predicts them.

    Two sides that meet, at least, and nearly all of what the view shows of each. ``ends`` are the view's line segments (Nx4),
    ``lens`` the radial coefficient (in half long sides) that is undone before ``homography``.
    """
    to_view, size, unit = homography.inverse(), np.array(view_size, np.float64), max(view_size) / 2

    def straight(xy: Float) -> Float:
        off = (xy - size / 2) / unit
        return np.asarray(size / 2 + off * (1 + lens * (off**2).sum(axis=1, keepdims=True)) * unit)

    start, end = straight(ends[:, :2]), straight(ends[:, 2:])
    along = end - start
    length = np.maximum(np.hypot(*along.T), 1e-6)
    along /= length[:, None]
    corners = rectangle_quad(screen.width, screen.height).array()
    found = []
    for first, second in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        points = first + (second - first) * np.linspace(0, 1, 4 * SAMPLES)[:, None]
        points = to_view.apply(points[to_view.depth(points) > 0])
        inside = ((points > EDGE) & (points < size - EDGE)).all(axis=1)
        if inside.sum() < 2:
            found.append(False)
            continue
        points = points[inside]
        reach = points[-1] - points[0]
        shown = float(np.hypot(*reach))
        off = points[:, None] - start
        beside = np.abs(off[..., 0] * along[:, 1] - off[..., 1] * along[:, 0]) < CLOSE
        within = ((off * along).sum(axis=2) > -EDGE) & ((off * along).sum(axis=2) < length + EDGE)
        level = np.abs(along @ (reach / max(shown, 1e-6))) > STRAIGHT
        followed = float((beside & within & level).any(axis=1).mean())
        if shown >= LEAST_SIDE * unit and followed < FOLLOWED:
            return False
        found.append(shown >= LEAST_SIDE * unit)
    return any(a and b for a, b in zip(found, found[1:] + found[:1], strict=True))
