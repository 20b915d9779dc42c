"""Post-processing in the manner of OBJECT CUT: an unsharp mask on the map, then morphology."""

from __future__ import annotations

import cv2
import numpy as np

from server.segmenter import Mask

SIGMA = 0.01
"""Of the long side: the blur that is subtracted."""
AMOUNT = 1.0
ELEMENT = 0.008
"""Of the long side: thinner bridges are cut, narrower gaps closed."""


def smoothed(mask: Mask) -> Mask:
    """float32 HxW in [0, 1] -> the same, its edge steeper, without threads, crumbs and cracks."""
    long_side = max(mask.shape)
    blurred = cv2.GaussianBlur(mask, (0, 0), max(1.0, SIGMA * long_side))
    steep = np.clip(mask + np.float32(AMOUNT) * (mask - blurred), 0, 1)
    side = max(3, round(ELEMENT * long_side)) | 1
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    opened = cv2.morphologyEx(steep, cv2.MORPH_OPEN, element)
    return np.asarray(cv2.morphologyEx(opened, cv2.MORPH_CLOSE, element), np.float32)
