"""The preview of a cut-out where it would land: translucent where the screen can blend, else its outline."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from desktop_agent.geometry import Placement, Rect
from desktop_agent.overlay.layers import RGBA, Patch

PREVIEW_SIDE = 512
OPACITY = 0.55
LINE = 2
"""Pixels of each of the two lines, dark inside light, of which one is seen on any background."""
LIGHT, DARK = (255, 255, 255), (20, 24, 32)


def preview(cutout: RGBA) -> RGBA:
    """A small copy, at most ``PREVIEW_SIDE`` long, with a transparent border, so that its edge is an outline too."""
    height, width = cutout.shape[:2]
    factor = min(1.0, PREVIEW_SIDE / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    alpha = cutout[..., 3:].astype(np.float32) / 255
    values = np.concatenate([cutout[..., :3] * alpha, 255 * alpha], axis=2).astype(np.float32)
    small = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
    small[..., :3] /= np.maximum(small[..., 3:] / 255, 1 / 255)
    return np.asarray(np.rint(small.clip(0, 255)), dtype=np.uint8)


def ghost(
    cutout: RGBA, full_size: tuple[int, int], placement: Placement, monitors: Sequence[Rect], *, translucent: bool
) -> list[Patch]:
    """The patches, one a monitor that it touches.

    ``cutout`` is a preview of the cut-out, whose size is ``full_size`` (width, height) and which lands at ``placement`` (virtual
    desktop pixels).
    """
    height, width = cutout.shape[:2]
    scale = placement.scale * max(full_size) / max(width, height)
    here = Placement(placement.center, scale, placement.rotation)
    margin = 2 * LINE + 1
    bounds = here.bounds(width, height)
    wanted = Rect(bounds.left - margin, bounds.top - margin, bounds.width + 2 * margin, bounds.height + 2 * margin)
    patches = []
    for monitor in monitors:
        area = wanted.intersection(monitor)
        if area is not None:
            drawn = _warped(cutout, here, area)
            patches.append(Patch(area.left, area.top, _faded(drawn) if translucent else _outlined(drawn)))
    return patches


def _warped(cutout: RGBA, placement: Placement, area: Rect) -> RGBA:
    height, width = cutout.shape[:2]
    matrix = placement.matrix(width, height)
    matrix[:, 2] -= (area.left, area.top)
    matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5  # OpenCV's pixel centres are integers
    size = (area.width, area.height)
    return np.asarray(cv2.warpAffine(cutout, matrix, size, flags=cv2.INTER_LINEAR, borderValue=0), dtype=np.uint8)


def _faded(drawn: RGBA) -> RGBA:
    faded = drawn.copy()
    faded[..., 3] = np.rint(drawn[..., 3] * OPACITY)
    return faded


def _outlined(drawn: RGBA) -> RGBA:
    solid = (drawn[..., 3] >= 128).astype(np.uint8)
    inner, outer = (_grown(solid, LINE), _grown(solid, 2 * LINE))
    picture = np.zeros_like(drawn)
    picture[outer > inner] = (*LIGHT, 255)
    picture[inner > solid] = (*DARK, 255)
    return picture


def _grown(mask: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    side = 2 * by + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return np.asarray(cv2.dilate(mask, disk), dtype=np.uint8)


def moved(before: Placement, now: Placement, reach: float) -> float:
    """How far the edge of something ``reach`` pixels in radius has moved, at most."""
    turned = abs(math.radians(now.rotation - before.rotation)) % (2 * math.pi)
    turned = min(turned, 2 * math.pi - turned)
    grown = abs(now.scale / before.scale - 1)
    return before.center.distance(now.center) + reach * (turned + grown)
