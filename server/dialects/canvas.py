"""A cut-out on a canvas: region of interest, margins, scale, position, backgrounds, as remove.bg's options describe them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from server.cutout import Box, Cutout
from server.dialects.fields import RGBAColor
from server.errors import BadOption
from server.images import RGBA
from server.segmenter import RGB

LENGTH = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)(px|%)?")
MAX_MARGIN = 500
"""Pixels; also at most half the object's side."""


@dataclass(frozen=True, eq=False)
class Canvas:
    """``rgba`` (uint8 hxwx4) lies with its corner at (``left``, ``top``) of a ``width`` x ``height`` picture."""

    rgba: RGBA
    left: int
    top: int
    width: int
    height: int

    def pixels(self) -> RGBA:
        """uint8 HxWx4; what hangs over the edge is cut off."""
        whole = np.zeros((self.height, self.width, 4), np.uint8)
        height, width = self.rgba.shape[:2]
        left, top = max(0, self.left), max(0, self.top)
        right, bottom = min(self.width, self.left + width), min(self.height, self.top + height)
        if left < right and top < bottom:
            whole[top:bottom, left:right] = self.rgba[
                top - self.top : bottom - self.top, left - self.left : right - self.left
            ]
        return whole

    def cropped(self, margin: str) -> Canvas:
        """The canvas becomes the object and a margin round it."""
        height, width = self.rgba.shape[:2]
        top, right, bottom, left = parse_margin(margin, width, height)
        return replace(self, left=left, top=top, width=width + left + right, height=height + top + bottom)

    def scaled(self, share: float) -> Canvas:
        """The object as large as fits into that share of the canvas, in the middle."""
        height, width = self.rgba.shape[:2]
        factor = min(share * self.width / width, share * self.height / height)
        size = max(1, round(width * factor)), max(1, round(height * factor))
        return replace(self, rgba=_resized(self.rgba, size)).placed(0.5, 0.5)

    def placed(self, x: float, y: float) -> Canvas:
        """The object at that share (0 left or top, 1 right or bottom) of the free room."""
        height, width = self.rgba.shape[:2]
        return replace(self, left=round((self.width - width) * x), top=round((self.height - height) * y))


def on_canvas(cutout: Cutout) -> Canvas:
    """The cut-out where it was in the photo."""
    width, height = cutout.image_size
    return Canvas(cutout.rgba, cutout.box.left, cutout.box.top, width, height)


def over_color(rgba: RGBA, color: RGBAColor) -> RGBA:
    """Laid on a colour, which may be transparent itself: Porter and Duff's "over" on straight alpha."""
    return _over(rgba, np.broadcast_to(np.array(color, np.uint8), rgba.shape))


def over_picture(rgba: RGBA, picture: RGB) -> RGBA:
    """Laid on a picture that fills the canvas, its middle in the middle."""
    height, width = rgba.shape[:2]
    factor = max(width / picture.shape[1], height / picture.shape[0])
    size = max(width, math.ceil(picture.shape[1] * factor)), max(height, math.ceil(picture.shape[0] * factor))
    grown = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    behind = np.full((height, width, 4), 255, np.uint8)
    behind[..., :3] = grown[top : top + height, left : left + width]
    return _over(rgba, behind)


def within_megapixels(image: RGB, megapixels: float) -> RGB:
    """The picture with at most so many million pixels."""
    height, width = image.shape[:2]
    factor = math.sqrt(megapixels * 1e6 / (height * width))
    if factor >= 1:
        return image
    size = max(1, math.floor(width * factor)), max(1, math.floor(height * factor))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def parse_roi(text: str, width: int, height: int) -> Box:
    """'x1 y1 x2 y2', each in px or % -> whole pixels. Raises ``BadOption``."""
    parts = text.split()
    if len(parts) != 4:
        raise BadOption("roi has four parts, 'x1 y1 x2 y2', each in px or %.")
    x1, x2 = (_length("roi", part, width) for part in parts[0::2])
    y1, y2 = (_length("roi", part, height) for part in parts[1::2])
    box = Box(*(round(v) for v in (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))))
    if box.right > width or box.bottom > height or box.right <= box.left or box.bottom <= box.top:
        raise BadOption(f"roi is a rectangle inside the {width} x {height} picture.")
    return box


