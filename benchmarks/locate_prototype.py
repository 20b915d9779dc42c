"""The 2020 prototype's way of locating a view: the baseline of ``benchmarks/locate.py``."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

VIEW_SIDE, SCREEN_SIDE = 700, 400
LEAST_MATCHES = 10
RATIO = 0.7
TOLERANCE = 5.0
SCALE = 3.0
"""It pasted everything at a third of its size, whatever the view showed."""


def locate(view: NDArray[np.uint8], screen: NDArray[np.uint8]) -> tuple[float, float] | None:
    """The screen pixel (centres at integers + 0.5) under the view's centre, or None; both pictures uint8 HxWx3 RGB."""
    small_view, _ = _shrunk(view, VIEW_SIDE)
    small_screen, screen_ratio = _shrunk(screen, SCREEN_SIDE)
    sift = cv2.SIFT.create()
    view_points, view_descriptors = sift.detectAndCompute(small_view, None)
    screen_points, screen_descriptors = sift.detectAndCompute(small_screen, None)
    if view_descriptors is None or screen_descriptors is None or len(screen_points) < 2:
        return None
    matcher = cv2.FlannBasedMatcher({"algorithm": 1, "trees": 5}, {"checks": 50})
    pairs = [pair for pair in matcher.knnMatch(view_descriptors, screen_descriptors, k=2) if len(pair) == 2]
    good = [first for first, second in pairs if first.distance < RATIO * second.distance]
    if len(good) <= LEAST_MATCHES:
        return None
    source = np.array([view_points[match.queryIdx].pt for match in good], np.float64)
    target = np.array([screen_points[match.trainIdx].pt for match in good], np.float64)
    matrix, _ = cv2.findHomography(source, target, cv2.RANSAC, TOLERANCE)
    if matrix is None:
        return None
    center = np.array([[[small_view.shape[1] / 2, small_view.shape[0] / 2]]])
    x, y = cv2.perspectiveTransform(center, matrix)[0, 0]
    return float(x / screen_ratio), float(y / screen_ratio)


def _shrunk(image: NDArray[np.uint8], side: int) -> tuple[NDArray[np.uint8], float]:
    ratio = min(1.0, side / max(image.shape[:2]))
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    size = (int(image.shape[1] * ratio), int(image.shape[0] * ratio))
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA), ratio
