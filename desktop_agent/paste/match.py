"""Finding a pasted cut-out on the screen from what changed there.

The model is the picture itself: after = alpha * object + (1 - alpha) * before. For a cut-out P (colour times alpha, alpha a)
at every shift, the squared error of the whole picture follows from five correlations,

    E = sum D^2 + corr(P, P) + corr(a^2, b^2) - 2 corr(P a, b) - 2 corr(P, D) + 2 corr(a, b D),    D = after - before = after - b,

so one search over position and scale at low resolution finds the placement that explains the change best (a thumbnail of
the page explains little of it). Gauss-Newton on position, log scale and angle then refines it by rendering.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from desktop_agent.geometry import Placement, Point, Rect
from desktop_agent.paste.driver import RGBA
from desktop_agent.paste.raster import Premultiplied, compose, premultiplied, resample

RGB = NDArray[np.uint8]
Float32 = NDArray[np.float32]

NOTICEABLE = 12 / 255  # a pixel that differs by more has changed
SEARCH_SIDE = 112  # pixels of the changed area's longer side during the search
SKETCH_SIDES = (48, 100)  # pixels of the object's longer side while a guess is tried,
FINE_SIDES = (220,)  # and at the end of the refinement
SCALE_STEP = 1.09
SAME_SLOPES = 0.5  # quarter pixels that a step may go for its slopes to be good for the next one, too
EVIDENT = 0.85  # where so much is explained at the expected place, there is nothing to search for
FRAME = 24  # pixels outside an object in which its selection is drawn
EXPLAINED = 0.55  # of the change under the object, at least


@dataclass(frozen=True)
class Match:
    """``explained``: the part of the change under the object that the rendering explains, at most 1."""

    placement: Placement
    explained: float


def changed(before: RGB, after: RGB) -> NDArray[np.bool_]:
    """HxW: which pixels differ noticeably."""
    import cv2

    same = cv2.inRange(cv2.absdiff(before, after), (0, 0, 0), (NOTICEABLE * 255,) * 3)
    return np.asarray(same == 0)


def find(
    cutout: RGBA, before: RGB, after: RGB, expected: Placement, *, scales: tuple[float, float] = (0.25, 4.0)
) -> Match | None:
    """The placement (pixels of the two HxWx3 pictures) of the cut-out that appeared, or None.

    ``scales`` bounds the search as factors of the expected scale; the angle may differ by some degrees.
    """
    moved = changed(before, after)
    if int(moved.sum()) < 9:
        return None
    pasted = Pyramid(premultiplied(cutout))
    best = _refine(pasted, before, after, expected, SKETCH_SIDES)
    if best.explained < EVIDENT:
        guess = _outlined(cutout, moved, expected)
        best = max(best, _refine(pasted, before, after, guess, SKETCH_SIDES), key=lambda match: match.explained)
    if best.explained < EVIDENT:
        crop = _changed_area(moved)
        rows, columns = slice(crop.top, crop.bottom), slice(crop.left, crop.right)
        guesses = _search(pasted, _unit(before[rows, columns]), _unit(after[rows, columns]), expected, scales)
        guesses = [replace(guess, center=guess.center.shifted(crop.left, crop.top)) for guess in guesses]
        sketched = [_refine(pasted, before, after, guess, SKETCH_SIDES) for guess in guesses]
        best = max([best, *sketched], key=lambda match: match.explained)
    best = _refine(pasted, before, after, best.placement, FINE_SIDES)
    return best if best.explained >= EXPLAINED else None


def looks_placed(cutout: RGBA, before: RGB, after: RGB, placement: Placement) -> bool:
    """True where ``after`` shows the cut-out at ``placement``, though ``before`` may have shown the same there."""
    area = placement.bounds(cutout.shape[1], cutout.shape[0]).intersection(Rect(0, 0, before.shape[1], before.shape[0]))
    if area is None:
        return False
    rows, columns = slice(area.top, area.bottom), slice(area.left, area.right)
    over = resample(premultiplied(cutout), placement, area)
    error = np.abs(compose(before[rows, columns], over).astype(np.float32) - after[rows, columns]).max(axis=2)
    return bool(np.quantile(error[over[..., 3] > 0.1], 0.9) < 3 * NOTICEABLE * 255)


def framed(cutout: RGBA, before: RGB, after: RGB, placement: Placement) -> bool:
    """True where lines appeared just outside all four sides of the placed cut-out's box: the program shows it as selected."""
    box = placement.bounds(cutout.shape[1], cutout.shape[0])
    moved = changed(before, after)
    left, top, right, bottom = (max(0, side) for side in (box.left, box.top, box.right, box.bottom))
    wide, high = slice(left, right), slice(top, bottom)
    strips = (
        moved[max(0, top - FRAME) : top, wide], moved[bottom : bottom + FRAME, wide],
        moved[high, max(0, left - FRAME) : left].T, moved[high, right : right + FRAME].T,
    )  # fmt: skip
    return all(strip.size > 0 and float(strip.mean(axis=1).max()) > 0.6 for strip in strips)


