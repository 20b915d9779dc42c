"""The metrics of salient-object benchmarks that count pixels: MAE, F over all thresholds, weighted F.

Predictions are float HxW in [0, 1], truths bool HxW.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from server.evaluation.arrays import EPSILON, Binary, Soft, check

BETA_SQUARED = 0.3
"""F's weight of recall against precision in saliency papers (Achanta et al., CVPR 2009)."""
_WINDOW, _SIGMA = 7, 5.0


def mae(prediction: Soft, truth: Binary) -> float:
    """Mean absolute error (Perazzi et al., CVPR 2012)."""
    check(prediction, truth)
    return float(np.abs(prediction.astype(np.float64) - truth).mean())


def threshold_counts(prediction: Soft, truth: Binary) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(256,) true and false positives at the thresholds 255, 254 ... 0 of the map in 8 bits."""
    check(prediction, truth)
    grey = (prediction.astype(np.float64) * 255).astype(np.uint8)
    inside, outside = (np.bincount(grey[region], minlength=256)[::-1].cumsum() for region in (truth, ~truth))
    return inside, outside


def f_curve(prediction: Soft, truth: Binary) -> NDArray[np.float64]:
    """(256,) F at the thresholds 255 ... 0. A dataset's max F is the maximum of its mean curve. All 0 for an empty truth."""
    hits, false_alarms = threshold_counts(prediction, truth)
    precision = hits / np.maximum(hits + false_alarms, 1)
    recall = hits / max(int(np.count_nonzero(truth)), 1)
    numerator = (1 + BETA_SQUARED) * precision * recall
    return np.asarray(numerator / np.where(numerator == 0, 1, BETA_SQUARED * precision + recall))


def weighted_f(prediction: Soft, truth: Binary) -> float:
    """Weighted F with beta 1 (Margolin et al., CVPR 2014): errors count by their place. 0 for an empty truth."""
    check(prediction, truth)
    if not truth.any():
        return 0.0
    error = np.abs(prediction.astype(np.float64) - truth)
    distance = cv2.distanceTransform((~truth).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Pixel dependency (sec. 4.1): an error inside is excused by correct neighbours. Outside pixels take the error of
    # the nearest inside one, which matters only as far as the window reaches.
    extended = _extended(error, truth, distance)
    spread = cv2.filter2D(extended, -1, _gaussian(), borderType=cv2.BORDER_CONSTANT)
    effective = np.where(truth & (spread < error), spread, error)
    # Pixel importance (sec. 4.2): false alarms weigh 1 beside the object, up to 2 far from it.
    weighted = effective * np.where(truth, 1, 2 - np.exp(np.log(0.5) / 5 * distance.astype(np.float64)))
    area = np.count_nonzero(truth)
    missed, false_alarms = weighted[truth].sum(), weighted[~truth].sum()
    recall = 1 - missed / area
    precision = (area - missed) / (area - missed + false_alarms + EPSILON)
    return float(2 * recall * precision / (recall + precision + EPSILON))


@lru_cache(maxsize=1)
def _gaussian() -> NDArray[np.float64]:
    profile = np.exp(-((np.arange(_WINDOW) - _WINDOW // 2) ** 2) / (2 * _SIGMA**2))
    kernel = np.outer(profile, profile)
    return np.asarray(kernel / kernel.sum())


@lru_cache(maxsize=1)
def _offsets() -> list[tuple[int, int]]:
    """Steps to the pixels that a window may see past the object's edge, nearest first; ties as scipy's transform breaks them."""
    reach = _WINDOW // 2
    farthest = 2 * reach**2
    steps = range(-reach - 2, reach + 3)
    offsets = [(dy, dx) for dy in steps for dx in steps if 0 < dy * dy + dx * dx <= farthest]
    return sorted(offsets, key=lambda offset: (offset[0] ** 2 + offset[1] ** 2, offset[1], offset[0]))


def _extended(error: NDArray[np.float64], truth: Binary, distance: NDArray[np.float32]) -> NDArray[np.float64]:
    """The error map with, outside, the error of the nearest inside pixel where that is within the window's reach."""
    margin = _WINDOW // 2 + 2
    inside, padded = np.pad(truth, margin), np.pad(error, margin)
    result = error.copy()
    ys, xs = np.nonzero(~truth & (distance <= margin))
    for dy, dx in _offsets():
        near_y, near_x = ys + margin + dy, xs + margin + dx
        reached = inside[near_y, near_x]
        result[ys[reached], xs[reached]] = padded[near_y[reached], near_x[reached]]
        ys, xs = ys[~reached], xs[~reached]
    return result
