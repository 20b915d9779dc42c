"""Pairs of a soft prediction and a binary truth that look like what a model and a benchmark give."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def pair(seed: int, height: int = 90, width: int = 120) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """A blob, and a blurred, noisy, partly wrong 8-bit map of it that spans 0..1."""
    rng = np.random.default_rng(seed)
    truth = cv2.GaussianBlur(rng.random((height, width)), (0, 0), 9 + 3 * (seed % 3))
    truth = truth > np.quantile(truth, 0.4 + 0.1 * (seed % 5))
    shifted = np.roll(truth, (seed % 5 - 2, 2 - seed % 4), (0, 1)).astype(np.float64)
    soft = cv2.GaussianBlur(shifted, (0, 0), 1 + seed % 4) + 0.15 * rng.standard_normal((height, width))
    soft = np.round(np.clip(soft, 0, 1) * 255)
    soft.flat[:2] = 0, 255
    return soft / 255, truth
