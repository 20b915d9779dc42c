"""What happens to a photograph and its mask before the network sees them. OpenCV and numpy, uint8, no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from server.training.readers import Byte

TRIES = 6


@dataclass(frozen=True)
class Augment:
    """Ranges and chances.

    Crops have a part of the picture's ``area``, or with ``crops`` one of these sides in px of the packed picture, half of
    them centred on the mask's soft or edge pixels (GFM); they hold at least ``keep`` of the object. ``photometric`` scales
    brightness, contrast, colour and gamma changes (0: none).
    """

    crops: tuple[int, ...] = ()
    keep: float = 0.75
    area: tuple[float, float] = (0.4, 1.0)
    aspect: float = 1.25
    flip: bool = True
    rotate: float = 8.0
    rotate_chance: float = 0.3
    photometric: float = 1.0
    grey: float = 0.06
    blur: float = 0.15
    noise: float = 0.2
    jpeg: float = 0.25


def augment(block: Byte, size: int, settings: Augment, rng: np.random.Generator) -> Byte:
    """HxWxC block (RGB, mask, further maps) -> size x size x C: a random crop, stretched, and RGB changed like a camera."""
    matrix = _crop(block[..., 3], size, settings, rng)
    factor = math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))
    flags = cv2.INTER_AREA if factor < 0.5 else cv2.INTER_LINEAR
    warped = np.dstack(
        [
            cv2.warpAffine(
                np.ascontiguousarray(part), matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT_101
            )
            for part in np.split(block, [4], axis=2)
            if part.shape[2]
        ]
    )
    warped[..., :3] = _camera(np.ascontiguousarray(warped[..., :3]), settings, rng)
    return warped


def _crop(mask: Byte, size: int, settings: Augment, rng: np.random.Generator) -> NDArray[np.float64]:
    """2x3 matrix from the photograph to the crop; the whole photograph when no crop keeps enough of the object."""
    height, width = mask.shape
    total = float(mask.sum())
    box = (0.0, 0.0, float(width), float(height))
    for _ in range(TRIES):
        x, y, w, h = _square(mask, settings.crops, rng) if settings.crops else _part(width, height, settings, rng)
        inside = mask[int(y) : int(y + h), int(x) : int(x + w)].sum()
        if float(inside) >= settings.keep * total:
            box = (x, y, w, h)
            break
    x, y, w, h = box
    mirrored = settings.flip and rng.random() < 0.5
    angle = math.radians(rng.uniform(-1, 1) * settings.rotate) if rng.random() < settings.rotate_chance else 0.0
    cosine, sine = math.cos(angle), math.sin(angle)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    scale = np.diag([size / w * (-1 if mirrored else 1), size / h])
    linear = scale @ turn
    # Centres of pixels are at integers in OpenCV's warps.
    center_from = np.array([x + w / 2 - 0.5, y + h / 2 - 0.5])
    center_to = np.array([size / 2 - 0.5, size / 2 - 0.5])
    return np.column_stack([linear, center_to - linear @ center_from])


def _part(width: int, height: int, settings: Augment, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """x, y, w, h of a part of the picture, about as wide for its height as the picture."""
    side = math.sqrt(rng.uniform(*settings.area))
    stretch = math.exp(rng.uniform(-1, 1) * math.log(settings.aspect))
    w, h = min(1.0, side * stretch), min(1.0, side / stretch)
    return rng.uniform(0, 1 - w) * width, rng.uniform(0, 1 - h) * height, w * width, h * height


def _square(mask: Byte, sides: tuple[int, ...], rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A square crop; half of them have a transition pixel in the middle, as far as the picture's border allows."""
    height, width = mask.shape
    side = min(int(sides[int(rng.integers(len(sides)))]), height, width)
    x, y = rng.uniform(0, width - side), rng.uniform(0, height - side)
    if rng.random() < 0.5:
        edge = np.argwhere(cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0)
        if len(edge):
            row, column = edge[int(rng.integers(len(edge)))]
            x = float(np.clip(column - side / 2, 0, width - side))
            y = float(np.clip(row - side / 2, 0, height - side))
    return x, y, float(side), float(side)


def _camera(image: Byte, settings: Augment, rng: np.random.Generator) -> Byte:
    """Exposure, contrast, white balance, gamma, saturation; then grey, blur, noise and JPEG by chance."""
    amount = settings.photometric
    if amount and rng.random() < 0.8:
        gain = 1 + amount * rng.uniform(-0.3, 0.3) + amount * rng.uniform(-0.08, 0.08, 3)
        offset = amount * rng.uniform(-24, 24)
        gamma = math.exp(amount * rng.uniform(-0.3, 0.3))
        levels = np.arange(256, dtype=np.float64)[:, None]
        table = 255 * (np.clip(levels * gain + offset, 0, 255) / 255) ** gamma
        image = cv2.LUT(image, np.clip(table, 0, 255).astype(np.uint8)[None])
    if amount and rng.random() < 0.5:
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        keep = 1 + amount * rng.uniform(-0.5, 0.4)
        image = cv2.addWeighted(image, keep, grey, 1 - keep, 0)
    if rng.random() < settings.grey:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if rng.random() < settings.blur:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6))
    if rng.random() < settings.noise:
        noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(2, 10))
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < settings.jpeg:
        _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 95))])
        image = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), dtype=np.uint8)
    return image
