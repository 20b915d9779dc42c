"""Metrics of hard masks: overlap, balanced error, and the quality of the boundary. Both masks are bool HxW."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from server.evaluation.arrays import Binary, check
from server.evaluation.saliency import BETA_SQUARED

BOUNDARY_SLACK = 3
_RADII = 5


def iou(prediction: Binary, truth: Binary) -> float:
    """Intersection over union; 1 for two empty masks."""
    check(prediction, truth)
    union = _count(prediction | truth)
    return _count(prediction & truth) / union if union else 1.0


def ber(prediction: Binary, truth: Binary) -> float:
    """Balanced error rate in [0, 1]: the mean of the shares of object and of background that are wrong.

    Glass papers print it times 100. A class that the truth lacks cannot be missed and counts as right.
    """
    check(prediction, truth)
    missed = _count(~prediction & truth) / max(_count(truth), 1)
    false_alarms = _count(prediction & ~truth) / max(_count(~truth), 1)
    return (missed + false_alarms) / 2


def _count(mask: Binary) -> int:
    return int(np.count_nonzero(mask))


def boundary(mask: Binary) -> Binary:
    """The mask's pixels that a 3x3 cross erodes: a line one pixel wide. The picture's edge is no boundary."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return np.asarray(mask & ~cv2.erode(mask.astype(np.uint8), cross).astype(bool))


def relaxed_boundary_f(prediction: Binary, truth: Binary) -> float:
    """F (beta^2 0.3) of the boundaries, right within 3 pixels (BASNet sec. 4.3; Ehrig and Euzenat, 2005).

    1 for two masks without boundary, 0 when only one has none.
    """
    check(prediction, truth)
    ours, theirs = boundary(prediction), boundary(truth)
    if not ours.any() or not theirs.any():
        return float(ours.any() == theirs.any())
    precision = float((_distance_to(theirs)[ours] <= BOUNDARY_SLACK).mean())
    recall = float((_distance_to(ours)[theirs] <= BOUNDARY_SLACK).mean())
    if precision + recall == 0:
        return 0.0
    return (1 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall)


def _distance_to(pixels: Binary) -> NDArray[np.float32]:
    distance = cv2.distanceTransform((~pixels).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance, np.float32)


def mean_boundary_accuracy(prediction: Binary, truth: Binary) -> float:
    """mBA: the share of right pixels in bands around the truth's boundary, over five widths up to (width + height) / 300.

    CascadePSP (Cheng et al., CVPR 2020, sec. 4.2), radii as its released code. Without a boundary the whole picture counts.
    """
    check(prediction, truth)
    height, width = truth.shape
    widest = (width + height) / 300
    accuracies = []
    for step in range(_RADII):
        radius = 1 + int((widest - 1) / _RADII * step)
        disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        band = cv2.morphologyEx(truth.astype(np.uint8), cv2.MORPH_GRADIENT, disk) > 0
        right = (prediction == truth)[band] if band.any() else prediction == truth
        accuracies.append(float(right.mean()))
    return sum(accuracies) / _RADII


def meticulosity_quality(prediction: Binary, truth: Binary) -> float:
    """MQ: mask coverage times boundary precision, IoU x mBA; 1 for a perfect mask.

    MeticulousNet (Yang et al., 2020) proposes a score of these two and released no code for it; the product is this project's
    reading, so compare it among models scored here, not with the paper's tables.
    """
    return iou(prediction, truth) * mean_boundary_accuracy(prediction, truth)
