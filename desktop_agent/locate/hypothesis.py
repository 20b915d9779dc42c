"""A candidate pose of the view: how it is fitted to correspondences, and what makes one impossible."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from desktop_agent.geometry import Homography, Point, rectangle_quad
from desktop_agent.locate.location import Refusal

Float = NDArray[np.float64]

INNER = 0.6
MOST_STRETCH = 5.0
LEAST_INLIERS = 6


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """``homography`` maps view pixels to screen pixels; ``inlier`` says which correspondences fit."""

    homography: Homography
    inlier: NDArray[np.bool_]

    @property
    def inliers(self) -> int:
        return int(self.inlier.sum())


def fit(view_xy: Float, screen_xy: Float, tolerance: float) -> Hypothesis | None:
    """The plane that most correspondences agree on (MAGSAC++, Barath 2020), ``tolerance`` in screen pixels; None without one."""
    if len(view_xy) < LEAST_INLIERS:
        return None
    unit = max(1e-6, tolerance / 4)
    matrix, mask = cv2.findHomography(
        view_xy / unit, screen_xy / unit, cv2.USAC_MAGSAC, 4.0, maxIters=4000, confidence=0.999
    )
    if matrix is None or mask is None or not np.isfinite(matrix).all():
        return None
    homography = Homography.scaling(unit) @ Homography(matrix) @ Homography.scaling(1 / unit)
    return Hypothesis(facing(homography, view_xy), mask.ravel().astype(bool))


def facing(homography: Homography, view_xy: Float) -> Homography:
    """The same map with positive depth at most of the points."""
    depth = homography.depth(view_xy)
    matrix = homography.matrix / (np.abs(homography.matrix).max() or 1)
    return Homography(matrix if np.median(depth) > 0 else -matrix)


def flaw(homography: Homography, view_size: tuple[int, int], screen_size: tuple[int, int]) -> Refusal | None:
    """Why a camera that looks at the screen cannot see this, or None."""
    width, height = view_size
    center = Point(width / 2, height / 2)
    inner = (rectangle_quad(width, height).array() - (center.x, center.y)) * INNER + (center.x, center.y)
    if (homography.depth(np.vstack([inner, [(center.x, center.y)]])) <= 0).any():
        return Refusal.NO_CONSISTENT_PLANE
    jacobian = homography.jacobian(center)
    if not np.isfinite(jacobian).all():
        return Refusal.NO_CONSISTENT_PLANE
    if np.linalg.det(jacobian) <= 0:
        return Refusal.MIRRORED
    large, small = np.linalg.svd(jacobian, compute_uv=False)
    spanned = large * max(view_size) / max(screen_size)
    if large > MOST_STRETCH * small or not 0.04 < spanned < 12:
        return Refusal.NO_CONSISTENT_PLANE
    point = homography.apply_point(center)
    margin = 0.005 * max(screen_size)
    if not (-margin <= point.x <= screen_size[0] + margin and -margin <= point.y <= screen_size[1] + margin):
        return Refusal.OFF_SCREEN
    return None


def spread(xy: Float, cell: float) -> int:
    """How many cells of the given side hold points: many matches of one spot count once."""
    return len(np.unique(np.floor(xy / cell).astype(np.int64), axis=0)) if len(xy) else 0
