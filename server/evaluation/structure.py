"""S-measure and E-measure: how alike two maps are as structures. Predictions float HxW in [0, 1], truths bool HxW."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from server.evaluation.arrays import EPSILON, Binary, Soft, check
from server.evaluation.saliency import threshold_counts


def s_measure(prediction: Soft, truth: Binary) -> float:
    """Structure measure, alpha 0.5: the mean of an object-aware and a region-aware likeness (Fan et al., ICCV 2017)."""
    check(prediction, truth)
    map_ = prediction.astype(np.float64)
    share = float(truth.mean())
    if share == 0:
        return float(1 - map_.mean())
    if share == 1:
        return float(map_.mean())
    objects = share * _object_score(map_[truth]) + (1 - share) * _object_score(1 - map_[~truth])
    return float(max(0.0, 0.5 * objects + 0.5 * _region_score(map_, truth)))


def _object_score(values: NDArray[np.float64]) -> float:
    """Eq. 4: high when the values are high and even."""
    mean = float(values.mean())
    spread = float(values.std(ddof=1)) if values.size > 1 else 0.0
    return 2 * mean / (mean**2 + 1 + spread + EPSILON)


def _region_score(prediction: NDArray[np.float64], truth: Binary) -> float:
    """Eq. 8: SSIM of the four blocks around the truth's centroid, weighted by area."""
    height, width = truth.shape
    y, x = (int(round_) + 1 for round_ in np.argwhere(truth).mean(axis=0).round())  # the +1 of MATLAB's 1:X
    score = 0.0
    for rows in (slice(0, y), slice(y, height)):
        for columns in (slice(0, x), slice(x, width)):
            block = truth[rows, columns]
            if block.size:
                score += block.size / truth.size * _ssim(prediction[rows, columns], block.astype(np.float64))
    return score


def _ssim(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Eq. 5 without its constants; 1 for two flat zero blocks."""
    mean_a, mean_b = float(a.mean()), float(b.mean())
    scale = a.size - 1 + EPSILON
    variance_a, variance_b = float(((a - mean_a) ** 2).sum()) / scale, float(((b - mean_b) ** 2).sum()) / scale
    covariance = float(((a - mean_a) * (b - mean_b)).sum()) / scale
    numerator = 4 * mean_a * mean_b * covariance
    denominator = (mean_a**2 + mean_b**2) * (variance_a + variance_b)
    if numerator != 0:
        return numerator / (denominator + EPSILON)
    return 1.0 if denominator == 0 else 0.0


def e_curve(prediction: Soft, truth: Binary) -> NDArray[np.float64]:
    """(256,) enhanced-alignment measure at the thresholds 255 ... 0 (Fan et al., IJCAI 2018). Mean E is its mean.

    As in the authors' code the sum is divided by the pixels less one, so a perfect map scores a hair above 1.
    """
    hits, false_alarms = threshold_counts(prediction, truth)
    size, inside = truth.size, np.count_nonzero(truth)
    positives = hits + false_alarms
    if inside == 0:
        aligned = (size - positives).astype(np.float64)
    elif inside == size:
        aligned = positives.astype(np.float64)
    else:
        mean_prediction, mean_truth = positives / size, inside / size
        misses = inside - hits
        aligned = np.zeros(256)
        for count, value, truth_value in (
            (hits, 1, 1),
            (false_alarms, 1, 0),
            (misses, 0, 1),
            (size - positives - misses, 0, 0),
        ):
            a, b = value - mean_prediction, truth_value - mean_truth
            alignment = 2 * a * b / (a**2 + b**2 + EPSILON)
            aligned += count * (alignment + 1) ** 2 / 4
    return np.asarray(aligned / (size - 1 + EPSILON))
