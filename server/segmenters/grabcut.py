"""``grabcut``: a model that needs no weights and has no licence beyond ours.

GrabCut (Rother, Kolmogorov, Blake, SIGGRAPH 2004) as OpenCV implements it, seeded by the border of the picture, a centre prior
and the tap.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from server.segmenter import RGB, Mask, Tap

WORKING_SIDE = 352
EDGE_SIDE = 1024
BORDER = 0.04
ITERATIONS = 4
MIN_SEPARATION = 4.5
"""Lab distance between an object and its surroundings under which GrabCut only splits noise: there is no object."""


class GrabCutSegmenter:
    """See ``server.segmenter.Segmenter``."""

    name = "grabcut"

    def predict(self, image: RGB, tap: Tap | None = None) -> Mask:
        height, width = image.shape[:2]
        factor = min(1.0, WORKING_SIDE / max(height, width))
        size = max(1, round(width * factor)), max(1, round(height * factor))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        if min(size) < 16 or int(small.max()) - int(small.min()) < 8:
            return np.zeros((height, width), np.float32)
        small_tap = None if tap is None else ((tap[0] + 0.5) * size[0] / width, (tap[1] + 0.5) * size[1] / height)
        foreground = _grabcut(small, small_tap)
        soft = _upsampled(foreground.astype(np.float32), image)
        return soft if _separation(small, foreground) >= MIN_SEPARATION else soft * np.float32(0.4)


def _grabcut(small: RGB, tap: tuple[float, float] | None) -> NDArray[np.bool_]:
    labels = _seeds(small.shape[0], small.shape[1], tap)
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)  # k-means inside is random; the same photo must give the same cut
    cv2.grabCut(
        cv2.cvtColor(small, cv2.COLOR_RGB2BGR), labels, None, background, foreground, ITERATIONS, cv2.GC_INIT_WITH_MASK
    )
    mask = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return np.asarray(mask > 0)


def _seeds(height: int, width: int, tap: tuple[float, float] | None) -> NDArray[np.uint8]:
    """GrabCut labels: a border of sure background, an ellipse of probable object round the tap or the centre."""
    margin_x, margin_y = max(1, round(BORDER * width)), max(1, round(BORDER * height))
    labels = np.full((height, width), cv2.GC_BGD, np.uint8)
    labels[margin_y : height - margin_y, margin_x : width - margin_x] = cv2.GC_PR_BGD
    center = tap or (width / 2, height / 2)
    ys, xs = np.mgrid[0.5:height, 0.5:width]
    radius = ((xs - center[0]) / (0.36 * width)) ** 2 + ((ys - center[1]) / (0.36 * height)) ** 2
    labels[(radius < 1) & (labels == cv2.GC_PR_BGD)] = cv2.GC_PR_FGD
    if tap is not None:
        cv2.circle(labels, (int(tap[0]), int(tap[1])), max(2, round(0.015 * math.hypot(width, height))), cv2.GC_FGD, -1)
    return labels


def _separation(small: RGB, foreground: NDArray[np.bool_]) -> float:
    """Lab distance between the mean colours of the object and of a band around it."""
    size = max(5, max(small.shape[:2]) // 12) | 1
    band = (cv2.dilate(foreground.astype(np.uint8), np.ones((size, size), np.uint8)) > 0) & ~foreground
    if not foreground.any() or not band.any():
        return 0.0
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return float(np.linalg.norm(lab[foreground].mean(axis=0) - lab[band].mean(axis=0)))


def _upsampled(foreground: Mask, image: RGB) -> Mask:
    """The small mask at the photo's size, its edge drawn to the photo's by a guided filter (He, Sun, Tang, ECCV 2010)."""
    height, width = image.shape[:2]
    factor = min(1.0, EDGE_SIDE / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    guide = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(foreground, size, interpolation=cv2.INTER_LINEAR)
    soft = cv2.ximgproc.guidedFilter(guide, coarse, 6, (0.03 * 255) ** 2)
    sharpened = np.clip((soft - 0.5) * 2.0 + 0.5, 0, 1)
    return np.asarray(
        np.clip(cv2.resize(sharpened, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1), dtype=np.float32
    )
