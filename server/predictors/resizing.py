"""Bilinear resizing as scikit-image's ``resize`` (order 1), which the official test scripts call, without needing it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def resize_bilinear(image: Floats, height: int, width: int) -> Floats:
    """float32 HxW or HxWxC -> (height, width): half-pixel centres, mirrored borders, a Gaussian before shrinking.

    Equal input values give exactly that value, so a constant region of a class map keeps its class.
    """
    smooth = _antialiased(image, image.shape[0] / height, image.shape[1] / width)
    rows = _interpolated(smooth, height, axis=0)
    return _interpolated(rows, width, axis=1)


def _antialiased(image: Floats, down_y: float, down_x: float) -> Floats:
    if down_y <= 1 and down_x <= 1:
        return image
    return cv2.sepFilter2D(image, -1, _gaussian(down_x), _gaussian(down_y), borderType=cv2.BORDER_REFLECT_101)


def _gaussian(factor: float) -> Floats:
    """The kernel of sigma (factor - 1) / 2, cut at four sigma."""
    sigma = max(0.0, (factor - 1) / 2)
    radius = int(4 * sigma + 0.5)
    if radius == 0:
        return np.ones(1, np.float32)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return (kernel / kernel.sum()).astype(np.float32)


def _interpolated(image: Floats, length: int, axis: int) -> Floats:
    old = image.shape[axis]
    if old == length:
        return image
    last = max(old - 1, 0)
    position = np.abs((np.arange(length) + 0.5) * (old / length) - 0.5)
    position = np.where(position > last, np.maximum(2 * last - position, 0), position)
    lower = np.minimum(position.astype(np.int64), last)
    upper = np.minimum(lower + 1, last)
    shape = [1] * image.ndim
    shape[axis] = length
    weight = (position - lower).astype(np.float32).reshape(shape)
    start = image.take(lower, axis)
    return start + weight * (image.take(upper, axis) - start)
