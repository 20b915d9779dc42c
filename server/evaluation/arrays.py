"""What every metric takes: a soft prediction and a truth of the same size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Soft = NDArray[np.floating]
Binary = NDArray[np.bool_]
EPSILON = float(np.spacing(1))  # as the MATLAB toolboxes use it


def check(prediction: NDArray[np.generic], truth: NDArray[np.generic]) -> None:
    """Raises ``ValueError`` unless both are HxW of the same, non-empty size."""
    if prediction.ndim != 2 or prediction.shape != truth.shape or not prediction.size:
        raise ValueError(f"prediction {prediction.shape} and truth {truth.shape} are not two maps of one size")


def stretched(prediction: Soft) -> Soft:
    """Min-max normalised to [0, 1], as the saliency toolboxes do before any metric; a flat map stays as it is."""
    low, high = float(prediction.min()), float(prediction.max())
    return prediction if low == high else (prediction - low) / (high - low)
