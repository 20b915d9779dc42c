"""``--refine``: the boundary at the photo's resolution, by MeticulousNet's H where it is installed, else without weights."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from server.companions import REFINERS, companion, installed
from server.edges import EPSILON, GAIN, enlarged, sharpened
from server.looking import shrunk
from server.segmenter import RGB, Mask
from server.selection import Window

FINE_SIDE = 1024
"""Long side in px at which edges are found without weights."""
RADIUS = 6


def refined(image: RGB, small: RGB, mask: Mask, window: Window) -> tuple[str, NDArray[np.uint8]]:
    """What ran, and the alpha of ``window``; parameters as ``server.edges.enlarged``."""
    name = installed(REFINERS)
    if name is not None:
        crop = np.ascontiguousarray(image[window.slices])
        coarse = enlarged(small, mask, image, window) * np.float32(1 / 255)
        return name, np.rint(companion(name).refine(crop, coarse) * 255).astype(np.uint8)
    fine = shrunk(image, FINE_SIDE)
    if fine.shape[0] <= small.shape[0]:
        return "guided filter", enlarged(small, mask, image, window)
    everything = Window(0, 0, fine.shape[1], fine.shape[0])
    middle = enlarged(small, mask, fine, everything) * np.float32(1 / 255)
    middle = sharpened(cv2.ximgproc.guidedFilter(fine, middle, RADIUS, EPSILON * 255**2), GAIN)
    return "guided filter", enlarged(fine, middle, image, window, finest=max(image.shape))
