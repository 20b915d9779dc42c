"""Metrics of alpha mattes over the whole picture. Both mattes are float HxW in [0, 1].

SAD, Grad and Conn are in thousands, as the papers print them (Rhemann et al., CVPR 2009; Xu et al., CVPR 2017).
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from server.evaluation.arrays import Soft, check

_SIGMA = 1.4
_CONNECTIVITY_STEPS = 10
_CONNECTIVITY_SLACK = 0.15


def sad(alpha: Soft, truth: Soft) -> float:
    """Sum of absolute differences / 1000."""
    check(alpha, truth)
    return float(np.abs(_difference(alpha, truth)).sum() / 1000)


def mse(alpha: Soft, truth: Soft) -> float:
    """Mean squared error."""
    check(alpha, truth)
    return float((_difference(alpha, truth) ** 2).mean())


def mad(alpha: Soft, truth: Soft) -> float:
    """Mean absolute difference."""
    check(alpha, truth)
    return float(np.abs(_difference(alpha, truth)).mean())


def gradient_error(alpha: Soft, truth: Soft) -> float:
    """Sum of squared differences of the Gaussian gradient magnitudes (sigma 1.4) / 1000."""
    check(alpha, truth)
    return float(((_gradient(alpha) - _gradient(truth)) ** 2).sum() / 1000)


def connectivity_error(alpha: Soft, truth: Soft) -> float:
    """Sum of differences of the degrees of connectedness / 1000.

    A pixel is connected up to the threshold at which it leaves the largest 4-connected region that both mattes share; what it
    lies above that by 0.15 or more lowers its degree. Thresholds in steps of 0.1.
    """
    check(alpha, truth)
    connected = _connected_up_to(alpha, truth)
    return float(np.abs(_degree(alpha, connected) - _degree(truth, connected)).sum() / 1000)


def _difference(alpha: Soft, truth: Soft) -> NDArray[np.float64]:
    return alpha.astype(np.float64) - truth


@lru_cache(maxsize=1)
def _gradient_kernel() -> NDArray[np.float64]:
    """Derivative of a Gaussian along x, of unit energy, cut where the Gaussian falls below 0.01."""
    half = int(np.ceil(_SIGMA * np.sqrt(-2 * np.log(np.sqrt(2 * np.pi) * _SIGMA * 1e-2))))
    offsets = np.arange(-half, half + 1)
    gaussian = np.exp(-(offsets**2) / (2 * _SIGMA**2)) / (_SIGMA * np.sqrt(2 * np.pi))
    kernel = np.outer(gaussian, -offsets * gaussian / _SIGMA**2)
    return np.asarray(kernel / np.sqrt((kernel**2).sum()))


def _gradient(alpha: Soft) -> NDArray[np.float64]:
    image, kernel = alpha.astype(np.float64), _gradient_kernel()
    x, y = (cv2.filter2D(image, -1, k, borderType=cv2.BORDER_REPLICATE) for k in (kernel, kernel.T))
    return np.hypot(x, y)


def _connected_up_to(alpha: Soft, truth: Soft) -> NDArray[np.float64]:
    level = np.full(alpha.shape, -1.0)
    lower = np.minimum(alpha, truth)
    for step in range(1, _CONNECTIVITY_STEPS + 1):
        both = (lower >= step / _CONNECTIVITY_STEPS).astype(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(both, connectivity=4)
        largest = labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax() if count > 1 else np.zeros(alpha.shape, bool)
        level[(level == -1) & ~largest] = (step - 1) / _CONNECTIVITY_STEPS
    level[level == -1] = 1
    return level


def _degree(alpha: Soft, connected: NDArray[np.float64]) -> NDArray[np.float64]:
    above = alpha.astype(np.float64) - connected
    return np.where(above >= _CONNECTIVITY_SLACK, 1 - above, 1.0)
