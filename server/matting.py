"""``--matting``: the opacity of hair, fur and the like, by GFM where its weights are installed, else in closed form.

Closed-form matting: Levin, Lischinski, Weiss (PAMI 2008), solved by conjugate gradients whose product with the matting Laplacian
is a few box filters (He, Sun, Tang, CVPR 2010, section 3). Only pixels between sure object and sure background are unknowns.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from server.companions import MATTERS, companion, installed
from server.edges import LocalLinear, enlarged
from server.looking import shrunk
from server.segmenter import RGB, Mask
from server.selection import Window

SIDE = 768
"""Long side in px at which opacities are solved for; the photo's own resolution comes back with its edges."""
BAND = 0.022
"""Of the long side: pixels so near to the mask's edge are unknown."""
CORE = 0.5
"""Of the half thickness: what is thinner than the band keeps a sure core, or nothing would hold its opacity up."""
SURE = 0.95
RADIUS = 2
EPSILON = 1e-4
ANCHOR = 100.0
"""Weight of the sure pixels (lambda in the paper, equation 14)."""
PRIOR = 0.02
"""Weight of the mask itself in the band: it decides where the colours do not."""
STEPS = 60
TOLERANCE = 1e-3


def matte(image: RGB, small: RGB, mask: Mask, window: Window) -> tuple[str, NDArray[np.uint8]]:
    """What ran, and the alpha of ``window``; parameters as ``server.edges.enlarged``."""
    if max(mask.shape) > SIDE:
        small = shrunk(small, SIDE)
        mask = np.asarray(cv2.resize(mask, small.shape[1::-1], interpolation=cv2.INTER_AREA), np.float32)
    trimap = trimap_of(mask)
    name = installed(MATTERS)
    if name is None:
        return "closed-form", enlarged(small, closed_form(small, trimap, mask), image, window)
    crop = np.ascontiguousarray(image[window.slices])
    alpha = companion(name).predict(crop)
    sure = enlarged(small, (trimap == 1).astype(np.float32), image, window)
    possible = enlarged(small, (trimap > 0).astype(np.float32), image, window)
    return name, np.minimum(np.maximum(np.rint(alpha * 255).astype(np.uint8), sure), possible)


def trimap_of(mask: Mask) -> NDArray[np.float32]:
    """0 sure background, 1 sure object, 0.5 unknown: what the mask leaves open, and a band along its edge."""
    radius = max(1, round(BAND * max(mask.shape)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    inside = (mask > 0.5).astype(np.uint8)
    depth = cv2.distanceTransform(np.pad(inside, 1, mode="edge"), cv2.DIST_L2, 5)[1:-1, 1:-1]
    thickness = cv2.dilate(depth, disc)
    sure = (depth > np.minimum(radius, CORE * thickness)) & (mask > SURE)
    possible = (cv2.dilate(inside, disc, borderValue=0) > 0) | (mask > 1 - SURE)
    return np.where(sure, 1, np.where(possible, 0.5, 0)).astype(np.float32)


def closed_form(image: RGB, trimap: NDArray[np.float32], prior: Mask | None = None) -> Mask:
    """uint8 HxWx3 and a trimap (0, 0.5 unknown, 1; float32 HxW) -> alpha float32 HxW, exact where the trimap is sure.

    ``prior`` is what to think of unknown pixels whose colours decide nothing.
    """
    unknown = trimap == 0.5
    if not unknown.any():
        return trimap
    left, top, across, down = cv2.boundingRect(unknown.astype(np.uint8))
    pad = 2 * RADIUS + 1
    inside = np.s_[max(0, top - pad) : top + down + pad, max(0, left - pad) : left + across + pad]
    solved = _solve(image[inside], trimap[inside], unknown[inside], None if prior is None else prior[inside])
    alpha = trimap.copy()
    alpha[inside] = np.where(unknown[inside], solved, trimap[inside])
    return np.clip(alpha, 0, 1)


def _solve(image: RGB, trimap: NDArray[np.float32], unknown: NDArray[np.bool_], prior: Mask | None) -> Mask:
    """(L + D) alpha = D target by conjugate gradients with the diagonal as preconditioner."""
    model = LocalLinear(image * np.float32(1 / 255), RADIUS, EPSILON)
    weight = np.where(unknown, np.float32(0 if prior is None else PRIOR), np.float32(ANCHOR))
    target = trimap if prior is None else np.where(unknown, prior, trimap)
    alpha = target.astype(np.float32)
    window = (2 * RADIUS + 1) ** 2
    residual = weight * target - (model.laplacian(alpha) + weight * alpha)
    inverse_diagonal = 1 / (window * np.float32(0.5) + weight)
    direction = inverse_diagonal * residual
    energy = _dot(residual, direction)
    start = energy
    for _ in range(STEPS):
        if energy <= TOLERANCE**2 * max(start, 1e-12):
            break
        product = model.laplacian(direction) + weight * direction
        step = energy / max(_dot(direction, product), 1e-12)
        alpha += np.float32(step) * direction
        residual -= np.float32(step) * product
        conditioned = inverse_diagonal * residual
        following = _dot(residual, conditioned)
        direction = conditioned + np.float32(following / energy) * direction
        energy = following
    return alpha


def _dot(one: Mask, other: Mask) -> float:
    return float(np.vdot(one, other))
