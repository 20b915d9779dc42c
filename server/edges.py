"""Soft masks drawn to the edges of the photo, without weights: guided filtering and its use for joint upsampling.

He, Sun, Tang, "Guided Image Filtering" (PAMI 2013), "Fast Matting Using Large Kernel Matting Laplacian Matrices" (CVPR 2010)
and "Fast Guided Filter" (2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from server.segmenter import RGB, Mask
from server.selection import Window

Array = NDArray[np.float32]

EPSILON = 0.05**2
COARSE_RADIUS, FINE_RADIUS = 0.02, 0.01
"""Of the long side: the reach of a map on a grid of 128 cells, then half of it."""
LEAST_HALVED = 480
"""Long side in px from which the coarse pass takes its statistics at half the size ("Fast Guided Filter", section 3)."""
GAIN = 2.0
"""A guided filter averages; without a gain every pass would soften the mask more than the photo's own edge is."""
FINEST = 2048
"""Long side in px beyond which a photo's edges are not found to the pixel: its lens and sensor blur over more than that."""
GUIDE_RADIUS, GUIDE_EPSILON = 2, 0.01**2
FOLD = 1024
EDGE = 128
"""Marks the pixels whose alpha has yet to be found."""


def snapped(image: RGB, mask: Mask) -> Mask:
    """A model's map, drawn to the edges of its picture: uint8 HxWx3 and float32 HxW in [0, 1] -> float32 HxW.

    Two passes, the finer one on what the first made.
    """
    coarse_scale = 0.5 if max(mask.shape) >= LEAST_HALVED else 1
    for share, scale in ((COARSE_RADIUS, coarse_scale), (FINE_RADIUS, 1)):
        radius = max(1, round(share * max(mask.shape)))
        mask = sharpened(cv2.ximgproc.guidedFilter(image, mask, radius, EPSILON * 255**2, scale=scale), GAIN)
    return mask


def sharpened(mask: Mask, gain: float) -> Mask:
    """The mask with its distance from one half times ``gain``."""
    return np.clip((mask - np.float32(0.5)) * np.float32(gain) + np.float32(0.5), 0, 1)


class LocalLinear:
    """In every window a mask is taken as linear in the photo's colours, ``a . colour + b``; windows of (2 radius + 1)^2.

    ``image`` is float32 HxWx3 in [0, 1]; all statistics of it are worked out once, plane by plane. ``epsilon`` keeps ``a``
    small where a window has one colour.
    """

    def __init__(self, image: Array, radius: int, epsilon: float) -> None:
        self._colours: list[Array] = list(cv2.split(image))
        self._window = (2 * radius + 1, 2 * radius + 1)
        self._count = self._sum(np.ones(image.shape[:2], np.float32))
        self._share: Array = np.reciprocal(self._count)
        self._means = [self._average(colour) for colour in self._colours]
        self._inverse = self._inverse_covariance(epsilon)

    def _sum(self, plane: Array) -> Array:
        summed: Array = cv2.boxFilter(plane, -1, self._window, normalize=False, borderType=cv2.BORDER_CONSTANT)
        return summed

    def _average(self, plane: Array) -> Array:
        return np.asarray(self._sum(plane) * self._share, np.float32)

    def _inverse_covariance(self, epsilon: float) -> tuple[Array, ...]:
        """The six distinct entries of (covariance + epsilon I)^-1 of each window: rr, rg, rb, gg, gb, bb."""

        def covariance(i: int, j: int) -> Array:
            return self._average(self._colours[i] * self._colours[j]) - self._means[i] * self._means[j]

        rr, gg, bb = (covariance(i, i) + np.float32(epsilon) for i in range(3))
        rg, rb, gb = covariance(0, 1), covariance(0, 2), covariance(1, 2)
        irr, irg, irb = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
        igg, igb, ibb = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
        scale = 1 / (rr * irr + rg * irg + rb * irb)
        return tuple(entry * scale for entry in (irr, irg, irb, igg, igb, ibb))

    def windows(self, mask: Mask) -> tuple[Array, Array, Array, Array]:
        """``a`` for red, green and blue, and ``b``, each HxW, of the window round each pixel."""
        mean = self._average(mask)
        cr, cg, cb = (
            self._average(colour * mask) - colour_mean * mean
            for colour, colour_mean in zip(self._colours, self._means, strict=True)
        )
        rr, rg, rb, gg, gb, bb = self._inverse
        red, green, blue = rr * cr + rg * cg + rb * cb, rg * cr + gg * cg + gb * cb, rb * cr + gb * cg + bb * cb
        return red, green, blue, mean - self._dot((red, green, blue), self._means)

    def coefficients(self, mask: Mask) -> Array:
        """The four planes of ``windows``, HxWx4, averaged over the windows that hold each pixel; they vary slowly."""
        return np.asarray(cv2.merge([self._average(plane) for plane in self.windows(mask)]))

    def laplacian(self, mask: Mask) -> Mask:
        """The matting Laplacian times ``mask`` (CVPR 2010, equation 9), HxW."""
        *a, b = (self._sum(plane) for plane in self.windows(mask))
        return self._count * mask - self._dot(a, self._colours) - b

    @staticmethod
    def _dot(one: Sequence[Array], other: Sequence[Array]) -> Array:
        return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]


