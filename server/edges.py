"""Soft masks drawn to the edges of the photo, without weights: guided filtering and its use for joint upsampling.

He, Sun, Tang, "Guided Image Filtering" (PAMI 2013), "Fast Matting Using Large Kernel Matting Laplacian Matrices" (CVPR 2010)
and "Fast Guided Filter" (2015).
"""

from __future__ import annotations

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
GAIN = 2.0
"""A guided filter averages; without a gain every pass would soften the mask more than the photo's own edge is."""
FOLD = 1024


def snapped(image: RGB, mask: Mask) -> Mask:
    """A model's map, drawn to the edges of its picture: uint8 HxWx3 and float32 HxW in [0, 1] -> float32 HxW.

    Two passes, the finer one on what the first made.
    """
    long_side = max(mask.shape)
    for share in (COARSE_RADIUS, FINE_RADIUS):
        radius = max(1, round(share * long_side))
        mask = sharpened(cv2.ximgproc.guidedFilter(image, mask, radius, EPSILON * 255**2), GAIN)
    return mask


def sharpened(mask: Mask, gain: float) -> Mask:
    """The mask with its distance from one half times ``gain``."""
    return np.clip((mask - np.float32(0.5)) * np.float32(gain) + np.float32(0.5), 0, 1)


class LocalLinear:
    """In every window a mask is taken as linear in the photo's colours, ``a . colour + b``; windows of (2 radius + 1)^2.

    ``image`` is float32 HxWx3 in [0, 1]; all statistics of it are worked out once. ``epsilon`` keeps ``a`` small where a window
    has one colour.
    """

    def __init__(self, image: Array, radius: int, epsilon: float) -> None:
        self.image = np.ascontiguousarray(image, np.float32)
        self._window = (2 * radius + 1, 2 * radius + 1)
        self._count = self._sum(np.ones(image.shape[:2], np.float32))
        self._mean = self._average(self.image)
        self._inverse = self._inverse_covariance(epsilon)

    def _sum(self, plane: Array) -> Array:
        summed: Array = cv2.boxFilter(plane, -1, self._window, normalize=False, borderType=cv2.BORDER_CONSTANT)
        return summed

    def _average(self, plane: Array) -> Array:
        count = self._count if plane.ndim == 2 else self._count[..., None]
        return self._sum(plane) / count

    def _inverse_covariance(self, epsilon: float) -> tuple[Array, ...]:
        """The six distinct entries of (covariance + epsilon I)^-1 of each window: rr, rg, rb, gg, gb, bb."""
        r, g, b = (self.image[..., channel] for channel in range(3))
        mean_r, mean_g, mean_b = (self._mean[..., channel] for channel in range(3))
        rr = self._average(r * r) - mean_r * mean_r + epsilon
        rg = self._average(r * g) - mean_r * mean_g
        rb = self._average(r * b) - mean_r * mean_b
        gg = self._average(g * g) - mean_g * mean_g + epsilon
        gb = self._average(g * b) - mean_g * mean_b
        bb = self._average(b * b) - mean_b * mean_b + epsilon
        irr, irg, irb = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
        igg, igb, ibb = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
        determinant = rr * irr + rg * irg + rb * irb
        return tuple(entry / determinant for entry in (irr, irg, irb, igg, igb, ibb))

    def windows(self, mask: Mask) -> tuple[Array, Array]:
        """``a`` HxWx3 and ``b`` HxW of the window round each pixel."""
        mean = self._average(mask)
        covariance = self._average(self.image * mask[..., None]) - self._mean * mean[..., None]
        cr, cg, cb = (covariance[..., channel] for channel in range(3))
        rr, rg, rb, gg, gb, bb = self._inverse
        a = np.empty_like(self.image)
        a[..., 0] = rr * cr + rg * cg + rb * cb
        a[..., 1] = rg * cr + gg * cg + gb * cb
        a[..., 2] = rb * cr + gb * cg + bb * cb
        return a, mean - np.einsum("ijk,ijk->ij", a, self._mean)

    def coefficients(self, mask: Mask) -> tuple[Array, Array]:
        """``a`` and ``b`` averaged over the windows that hold each pixel; they vary slowly, so they may be enlarged."""
        a, b = self.windows(mask)
        return self._average(a), self._average(b)

    def laplacian(self, mask: Mask) -> Mask:
        """The matting Laplacian times ``mask`` (CVPR 2010, equation 9), HxW."""
        a, b = self.windows(mask)
        explained = np.einsum("ijk,ijk->ij", self._sum(a), self.image) + self._sum(b)
        return np.asarray(self._count * mask - explained, np.float32)