def in_roi(cutout: Cutout, roi: Box, image_size: tuple[int, int]) -> Cutout:
    """A cut-out of the region as one of the whole picture of ``image_size`` (width, height)."""
    box = cutout.box
    moved = Box(box.left + roi.left, box.top + roi.top, box.right + roi.left, box.bottom + roi.top)
    share = (roi.right - roi.left) * (roi.bottom - roi.top) / (image_size[0] * image_size[1])
    return replace(cutout, box=moved, image_size=image_size, coverage=cutout.coverage * share)


def parse_margin(text: str, width: int, height: int) -> tuple[int, int, int, int]:
    """One (all sides), two (vertical, horizontal) or four (top right bottom left) lengths -> pixels. Raises ``BadOption``."""
    parts = text.split()
    if len(parts) not in {1, 2, 4}:
        raise BadOption("crop_margin has one, two or four parts, each in px or %.")
    top, right, bottom, left = {1: parts * 4, 2: parts * 2, 4: parts}[len(parts)]
    return (
        _margin(top, height),
        _margin(right, width),
        _margin(bottom, height),
        _margin(left, width),
    )


def parse_scale(text: str) -> float | None:
    """'original' -> None; '10%' to '100%' -> a share. Raises ``BadOption``."""
    if text == "original":
        return None
    match = LENGTH.fullmatch(text)
    if match is None or match[2] == "px" or not 10 <= float(match[1]) <= 100:
        raise BadOption("scale is 'original' or from 10% to 100%.")
    return float(match[1]) / 100


def parse_position(text: str) -> tuple[float, float] | None:
    """'original' -> None; 'center', '20%' or '20% 80%' -> shares of the free room. Raises ``BadOption``."""
    if text == "original":
        return None
    if text == "center":
        return 0.5, 0.5
    matches = [LENGTH.fullmatch(part) for part in text.split()]
    shares = [float(m[1]) / 100 for m in matches if m is not None and m[2] != "px" and float(m[1]) <= 100]
    if len(shares) != len(matches) or len(shares) not in {1, 2}:
        raise BadOption("position is 'original', 'center', or one or two values from 0% to 100%.")
    return shares[0], shares[-1]


def _margin(text: str, side: int) -> int:
    return round(min(_length("crop_margin", text, side), MAX_MARGIN, side / 2))


def _length(name: str, text: str, whole: int) -> float:
    match = LENGTH.fullmatch(text)
    if match is None:
        raise BadOption(f"{name} is in px or %, like 30px or 10%, not '{text[:20]}'.")
    return float(match[1]) * (whole / 100 if match[2] == "%" else 1)


def _over(above: RGBA, below: RGBA) -> RGBA:
    alpha = above[..., 3:].astype(np.float32) / 255
    behind = below[..., 3:].astype(np.float32) / 255 * (1 - alpha)
    total = alpha + behind
    mixed = (above[..., :3] * alpha + below[..., :3] * behind) / np.maximum(total, 1e-6)
    return np.asarray(np.dstack([mixed, total * 255]) + 0.5, dtype=np.uint8)


def _resized(rgba: RGBA, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resampled with premultiplied alpha: no dark fringe from the black under transparent pixels."""
    premultiplied = rgba.astype(np.float32)
    premultiplied[..., :3] *= premultiplied[..., 3:] / 255
    shrinks = size[0] < rgba.shape[1]
    small = cv2.resize(premultiplied, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    small[..., :3] /= np.maximum(small[..., 3:] / 255, 1e-6)
    small[small[..., 3] < 0.5] = 0
    return np.asarray(np.clip(small + 0.5, 0, 255), dtype=np.uint8)