def enlarged(small: RGB, mask: Mask, large: RGB, window: Window, finest: int = FINEST) -> NDArray[np.uint8]:
    """The alpha of ``window`` of a large picture, its edges where that picture has them, from the mask of a shrunken one.

    ``small`` uint8 hxwx3, ``mask`` float32 hxw in [0, 1], ``large`` uint8 HxWx3 of the same view -> uint8 of the window's size.
    Only pixels near the mask's edge are worked on, so the cost grows with the outline; of a picture with a long side over
    ``finest`` one for every two by two of them (three by three, ...).
    """
    levels = np.rint(mask * 255).astype(np.uint8)
    if mask.shape == large.shape[:2]:
        return np.ascontiguousarray(levels[window.slices])
    step = -(-max(large.shape) // finest)
    edge = cv2.morphologyEx((mask > 0.5).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    edge |= ((levels > 2) & (levels < 253)).astype(np.uint8)
    edge = cv2.dilate(edge, np.ones((3, 3), np.uint8))
    # beside the edge a cell is all object or all background, to the eye: its pixels need no levels in between
    plan = np.where(edge > 0, np.uint8(EDGE), np.where(mask > 0.5, np.uint8(255), np.uint8(0)))
    alpha = stretched(plan, large, window, cv2.INTER_NEAREST, step)
    columns, rows = positions(cv2.compare(alpha, EDGE, cv2.CMP_EQ))
    if len(columns):
        x, y = _centres(columns, step, window.left), _centres(rows, step, window.top)
        alpha.reshape(-1)[rows.astype(np.int64) * alpha.shape[1] + columns] = _opacity(small, mask, large, x, y)
    if step == 1:
        return alpha
    width, height = window.right - window.left, window.bottom - window.top
    full: NDArray[np.uint8] = cv2.resize(alpha, (alpha.shape[1] * step, alpha.shape[0] * step))
    return full[:height, :width]


def _opacity(small: RGB, mask: Mask, large: RGB, x: Array, y: Array) -> NDArray[np.uint8]:
    """The alpha at N positions in ``large``, by the local linear models of the small picture at half its size."""
    size = max(1, small.shape[1] // 2), max(1, small.shape[0] // 2)
    guide = cv2.resize(small, size, interpolation=cv2.INTER_AREA) * np.float32(1 / 255)
    planes = LocalLinear(guide, GUIDE_RADIUS, GUIDE_EPSILON).coefficients(
        cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
    )
    across, down = (np.float32(a / b) for a, b in zip(size, large.shape[1::-1], strict=True))
    half = np.float32(0.5)
    models = sample(planes, (x + half) * across - half, (y + half) * down - half)
    colours = np.full(models.shape, 255, np.float32)
    colours[:, :3] = sample(large, x, y)
    return np.clip(np.einsum("ij,ij->i", models, colours) + half, 0, 255).astype(np.uint8)


def stretched(plane: Any, large: RGB, window: Window, interpolation: int = cv2.INTER_LINEAR, step: int = 1) -> Any:
    """The part of a small plane (hxw or hxwxC) under ``window`` of the large picture, at that picture's resolution.

    ``step`` 2: at half of it, and so on.
    """
    scale = np.array([plane.shape[1] / large.shape[1], plane.shape[0] / large.shape[0]])
    offset = (np.array([window.left, window.top]) + step / 2) * scale - 0.5
    return cv2.warpAffine(
        plane,
        np.array([[step * scale[0], 0, offset[0]], [0, step * scale[1], offset[1]]]),
        (-(-(window.right - window.left) // step), -(-(window.bottom - window.top) // step)),
        flags=interpolation | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _centres(indices: NDArray[np.int32], step: int, start: int) -> Array:
    """Where the pixels of every ``step``-th column (row) lie in the large picture."""
    return indices.astype(np.float32) * np.float32(step) + np.float32(start + (step - 1) / 2)


def positions(marked: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """x and y of the pixels that are not 0; several times faster than numpy's ``nonzero``."""
    found = cv2.findNonZero(marked)
    return (np.zeros(0, np.int32),) * 2 if found is None else (found[:, 0, 0], found[:, 0, 1])


def sample(planes: Any, x: NDArray[np.floating], y: NDArray[np.floating]) -> Any:
    """Bilinear samples of HxWxC at N positions, NxC, folded into rows because cv2.remap bounds each side of its output."""
    padding = -len(x) % FOLD
    map_x, map_y = (np.pad(values.astype(np.float32), (0, padding), mode="edge").reshape(-1, FOLD) for values in (x, y))
    sampled = cv2.remap(planes, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return sampled.reshape(-1, planes.shape[2])[: len(x)]
