"""Rendering a cut-out at a placement: affine resampling in premultiplied colour, area-correct when shrinking."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from desktop_agent.geometry import Placement, Rect
from desktop_agent.paste.driver import RGBA

Premultiplied = NDArray[np.float32]


def premultiplied(cutout: RGBA) -> Premultiplied:
    """uint8 HxWx4 -> float32 HxWx4 in [0, 1], colour times alpha."""
    values = cutout.astype(np.float32) / np.float32(255)
    values[..., :3] *= values[..., 3:]
    return values


def straight(values: Premultiplied) -> RGBA:
    """The inverse of ``premultiplied``; where nothing is seen the colour is zero."""
    alpha = values[..., 3:]
    color = np.divide(values[..., :3], alpha, out=np.zeros_like(values[..., :3]), where=alpha > 1 / 512)
    return np.rint(np.concatenate([color, alpha], axis=2).clip(0, 1) * 255).astype(np.uint8)


def resample(cutout: Premultiplied, placement: Placement, area: Rect) -> Premultiplied:
    """The pixels of ``area`` (target pixels) with the placed HxWx4 cut-out on nothing, float32.

    Shrinking averages over each target pixel's footprint (an n x n grid of samples no farther apart than source pixels),
    enlarging interpolates bicubically; the raster's own border is cut by its exact coverage.
    """
    import cv2

    height, width = cutout.shape[:2]
    factor = max(1, math.ceil(1 / placement.scale - 1e-6))
    matrix = placement.matrix(width, height)
    matrix[:, 2] -= (area.left, area.top)
    matrix *= factor  # pixels of the finer grid
    to_cv = matrix.copy()  # OpenCV's pixel centres are integers
    to_cv[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    fine = _warp(cutout, to_cv, area.width * factor, area.height * factor)
    if factor > 1:
        fine = cv2.resize(fine, (area.width, area.height), interpolation=cv2.INTER_AREA)
    fine *= coverage(placement, width, height, area)[..., None]
    alpha = fine[..., 3:].clip(0, 1)  # bicubic weights overshoot
    return np.concatenate([fine[..., :3].clip(0, alpha), alpha], axis=2)


def _warp(cutout: Premultiplied, matrix: NDArray[np.float64], width: int, height: int) -> Premultiplied:
    import cv2

    flags = cv2.INTER_CUBIC
    warped = cv2.warpAffine(cutout, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, dtype=np.float32)


def coverage(placement: Placement, width: int, height: int, area: Rect) -> NDArray[np.float32]:
    """How much of each target pixel the placed W x H raster covers, in [0, 1]; exact for upright rasters."""
    angle = math.radians(placement.rotation)
    x = np.arange(area.width, dtype=np.float32) + (area.left + 0.5 - placement.center.x)
    y = (np.arange(area.height, dtype=np.float32) + (area.top + 0.5 - placement.center.y))[:, None]
    along = x * math.cos(angle) + y * math.sin(angle)
    across = y * math.cos(angle) - x * math.sin(angle)
    return _overlap(along, placement.scale * width / 2) * _overlap(across, placement.scale * height / 2)


def _overlap(distance: NDArray[np.float32], half: float) -> NDArray[np.float32]:
    """Length of a unit pixel around ``distance`` that lies within +-half."""
    return np.asarray((np.minimum(distance + 0.5, half) - np.maximum(distance - 0.5, -half)).clip(0, 1), np.float32)


def render(cutout: RGBA, placement: Placement, within: Rect | None = None) -> tuple[RGBA, Rect] | None:
    """The placed cut-out as a straight-alpha raster and where its pixels lie; None where nothing is left of it.

    ``within`` clips (a screen, a canvas), so that a large scale costs no more than what is seen.
    """
    area: Rect | None = placement.bounds(cutout.shape[1], cutout.shape[0])
    if within is not None and area is not None:
        area = area.intersection(within)
    if area is None:
        return None
    return straight(resample(premultiplied(cutout), placement, area)), area


def compose(below: NDArray[np.uint8], over: Premultiplied) -> NDArray[np.uint8]:
    """uint8 HxWx3 under premultiplied HxWx4 (source-over, in the display's own values as editors do)."""
    blended = over[..., :3] + (1 - over[..., 3:]) * (below.astype(np.float32) / 255)
    return np.rint(blended.clip(0, 1) * 255).astype(np.uint8)
