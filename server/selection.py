"""Which pixels of a model's map are the object that is meant: taps, specks, holes, and where to look again."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from server.errors import BadOption
from server.segmenter import RGB, Mask, Tap

OBJECT_THRESHOLD = 0.5
"""A pixel belongs to an object where the model's own map says more than this."""
MIN_OBJECT_AREA = 2e-4
"""Smaller regions (as a share of the picture) are noise, not an object."""
SPECK_AREA = 0.02
"""Without a tap, regions smaller than this share of the largest one are dropped."""
HOLE_SIDE = 256
HOLE_AREA = 0.15
"""Of the picture: a larger gap is a view through, whatever its colour."""
HOLE_LIKENESS = 1.5
"""A hole is filled where its colours are so many times nearer to the object's than to the surroundings'."""
NEAREST_SHARE, MOST_COLOURS, MOST_HOLE_PIXELS = 0.02, 1000, 48
CROP_MARGIN = 0.3
CROP_GAIN = 0.6
"""Looking again pays where the crop has less than this share of the picture."""
TAP_CROP = 0.5
"""Of the short side: the crop around a tap where the map shows nothing."""


@dataclass(frozen=True)
class Window:
    """Whole pixels; ``right`` and ``bottom`` are outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def share(self, shape: tuple[int, ...]) -> float:
        """Its area over that of a picture of (H, W, ...)."""
        return (self.right - self.left) * (self.bottom - self.top) / (shape[0] * shape[1])

    def within(self, tap: Tap) -> Tap:
        """The tap in pixels of the window."""
        return tap[0] - self.left, tap[1] - self.top


def parse_tap(text: str | None) -> Tap | None:
    """ "x,y" in pixels of the upright image -> numbers. Raises ``BadOption``."""
    if not text:
        return None
    try:
        x, y = (float(part) for part in text.split(","))
        if not (abs(x) < 1e6 and abs(y) < 1e6):
            raise ValueError(text)
    except ValueError:
        raise BadOption(f"tap is 'x,y' in pixels of the upright image, not '{text[:40]}'.", code="bad_tap") from None
    return x, y


def select_object(probability: Mask, tap: Tap | None) -> NDArray[np.bool_] | None:
    """The pixels of the object that is meant, bool HxW, with the soft border that belongs to it; None where there is none.

    With a tap: the connected region under it, else the nearest. Without: every region but specks.
    """
    labels_count, labels, stats, _ = cv2.connectedComponentsWithStats(
        (probability > OBJECT_THRESHOLD).astype(np.uint8), connectivity=8
    )
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    kept = np.flatnonzero(areas >= max(MIN_OBJECT_AREA * probability.size, 4))
    if not len(kept):
        return None
    if tap is None:
        chosen = kept[areas[kept] >= SPECK_AREA * areas[kept].max()]
    else:
        chosen = np.array([_label_nearest(labels, kept, tap)])
    table = np.zeros(labels_count, np.uint8)
    table[chosen] = 1
    core = table[labels]
    if len(chosen) == np.count_nonzero(areas):
        return np.asarray(probability > 0)
    # a soft border belongs to the region that it touches: it ends where another region is nearer
    other = ((labels > 0) & (core == 0)).astype(np.uint8)
    to_core = cv2.distanceTransform(1 - core, cv2.DIST_L2, 3)
    to_other = cv2.distanceTransform(1 - other, cv2.DIST_L2, 3)
    return np.asarray((core > 0) | ((other == 0) & (to_core < to_other)))


def tapped(probability: Mask, tap: Tap) -> bool:
    """Whether the map shows an object under the tap."""
    x, y = _clamped(tap, probability)
    return bool(probability[y, x] > OBJECT_THRESHOLD)


def window_to_look_again(probability: Mask, region: NDArray[np.bool_] | None, tap: Tap | None) -> Window | None:
    """The crop in which a model of fixed input size would see the object larger; None where that would gain little.

    Around the region; where a tap is on no object, a square around it.
    """
    height, width = probability.shape
    if tap is not None and (region is None or not tapped(probability, tap)):
        half = TAP_CROP * min(height, width) / 2
        x, y = (min(max(value, half), side - half) for value, side in zip(tap, (width, height), strict=True))
        window = _window(x - half, y - half, x + half, y + half, probability)
    elif region is not None:
        left, top, across, down = cv2.boundingRect((region & (probability > OBJECT_THRESHOLD)).astype(np.uint8))
        margin = CROP_MARGIN * max(across, down)
        window = _window(left - margin, top - margin, left + across + margin, top + down + margin, probability)
    else:
        return None
    return window if window.share(probability.shape) < CROP_GAIN else None


def fill_holes(image: RGB, probability: Mask) -> Mask:
    """The map with gaps closed that lie inside the object and have its colours; the handle of a cup stays open.

    A gap is what the map calls background without a way to the picture's border. Each of its pixels is compared with those of
    the object, and of the sure background, that are most like it (Lab): a gap may hold light and shade.
    """
    height, width = probability.shape
    factor = min(1.0, HOLE_SIDE / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = cv2.resize(probability, size, interpolation=cv2.INTER_AREA)
    background = np.pad((small <= OBJECT_THRESHOLD).astype(np.uint8), 1, constant_values=1)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(background, connectivity=4)
    outside, labels = labels[0, 0], labels[1:-1, 1:-1]
    areas = stats[:, cv2.CC_STAT_AREA]
    holes = [label for label in range(1, count) if label != outside and 4 <= areas[label] <= HOLE_AREA * small.size]
    if not holes:
        return probability
    shrunk = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    lab = cv2.cvtColor(shrunk, cv2.COLOR_RGB2LAB)
    object_colours, surroundings = lab[small > 0.8], lab[(small < 0.05) & (labels == outside)]
    filled = np.zeros(small.shape, np.uint8)
    for label in holes:
        hole = lab[labels == label]
        if _distance(surroundings, hole) > HOLE_LIKENESS * _distance(object_colours, hole):
            filled[labels == label] = 1
    if not filled.any():
        return probability
    # the rim of a gap is undecided too: it is closed with it, but only on the object's side
    rim = cv2.dilate(filled, np.ones((3, 3), np.uint8), iterations=2) & (labels != outside)
    lift = cv2.resize(rim.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.maximum(probability, lift)


def _distance(colours: NDArray[np.float32], hole: NDArray[np.float32]) -> float:
    """From each pixel of a hole to the few of ``colours`` most like it, on average; both are thinned out evenly."""
    if not len(colours):
        return np.inf
    colours = colours[:: max(1, len(colours) // MOST_COLOURS)]
    hole = hole[:: max(1, len(hole) // MOST_HOLE_PIXELS)]
    distances = np.linalg.norm(colours[None] - hole[:, None], axis=2)
    nearest = max(1, round(NEAREST_SHARE * len(colours)))
    return float(np.partition(distances, nearest - 1, axis=1)[:, :nearest].mean())


def _window(left: float, top: float, right: float, bottom: float, probability: Mask) -> Window:
    height, width = probability.shape
    return Window(
        max(0, int(left)), max(0, int(top)), min(width, int(np.ceil(right))), min(height, int(np.ceil(bottom)))
    )


def _clamped(tap: Tap, probability: Mask) -> tuple[int, int]:
    height, width = probability.shape
    return min(max(round(tap[0]), 0), width - 1), min(max(round(tap[1]), 0), height - 1)


def _label_nearest(labels: NDArray[np.int32], kept: NDArray[np.intp], tap: Tap) -> int:
    height, width = labels.shape
    x, y = min(max(round(tap[0]), 0), width - 1), min(max(round(tap[1]), 0), height - 1)
    if labels[y, x] in kept:
        return int(labels[y, x])
    ys, xs = np.nonzero(np.isin(labels, kept))
    nearest = int(np.argmin((xs - tap[0]) ** 2 + (ys - tap[1]) ** 2))
    return int(labels[ys[nearest], xs[nearest]])
