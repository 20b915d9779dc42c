"""Truth masks spoilt as a coarse segmentation would be, for networks that refine one (CascadePSP, sec. 3.3)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

ROUNDS = 250
SPOT = 0.05
"""Largest spot's radius, of the mask's long side."""


def perturbed(mask: NDArray[np.float32], iou: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """HxW in [0, 1] -> 0 or 1 with about ``iou`` against it: round bites and bumps along its boundary.

    A mask that is empty or full has no boundary and is returned as it is.
    """
    truth = (mask > 0.5).astype(np.uint8)
    spoilt = truth.copy()
    largest = max(2, round(SPOT * max(mask.shape)))
    for _ in range(ROUNDS):
        if _iou(truth, spoilt) <= iou:
            break
        edge = np.argwhere(cv2.morphologyEx(spoilt, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0)
        if not len(edge):
            break
        y, x = edge[int(rng.integers(len(edge)))]
        before = spoilt.copy()
        radius = int(rng.integers(1, largest + 1))
        cv2.circle(spoilt, (int(x), int(y)), radius, int(rng.integers(2)), -1)
        if _iou(truth, spoilt) < iou - 0.03:  # too big a bite
            spoilt = before
    return spoilt.astype(np.float32)


def _iou(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 1.0