class Pyramid:
    """A premultiplied cut-out at powers of two, so that drawing it small is quick and still averages its pixels."""

    def __init__(self, cutout: Premultiplied) -> None:
        self.height, self.width = cutout.shape[:2]
        self._levels = [cutout]

    def draw(self, placement: Placement, width: int, height: int) -> Premultiplied:
        """The placed cut-out on a W x H picture of nothing, float32 HxWx4 premultiplied."""
        import cv2

        level = max(0, math.floor(math.log2(max(1.0, 1.4 / (2 * placement.scale)))) + (placement.scale < 0.7))
        while len(self._levels) <= level and min(self._levels[-1].shape[:2]) > 8:
            last = self._levels[-1]
            even = cv2.copyMakeBorder(last, 0, last.shape[0] % 2, 0, last.shape[1] % 2, cv2.BORDER_CONSTANT)
            size = (even.shape[1] // 2, even.shape[0] // 2)
            self._levels.append(cv2.resize(even, size, interpolation=cv2.INTER_AREA).astype(np.float32))
        level = min(level, len(self._levels) - 1)
        matrix = placement.matrix(self.width, self.height)
        matrix[:, :2] *= 2**level  # from pixels of that level, whose corner stays where it was
        matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5  # OpenCV's pixel centres are integers
        return np.asarray(cv2.warpAffine(self._levels[level], matrix, (width, height)), dtype=np.float32)


def _unit(picture: RGB) -> Float32:
    return picture.astype(np.float32) / np.float32(255)


def _changed_area(moved: NDArray[np.bool_]) -> Rect:
    """Around the changed pixels, with room for soft edges that changed too little to notice."""
    ys, xs = np.flatnonzero(moved.any(axis=1)), np.flatnonzero(moved.any(axis=0))
    margin = 8 + int(max(np.ptp(ys), np.ptp(xs)) * 0.1)
    left, top = max(0, int(xs[0]) - margin), max(0, int(ys[0]) - margin)
    right, bottom = min(moved.shape[1], int(xs[-1]) + 1 + margin), min(moved.shape[0], int(ys[-1]) + 1 + margin)
    return Rect(left, top, right - left, bottom - top)


def _outlined(cutout: RGBA, moved: NDArray[np.bool_], expected: Placement) -> Placement:
    """The placement whose visible part fills the box of the largest connected change: mostly true on a background of one colour."""
    import cv2

    _, _, boxes, _ = cv2.connectedComponentsWithStats(moved.astype(np.uint8))
    left, top, width, height, _ = (int(value) for value in max(boxes[1:], key=lambda box: int(box[4])))
    around = replace(expected, center=Point(0, 0))
    area = around.bounds(cutout.shape[1], cutout.shape[0])
    ys, xs = np.nonzero(resample(premultiplied(cutout), around, area)[..., 3] > NOTICEABLE)
    if len(xs) == 0:
        return expected
    scale = math.sqrt(width * height / ((np.ptp(xs) + 1) * (np.ptp(ys) + 1)))
    middle_x, middle_y = area.left + (xs.min() + xs.max() + 1) / 2, area.top + (ys.min() + ys.max() + 1) / 2
    center = Point(left + width / 2 - scale * float(middle_x), top + height / 2 - scale * float(middle_y))
    return replace(expected, center=center, scale=expected.scale * float(scale))


def _search(
    cutout: Pyramid, before: Float32, after: Float32, expected: Placement, scales: tuple[float, float]
) -> list[Placement]:
    """The best placements of a coarse search over position and scale, at most three that differ."""
    import cv2

    shrink = max(1.0, max(before.shape[:2]) / SEARCH_SIDE)
    size = (max(1, round(before.shape[1] / shrink)), max(1, round(before.shape[0] / shrink)))
    b, a = (cv2.resize(p, size, interpolation=cv2.INTER_AREA).astype(np.float32) for p in (before, after))
    steps = max(1, round(math.log(scales[1] / scales[0]) / math.log(SCALE_STEP)))
    found: list[tuple[float, Placement]] = []
    for step in range(steps + 1):
        scale = expected.scale * scales[0] * (scales[1] / scales[0]) ** (step / steps)
        hit = _best_shift(cutout, b, a, scale / shrink, expected.rotation)
        if hit is not None:
            gain, center = hit
            found.append((gain, Placement(Point(center.x * shrink, center.y * shrink), scale, expected.rotation)))
    found.sort(key=lambda item: -item[0])
    chosen: list[Placement] = []
    for _, placement in found:
        near = 0.25 * placement.scale * max(cutout.width, cutout.height)
        if all(
            placement.center.distance(other.center) > near or abs(math.log(placement.scale / other.scale)) > 0.2
            for other in chosen
        ):
            chosen.append(placement)
    return chosen[:3]


def _best_shift(
    cutout: Pyramid, before: Float32, after: Float32, scale: float, rotation: float
) -> tuple[float, Point] | None:
    """How much of the squared change the cut-out explains at its best position, and that position of its centre."""
    import cv2

    bounds = Placement(Point(0, 0), scale, rotation).bounds(cutout.width, cutout.height)
    w, h = bounds.width, bounds.height
    if min(w, h) < 4 or w > 1.5 * before.shape[1] or h > 1.5 * before.shape[0]:
        return None
    template = cutout.draw(Placement(Point(w / 2, h / 2), scale, rotation), w, h)
    color, alpha = np.ascontiguousarray(template[..., :3]), np.repeat(template[..., 3:], 3, axis=2)
    over_x, over_y = w // 2, h // 2  # the object may reach beyond what is seen
    b = cv2.copyMakeBorder(before, over_y, over_y, over_x, over_x, cv2.BORDER_REPLICATE)
    change = cv2.copyMakeBorder(after - before, over_y, over_y, over_x, over_x, cv2.BORDER_CONSTANT)
    if b.shape[0] < h or b.shape[1] < w:
        return None
    gain = 2 * (_correlate(b, color * alpha) + _correlate(change, color) - _correlate(b * change, alpha))
    gain -= _correlate(b * b, alpha * alpha) + float((color * color).sum())
    _, value, _, (x, y) = cv2.minMaxLoc(gain)
    return (float(value), Point(x - over_x + w / 2, y - over_y + h / 2)) if value > 0 else None


def _correlate(picture: Float32, template: Float32) -> Float32:
    """Sum over the three channels, too."""
    import cv2

    return np.asarray(cv2.matchTemplate(picture, template, cv2.TM_CCORR), dtype=np.float32)


def _refine(cutout: Pyramid, before: RGB, after: RGB, guess: Placement, sides: tuple[int, ...]) -> Match:
    """Gauss-Newton at growing resolution, ``sides`` pixels for the object's longer side."""
    match = Match(guess, 0.0)
    for side in sides:
        longer = max(cutout.width, cutout.height) * match.placement.scale
        match = _descend(cutout, before, after, match.placement, max(1.0, longer / side))
    return match


def _descend(cutout: Pyramid, before: RGB, after: RGB, start: Placement, shrink: float) -> Match:
    import cv2

    full = start.bounds(cutout.width, cutout.height)
    margin = max(4, round(0.12 * max(full.width, full.height)))
    around = Rect(full.left - margin, full.top - margin, full.width + 2 * margin, full.height + 2 * margin)
    area = around.intersection(Rect(0, 0, before.shape[1], before.shape[0]))
    if area is None or min(area.width, area.height) < 8:
        return Match(start, 0.0)
    rows, columns = slice(area.top, area.bottom), slice(area.left, area.right)
    # the same factor in both directions: a last incomplete row or column is left out
    w, h = math.floor(area.width / shrink), math.floor(area.height / shrink)
    keep = (slice(rows.start, rows.start + round(h * shrink)), slice(columns.start, columns.start + round(w * shrink)))
    b, a = (cv2.resize(_unit(p[keep]), (w, h), interpolation=cv2.INTER_AREA) for p in (before, after))
    fx, fy = w / round(w * shrink), h / round(h * shrink)
    factor = math.sqrt(fx * fy)
    half = 0.5 * math.hypot(cutout.width, cutout.height)

    def placed(state: NDArray[np.float64]) -> Placement:
        return Placement(Point(state[0], state[1]), math.exp(state[2]), state[3])

    def drawn(state: NDArray[np.float64]) -> tuple[Float32, Float32]:
        over = cutout.draw(placed(state), w, h)
        return np.asarray(over[..., :3] + (1 - over[..., 3:]) * b, dtype=np.float32), over[..., 3]

    x, y = (start.center.x - area.left) * fx, (start.center.y - area.top) * fy
    state = np.array([x, y, math.log(start.scale * factor), start.rotation])
    slopes: list[Float32] = []
    now, alpha = drawn(state)
    for _ in range(10):
        reach = half * math.exp(state[2])
        steps = np.array([0.25, 0.25, 0.25 / reach, math.degrees(0.25 / reach)])  # each moves no pixel by more
        residual = a - now
        weight = _weights(residual, alpha > 0.02)
        if not slopes:
            slopes = [drawn(state + step)[0] - now for step in np.diag(steps)]
        j = np.stack([(slope * weight).ravel() for slope in slopes], axis=1)
        normal = (j.T @ j).astype(np.float64)
        normal += (1e-6 * float(np.trace(normal)) + 1e-9) * np.eye(4)
        delta = np.linalg.solve(normal, (j.T @ (residual * weight).ravel()).astype(np.float64)).clip(-12, 12)
        state = state + delta * steps
        now, alpha = drawn(state)
        moved = float(np.abs(delta).max())
        if moved < 0.05:
            break
        if moved > SAME_SLOPES:
            slopes = []
    final = placed(state)
    center = Point(final.center.x / fx + area.left, final.center.y / fy + area.top)
    return Match(Placement(center, final.scale / factor, final.rotation), _explained(b, a, now, alpha))


def _weights(residual: Float32, support: NDArray[np.bool_]) -> Float32:
    """Square roots of Geman-McClure weights, HxWx1: selection handles and the like must not pull."""
    size = np.abs(residual)
    size = np.maximum(np.maximum(size[..., 0], size[..., 1]), size[..., 2])
    typical = float(np.median(size[support])) if support.any() else 0.1
    sigma = max(0.03, 2.0 * typical)
    return np.asarray((1 / (1 + (size / sigma) ** 2))[..., None], dtype=np.float32)


def _explained(before: Float32, after: Float32, drawn: Float32, alpha: Float32) -> float:
    """1 - error / change over the pixels where the object is seen."""
    visible = alpha > 0.1
    if not visible.any():
        return 0.0
    error = np.abs(after - drawn)[visible].clip(0, 0.4)
    change = np.abs(drawn - before)[visible].clip(0, 0.4)
    return float(1 - error.sum() / max(float(change.sum()), 1e-6))