def enlarged(small: RGB, mask: Mask, large: RGB, window: Window, radius: int = 4) -> NDArray[np.uint8]:
    """The alpha of ``window`` of a large picture, its edges where that picture has them, from the mask of a shrunken one.

    ``small`` uint8 hxwx3, ``mask`` float32 hxw in [0, 1], ``large`` uint8 HxWx3 of the same view -> uint8 of the window's size.
    Only pixels near the mask's edge are worked on, so the cost grows with the outline.
    """
    scale = np.array([mask.shape[1] / large.shape[1], mask.shape[0] / large.shape[0]])
    levels = np.rint(mask * 255).astype(np.uint8)
    alpha = stretched(levels, large, window)
    if mask.shape == large.shape[:2]:
        return alpha
    edge = cv2.morphologyEx((mask > 0.5).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    edge |= ((levels > 2) & (levels < 253)).astype(np.uint8)
    edge = cv2.dilate(edge, np.ones((3, 3), np.uint8))
    xs, ys = positions(stretched(edge, large, window, cv2.INTER_NEAREST))
    if not len(xs):
        return alpha
    a, b = LocalLinear(small * np.float32(1 / 255), radius, EPSILON / 25).coefficients(mask)
    sampled = sample(
        np.dstack([a, b]),
        xs * np.float32(scale[0]) + np.float32((window.left + 0.5) * scale[0] - 0.5),
        ys * np.float32(scale[1]) + np.float32((window.top + 0.5) * scale[1] - 0.5),
    )
    colours = large[window.slices][ys, xs].astype(np.float32)
    opacity = np.einsum("ij,ij->i", sampled[:, :3], colours) + sampled[:, 3] * np.float32(255)
    alpha[ys, xs] = np.clip(opacity + 0.5, 0, 255)
    return alpha


def stretched(plane: Any, large: RGB, window: Window, interpolation: int = cv2.INTER_LINEAR) -> Any:
    """The part of a small plane (hxw or hxwxC) under ``window`` of the large picture, at that picture's resolution."""
    scale = np.array([plane.shape[1] / large.shape[1], plane.shape[0] / large.shape[0]])
    offset = (np.array([window.left, window.top]) + 0.5) * scale - 0.5
    return cv2.warpAffine(
        plane,
        np.array([[scale[0], 0, offset[0]], [0, scale[1], offset[1]]]),
        (window.right - window.left, window.bottom - window.top),
        flags=interpolation | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def positions(marked: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """x and y of the pixels that are not 0; several times faster than numpy's ``nonzero``."""
    found = cv2.findNonZero(marked)
    return (np.zeros(0, np.int32),) * 2 if found is None else (found[:, 0, 0], found[:, 0, 1])


def sample(planes: Array, x: NDArray[np.floating], y: NDArray[np.floating]) -> Array:
    """Bilinear samples of HxWxC at N positions, NxC, folded into rows because cv2.remap bounds each side of its output."""
    padding = -len(x) % FOLD
    map_x, map_y = (np.pad(values.astype(np.float32), (0, padding), mode="edge").reshape(-1, FOLD) for values in (x, y))
    sampled = cv2.remap(planes, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return sampled.reshape(-1, planes.shape[2])[: len(x)]
