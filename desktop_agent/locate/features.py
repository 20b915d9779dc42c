"""Key points and descriptors of a picture: SIFT (Lowe 2004) with the root transform of Arandjelovic and Zisserman (2012)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

RGB = NDArray[np.uint8]
Grey = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Detail:
    """How finely a picture is searched: its long side in pixels, the most key points kept, SIFT's contrast threshold."""

    long_side: int
    cap: int
    contrast: float = 0.04
    upright: bool = False


@dataclass(frozen=True, eq=False)
class Features:
    """``xy`` Nx2 in the picture's own pixels, ``descriptors`` Nx128 of unit length, ``size`` N in the picture's pixels, ``angle`` N
    in degrees; ``scale`` is picture pixels per pixel of the resized picture that was searched."""

    xy: Floats
    descriptors: Floats
    size: Floats
    angle: Floats
    scale: float

    def __len__(self) -> int:
        return len(self.xy)


def to_grey(image: NDArray[np.uint8]) -> Grey:
    """uint8 HxWx3 RGB -> HxW."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def shrink(grey: Grey, long_side: int) -> Grey:
    """At most ``long_side`` pixels long, by area averaging; smaller pictures stay as they are."""
    height, width = grey.shape
    factor = long_side / max(width, height)
    if factor >= 1:
        return grey
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def extract(grey: Grey, detail: Detail, clear: Grey | None = None) -> Features:
    """Search an HxW picture, where ``clear`` (HxW) is not 0 if it is given; N may be 0."""
    small = shrink(grey, detail.long_side)
    ratio = np.array([grey.shape[1] / small.shape[1], grey.shape[0] / small.shape[0]], np.float32)
    scale = float(ratio.mean())
    if min(small.shape) < 12:
        return _empty(scale)
    mask = None if clear is None else cv2.resize(clear, small.shape[::-1], interpolation=cv2.INTER_NEAREST)
    sift = cv2.SIFT.create(nfeatures=detail.cap, contrastThreshold=detail.contrast)
    keypoints, descriptors = (
        sift.compute(small, _turned_upright(sift.detect(small, mask)))
        if detail.upright
        else sift.detectAndCompute(small, mask)
    )
    if not keypoints or descriptors is None:
        return _empty(scale)
    keypoints, descriptors = keypoints[: detail.cap], descriptors[: detail.cap]
    xy = np.array([k.pt for k in keypoints], np.float32)
    return Features(
        xy=(xy + 0.5) * ratio,
        descriptors=_root(descriptors),
        size=np.array([k.size for k in keypoints], np.float32) * scale,
        angle=np.array([k.angle for k in keypoints], np.float32),
        scale=scale,
    )


def _turned_upright(keypoints: Sequence[cv2.KeyPoint]) -> list[cv2.KeyPoint]:
    """One key point a place and octave, with angle 0."""
    seen: dict[tuple[float, float, float], cv2.KeyPoint] = {}
    for keypoint in keypoints:
        keypoint.angle = 0.0
        seen.setdefault((*keypoint.pt, keypoint.size), keypoint)
    return list(seen.values())


def _root(descriptors: Floats) -> Floats:
    normalised = descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6)
    return np.asarray(np.sqrt(normalised), dtype=np.float32)


def _empty(scale: float) -> Features:
    nothing = np.zeros(0, np.float32)
    return Features(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32), nothing, nothing, scale)
