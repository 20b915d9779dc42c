"""``--glass``: what is seen through glass stays behind; the glass keeps its own opacity and tint.

A glass model says where glass is. Inside it a pixel is the background, weakened, plus what the glass adds (tint, reflections,
highlights): ``I = (1 - o) B + o T``. The background is continued from around the object; of the many pairs (o, T) that explain the
pixel the most transparent one is taken, so that on the old background the cut-out looks as the photo did.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from server.companions import GLAZIERS, companion, installed, require
from server.looking import View
from server.segmenter import RGB, Mask
from server.selection import OBJECT_THRESHOLD, select_object

LEAST_OPACITY = 0.12
"""Clear glass without any reflection would vanish from the document."""
TOUCHING = 5
"""Pixels of the small picture within which glass belongs to the object beside it."""

Array = NDArray[np.float32]


def glass_of(view: View, wanted: str) -> tuple[str, Mask] | None:
    """The installed glass model's name and its map of the glass that belongs to the object; None where there is none.

    ``wanted``: ``auto`` or ``on``. Where the first model saw no object, all glass counts. Raises ``ModelUnavailable``.
    """
    name = require(GLAZIERS, "--glass on") if wanted == "on" else installed(GLAZIERS)
    if name is None:
        return None
    seen: Mask = companion(name).predict(view.picture)
    region = select_object(seen, None)
    if region is None:
        return None
    if view.region is None:
        return name, np.where(region, seen, np.float32(0))
    _, labels = cv2.connectedComponents((seen > OBJECT_THRESHOLD).astype(np.uint8))
    near = cv2.dilate((view.mask > OBJECT_THRESHOLD).astype(np.uint8), np.ones((TOUCHING, TOUCHING), np.uint8))
    kept = np.setdiff1d(np.unique(labels[near > 0]), [0])
    if not len(kept):
        return None
    core = np.isin(labels, kept).astype(np.uint8)
    return name, np.where(cv2.dilate(core, np.ones((3, 3), np.uint8)) > 0, seen, np.float32(0))


def seen_through(colours: RGB, alpha: NDArray[np.uint8], glass: Mask, behind: Array) -> tuple[RGB, NDArray[np.uint8]]:
    """The cut-out's colours and alpha with its glass made transparent.

    ``colours`` uint8 HxWx3, ``alpha`` uint8 HxW of object and glass together, ``glass`` float32 HxW in [0, 1], ``behind`` the
    background's colours in 0..255, float32 HxWx3.
    """
    photo = colours.astype(np.float32)
    darker = (behind - photo) / np.maximum(behind, 1)
    brighter = (photo - behind) / np.maximum(255 - behind, 1)
    opacity = np.clip(np.maximum(darker, brighter).max(axis=2), LEAST_OPACITY, 1)
    tint = np.clip((photo - (1 - opacity[..., None]) * behind) / opacity[..., None], 0, 255)
    share = glass[..., None]
    mixed = np.rint(share * tint + (1 - share) * photo).astype(np.uint8)
    kept = alpha * (1 - glass * (1 - opacity))
    return mixed, np.rint(kept).astype(np.uint8)


def continued_background(picture: RGB, mask: Mask) -> Array:
    """The picture with the object replaced by what surrounds it, float32 HxWx3 in 0..255: pull and push over a pyramid."""
    weight = (cv2.dilate(mask, np.ones((7, 7), np.uint8)) < 0.05).astype(np.float32)
    return _filled(picture.astype(np.float32) * weight[..., None], weight)


def _filled(weighted: Array, weight: Array) -> Array:
    """``weighted`` colours over ``weight``; where that is 0, those of the next coarser level."""
    height, width = weight.shape
    known = weighted / np.maximum(weight, 1e-6)[..., None]
    if min(height, width) <= 1 or weight.min() >= 1:
        return known
    size = (width + 1) // 2, (height + 1) // 2
    coarse = _filled(
        cv2.resize(weighted, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], 3),
        cv2.resize(weight, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0]),
    )
    above = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    trust = np.minimum(weight, 1)[..., None]
    return np.asarray(trust * known + (1 - trust) * above, np.float32)
