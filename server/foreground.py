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

SOLVER_SIDE = 160
COARSEST = 4
REGULARISATION = 5e-3
GRADIENT_WEIGHT = 0.1
SMALL_LEVEL_SIDE = 32
SMALL_LEVEL_STEPS = 10
LARGE_LEVEL_STEPS = 3
CHUNK = 16384
"""Pixels worked on at once: few enough to stay in the processor's cache."""


def estimate_foreground(image: RGB, alpha: NDArray[np.uint8], shrunken: RGB | None = None) -> RGB:
    """Colours of the object alone: uint8 HxWx3 and alpha uint8 HxW -> uint8 HxWx3, equal to the image where alpha is 0 or 255.

    ``shrunken`` is the same view at a smaller size, where the caller has one: averaging a large photo costs as much as the rest.
    """
    if not cv2.countNonZero(cv2.inRange(alpha, 1, 254)):
        return image
    rgba = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
    take_foreground(rgba, alpha, image if shrunken is None else shrunken)
    return np.asarray(cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB))


def take_foreground(rgba: NDArray[np.uint8], alpha: NDArray[np.uint8], view: RGB) -> None:
    """``estimate_foreground`` in place, of contiguous HxWx4 whose last channel means nothing before and after.

    ``view`` is the same picture at any size.
    """
    height, width = alpha.shape
    columns, rows = positions(cv2.inRange(alpha, 1, 254))
    if not len(columns):
        return
    factor = min(1.0, SOLVER_SIDE / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = cv2.resize(view, size, interpolation=cv2.INTER_AREA)
    small_alpha = _averaged(alpha, size)
    solved = _solve(_planes(small) * np.float32(1 / 255), small_alpha * np.float32(1 / 255))
    x = (columns.astype(np.float32) + np.float32(0.5)) * np.float32(size[0] / width) - np.float32(0.5)
    y = (rows.astype(np.float32) + np.float32(0.5)) * np.float32(size[1] / height) - np.float32(0.5)
    foreground, background = (sample(_pixels(planes), x, y) for planes in (solved[:3], solved[3:]))
    places = rows.astype(np.int64) * width + columns
    pixels: NDArray[np.uint32] = rgba.view(np.uint32).reshape(-1)
    colours = pixels.take(places).view(np.uint8).reshape(-1, 4)
    weights = STEP.take(alpha.take(places), axis=0)
    for start in range(0, len(places), CHUNK):
        part = slice(start, start + CHUNK)
        of_f, of_b, of_image = (weights[part, i, None] for i in range(3))
        mixed = foreground[part] * of_f + background[part] * of_b + colours[part] * of_image
        colours[part] = np.clip(mixed + np.float32(0.5), 0, 255)
    pixels[places] = colours.view(np.uint32).reshape(-1)


def _averaged(alpha: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The alpha at ``size``, by halves as long as that goes: they are averaged ten times faster than any other ratio.

    Of an odd side the last pixel is left out; what is solved for varies more slowly than that matters.
    """
    while alpha.shape[1] >= 3 * size[0] and alpha.shape[0] >= 3 * size[1]:
        height, width = alpha.shape[0] // 2, alpha.shape[1] // 2
        alpha = np.asarray(cv2.resize(alpha[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA))
    return np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA))


def _step_weights() -> Array:
    """How much of f, b and the observed colour I is in the last step's result, by alpha 0..255: 256x3.

    One step of each pixel's own 2x2 system from what was solved for: f += a (I - a f - (1 - a) b) / (a^2 + (1 - a)^2).
    """
    a = np.linspace(0, 1, 256)
    gain = a / (a * a + (1 - a) * (1 - a))
    return np.stack([1 - gain * a, -gain * (1 - a), gain], axis=1).astype(np.float32)


STEP = _step_weights()


def _solve(image: Array, alpha: Array) -> Array:
    """Foreground and background, from the coarsest level to the image's own size: 3xHxW and HxW -> 6xHxW."""
    height, width = alpha.shape
    levels = max(1, int(np.ceil(np.log2(max(height, width) / COARSEST))))
    weights = np.stack([alpha, 1 - alpha])
    means = np.einsum("khw,chw->kc", weights, image) / np.maximum(weights.sum((1, 2)), 1e-6)[:, None]
    solved: Array = means.reshape(6, 1, 1).astype(np.float32)
    for level in range(levels + 1):
        share = 2.0 ** (level - levels)
        size = max(1, round(width * share)), max(1, round(height * share))
        level_image, level_alpha = _resized(image, size, cv2.INTER_AREA), _resized(alpha[None], size, cv2.INTER_AREA)[0]
        steps = SMALL_LEVEL_STEPS if max(size) <= SMALL_LEVEL_SIDE else LARGE_LEVEL_STEPS
        solved = _relax(level_image, level_alpha, _resized(solved, size, cv2.INTER_LINEAR), steps)
    return solved


def _relax(image: Array, alpha: Array, start: Array, steps: int) -> Array:
    """Jacobi steps of the 2x2 system that every pixel has with its four neighbours (paper, equation 4)."""
    height, width = alpha.shape
    around = [np.s_[..., :-2, 1:-1], np.s_[..., 2:, 1:-1], np.s_[..., 1:-1, :-2], np.s_[..., 1:-1, 2:]]
    beside = np.pad(alpha, 1, mode="edge")
    weights = [REGULARISATION + GRADIENT_WEIGHT * np.abs(alpha - beside[side]) for side in around]
    total = weights[0] + weights[1] + weights[2] + weights[3]
    rest = 1 - alpha
    m00, m01, m11 = alpha * alpha + total, alpha * rest, rest * rest + total
    scale = 1 / (m00 * m11 - m01 * m01)
    m00, m01, m11 = m00 * scale, m01 * scale, m11 * scale
    observed = np.concatenate([alpha * image, rest * image])
    padded, right, term = np.empty((6, height + 2, width + 2), np.float32), observed, np.empty_like(observed)
    inside: Array = padded[:, 1:-1, 1:-1]
    inside[...] = start
    for _ in range(steps):
        padded[:, 0], padded[:, -1] = padded[:, 1], padded[:, -2]
        padded[..., 0], padded[..., -1] = padded[..., 1], padded[..., -2]
        right = observed.copy()
        for weight, side in zip(weights, around, strict=True):
            right += np.multiply(padded[side], weight, out=term)
        np.clip(m11 * right[:3] - m01 * right[3:], 0, 1, out=inside[:3])
        np.clip(m00 * right[3:] - m01 * right[:3], 0, 1, out=inside[3:])
    return inside


def _planes(image: NDArray[np.uint8]) -> Array:
    """HxWxC -> CxHxW: arithmetic with one weight a pixel is several times faster on planes."""
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def _pixels(planes: Array) -> NDArray[np.uint8]:
    """3xHxW in [0, 1] -> uint8 HxWx4, as wide as a pixel of RGBA."""
    levels = np.rint(planes * np.float32(255)).astype(np.uint8)
    return np.asarray(cv2.merge([*levels, levels[0]]))


def _resized(planes: Array, size: tuple[int, int], interpolation: int) -> Array:
    return np.stack([cv2.resize(plane, size, interpolation=interpolation) for plane in planes])
