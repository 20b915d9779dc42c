"""From a photograph to a cut-out: the one pipeline behind every command and every HTTP dialect."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from server.errors import BadOption, NoObject
from server.foreground import estimate_foreground
from server.images import RGBA
from server.segmenter import RGB, Mask, Segmenter, Tap

OBJECT_THRESHOLD = 0.5
"""A pixel belongs to an object where the model's own map says more than this."""
MIN_OBJECT_AREA = 2e-4
"""Smaller regions (as a share of the picture) are noise, not an object."""
SPECK_AREA = 0.02
"""Without a tap, regions smaller than this share of the largest one are dropped."""


@dataclass(frozen=True)
class Box:
    """Whole pixels of the upright photo; ``right`` and ``bottom`` are outside."""

    left: int
    top: int
    right: int
    bottom: int

    def as_list(self) -> list[int]:
        """[left, top, right, bottom], as JSON shows it."""
        return [self.left, self.top, self.right, self.bottom]


@dataclass(frozen=True, eq=False)
class Cutout:
    """An object without its surroundings.

    ``rgba`` is uint8 hxwx4, cropped to ``box``, straight (not premultiplied) alpha, RGB zero where alpha is zero.
    ``image_size`` is (width, height) of the upright photo, ``coverage`` the share of it that the alpha covers, ``score`` the
    model's mean probability over the object, both in [0, 1].
    """

    rgba: RGBA
    box: Box
    image_size: tuple[int, int]
    coverage: float
    score: float
    model: str
    timings_ms: dict[str, float] = field(default_factory=dict)

    def full(self) -> RGBA:
        """uint8 HxWx4 of the photo's size."""
        width, height = self.image_size
        canvas = np.zeros((height, width, 4), np.uint8)
        canvas[self.box.top : self.box.bottom, self.box.left : self.box.right] = self.rgba
        return canvas

    def mask(self) -> NDArray[np.uint8]:
        """The alpha as a grey map of the photo's size, uint8 HxW."""
        width, height = self.image_size
        canvas = np.zeros((height, width), np.uint8)
        canvas[self.box.top : self.box.bottom, self.box.left : self.box.right] = self.rgba[..., 3]
        return canvas

    def summary(self) -> dict[str, Any]:
        """What ``--json`` and the HTTP faces tell of it."""
        return {
            "status": "ok",
            "box": self.box.as_list(),
            "image_size": list(self.image_size),
            "coverage": round(self.coverage, 5),
            "score": round(self.score, 4),
            "model": self.model,
            "timings_ms": {name: round(value, 1) for name, value in self.timings_ms.items()},
        }


class Stopwatch:
    """Milliseconds by stage, in the order in which the stages ran."""

    def __init__(self) -> None:
        self.timings_ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.timings_ms[name] = self.timings_ms.get(name, 0.0) + (time.perf_counter() - start) * 1000


def cut(image: RGB, segmenter: Segmenter, *, tap: Tap | None = None) -> Cutout:
    """Cut the object out of a photo.

    ``image`` is uint8 HxWx3 RGB, upright; ``tap`` a position in its pixels (pixel centres at integers) that chooses the object
    under it or nearest to it. Raises ``NoObject`` where the model sees none, ``BadOption`` for a tap outside the picture.
    """
    height, width = image.shape[:2]
    if tap is not None and not (-0.5 <= tap[0] <= width - 0.5 and -0.5 <= tap[1] <= height - 0.5):
        raise BadOption(f"The tap {tap[0]:g},{tap[1]:g} is outside the {width} x {height} picture.", code="tap_outside")
    clock = Stopwatch()
    with clock.stage("predict"):
        probability = segmenter.predict(image, tap)
    with clock.stage("select"):
        region = select_object(probability, tap)
    if region is None:
        raise NoObject("No object was found in the picture: come closer, or put the object on a plainer background.")
    with clock.stage("compose"):
        return _compose(image, probability, region, segmenter.name, clock)


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


def _label_nearest(labels: NDArray[np.int32], kept: NDArray[np.intp], tap: Tap) -> int:
    height, width = labels.shape
    x, y = min(max(round(tap[0]), 0), width - 1), min(max(round(tap[1]), 0), height - 1)
    if labels[y, x] in kept:
        return int(labels[y, x])
    ys, xs = np.nonzero(np.isin(labels, kept))
    nearest = int(np.argmin((xs - tap[0]) ** 2 + (ys - tap[1]) ** 2))
    return int(labels[ys[nearest], xs[nearest]])


def _compose(image: RGB, probability: Mask, region: NDArray[np.bool_], model: str, clock: Stopwatch) -> Cutout:
    alpha = np.where(region, np.rint(probability * 255), 0).astype(np.uint8)
    left, top, width, height = cv2.boundingRect(alpha)
    box = Box(left, top, left + width, top + height)
    inside = np.s_[box.top : box.bottom, box.left : box.right]
    alpha = alpha[inside]
    colours = estimate_foreground(np.ascontiguousarray(image[inside]), alpha)
    solid = probability[inside][region[inside] & (probability[inside] > OBJECT_THRESHOLD)]
    rgba = np.empty((height, width, 4), np.uint8)
    cv2.mixChannels([colours, alpha], [rgba], [0, 0, 1, 1, 2, 2, 3, 3])
    rgba[alpha == 0] = 0
    return Cutout(
        rgba=rgba,
        box=box,
        image_size=(image.shape[1], image.shape[0]),
        coverage=float(alpha.sum(dtype=np.int64)) / 255 / image.shape[0] / image.shape[1],
        score=float(solid.mean()),
        model=model,
        timings_ms=clock.timings_ms,
    )
