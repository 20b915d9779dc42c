"""Foreground colours: what the object's soft edge would look like without the old background mixed in.

Multi-level solver after Germer, Uelwer, Conrad, Harmeling, "Fast Multi-Level Foreground Estimation" (ICPR 2020), with Jacobi steps
on whole arrays instead of Gauss-Seidel; it runs at a bounded size, and the full size takes one closed-form step (as the last step
of Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from server.edges import positions, sample
from server.segmenter import RGB

Array = NDArray[np.float32]

SOLVER_SIDE = 320
COARSEST = 4
REGULARISATION = 5e-3
GRADIENT_WEIGHT = 0.1
SMALL_LEVEL_SIDE = 32
SMALL_LEVEL_STEPS = 10
LARGE_LEVEL_STEPS = 3


def estimate_foreground(image: RGB, alpha: NDArray[np.uint8], shrunken: RGB | None = None) -> RGB:
    """Colours of the object alone: uint8 HxWx3 and alpha uint8 HxW -> uint8 HxWx3, equal to the image where alpha is 255.

    Where alpha is 0 the result is the colour that the nearest part of the object continues with. ``shrunken`` is the same view
    at a smaller size, where the caller has one: averaging a large photo costs as much as the rest.
    """
    height, width = alpha.shape
    soft = cv2.inRange(alpha, 1, 254)
    if not cv2.countNonZero(soft):
        return image
    factor = min(1.0, SOLVER_SIDE / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = cv2.resize(image if shrunken is None else shrunken, size, interpolation=cv2.INTER_AREA) * np.float32(
        1 / 255
    )
    small_alpha = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA) * np.float32(1 / 255)
    foreground, background = _solve(small, small_alpha)
    xs, ys = positions(soft)
    map_x = (xs + np.float32(0.5)) * np.float32(size[0] / width) - np.float32(0.5)
    map_y = (ys + np.float32(0.5)) * np.float32(size[1] / height) - np.float32(0.5)
    both = sample(np.dstack([foreground, background]), map_x, map_y)
    f, b = both[:, :3], both[:, 3:]
    a = alpha[ys, xs].astype(np.float32)[:, None] / 255
    observed = image[ys, xs].astype(np.float32) / 255
    f += a * (observed - a * f - (1 - a) * b) / (a * a + (1 - a) * (1 - a))
    result = image.copy()
    result[ys, xs] = np.clip(f * 255 + np.float32(0.5), 0, 255)
    return result


def _solve(image: Array, alpha: Array) -> tuple[Array, Array]:
    """Foreground and background, HxWx3 each, from the coarsest level to the image's own size."""
    height, width = alpha.shape
    levels = max(1, int(np.ceil(np.log2(max(height, width) / COARSEST))))
    weight = alpha[..., None]
    foreground = np.broadcast_to((image * weight).sum((0, 1)) / max(float(weight.sum()), 1e-6), (1, 1, 3)).astype(
        np.float32
    )
    rest = 1 - weight
    background = np.broadcast_to((image * rest).sum((0, 1)) / max(float(rest.sum()), 1e-6), (1, 1, 3)).astype(
        np.float32
    )
    for level in range(levels + 1):
        share = 2.0 ** (level - levels)
        size = max(1, round(width * share)), max(1, round(height * share))
        level_image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        level_alpha = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
        foreground = cv2.resize(foreground, size, interpolation=cv2.INTER_LINEAR)
        background = cv2.resize(background, size, interpolation=cv2.INTER_LINEAR)
        steps = SMALL_LEVEL_STEPS if max(size) <= SMALL_LEVEL_SIDE else LARGE_LEVEL_STEPS
        foreground, background = _relax(level_image, level_alpha, foreground, background, steps)
    return foreground, background


def _relax(image: Array, alpha: Array, foreground: Array, background: Array, steps: int) -> tuple[Array, Array]:
    """Jacobi steps of the 2x2 system that every pixel has with its four neighbours (paper, equation 4)."""
    padded = np.pad(alpha, 1, mode="edge")
    around = [padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]
    weights = [(REGULARISATION + GRADIENT_WEIGHT * np.abs(alpha - other))[..., None] for other in around]
    total = np.sum(weights, axis=0)
    a = alpha[..., None]
    rest = 1 - a
    m00, m01, m11 = a * a + total, a * rest, rest * rest + total
    determinant = m00 * m11 - m01 * m01
    for _ in range(steps):
        right_f, right_b = a * image, rest * image
        for weight, f, b in zip(weights, _neighbours(foreground), _neighbours(background), strict=True):
            right_f += weight * f
            right_b += weight * b
        foreground = np.clip((m11 * right_f - m01 * right_b) / determinant, 0, 1)
        background = np.clip((m00 * right_b - m01 * right_f) / determinant, 0, 1)
    return foreground, background


def _neighbours(plane: Array) -> list[Array]:
    padded = np.pad(plane, ((1, 1), (1, 1), (0, 0)), mode="edge")
    return [padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]
