"""A photo-like cut-out with a soft edge, and an independent measurement of where it is on the screen."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from desktop_agent.geometry import Placement, Point


def coffee(width: int = 300) -> NDArray[np.uint8]:
    """scikit-image's cup under an elliptical alpha that fades over 15 % of the radius, uint8 HxWx4."""
    import cv2
    from skimage import data

    cup = data.coffee()[40:380, 130:500]
    cup = cv2.resize(cup, (width, round(width * 340 / 370)), interpolation=cv2.INTER_AREA)
    height = cup.shape[0]
    y, x = np.mgrid[:height, :width] + 0.5
    radius = np.hypot((x - width / 2) / (width / 2), (y - height / 2) / (height / 2))
    alpha = np.clip((1 - radius) / 0.15, 0, 1) * 255
    return np.dstack([cup, alpha.astype(np.uint8)])


def measured(
    cutout: NDArray[np.uint8], before: NDArray[np.uint8], after: NDArray[np.uint8], near: Placement
) -> tuple[Placement, float]:
    """Where the cut-out is in ``after`` by maximising the correlation of enhanced alignment (OpenCV's ECC), and the mean
    error in grey levels over its soft rim against alpha blending onto ``before`` there: it shows whether alpha survived."""
    import cv2

    height, width = cutout.shape[:2]
    area = near.bounds(width, height)
    corner = np.array([area.left, area.top])
    seen = after[area.top : area.bottom, area.left : area.right]
    matrix = near.matrix(width, height)
    matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5 - corner
    inside = cv2.erode((cutout[..., 3] == 255).astype(np.uint8), np.ones((5, 5), np.uint8))
    _, inverse = cv2.findTransformECC(
        cv2.cvtColor(seen, cv2.COLOR_RGB2GRAY), cv2.cvtColor(cutout[..., :3], cv2.COLOR_RGB2GRAY),
        cv2.invertAffineTransform(matrix).astype(np.float32), cv2.MOTION_AFFINE,
        (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-7), inside, 3,
    )  # fmt: skip
    warp = cv2.invertAffineTransform(inverse)
    warp[:, 2] += corner
    linear = warp[:, :2].astype(float)
    center = linear @ (width / 2 - 0.5, height / 2 - 0.5) + warp[:, 2] + 0.5
    scale = math.sqrt(abs(np.linalg.det(linear)))
    rotation = math.degrees(math.atan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1]))
    placement = Placement(Point(float(center[0]), float(center[1])), scale, rotation)
    return placement, _rim_error(cutout, before, after, warp)


def _rim_error(
    cutout: NDArray[np.uint8], before: NDArray[np.uint8], after: NDArray[np.uint8], warp: NDArray[np.float32]
) -> float:
    import cv2

    size = (after.shape[1], after.shape[0])
    alpha = cv2.warpAffine(cutout[..., 3].astype(np.float32) / 255, warp, size)[..., None]
    color = cv2.warpAffine(cutout[..., :3].astype(np.float32), warp, size, borderMode=cv2.BORDER_REPLICATE)
    blended = alpha * color + (1 - alpha) * before
    rim = (alpha[..., 0] > 0.2) & (alpha[..., 0] < 0.8)
    return float(np.abs(after.astype(np.float32) - blended)[rim].mean())
