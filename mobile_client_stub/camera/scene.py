"""What stands before the lens, in linear light: monitors with bezel and subpixels, and the desk around them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

RGB = NDArray[np.uint8]
Light = NDArray[np.float32]

SRGB_TO_LINEAR = np.where(
    np.arange(256) <= 10, np.arange(256) / 255 / 12.92, ((np.arange(256) / 255 + 0.055) / 1.055) ** 2.4
).astype(np.float32)


_LIGHT = np.arange(4096) / 4095
LINEAR_TO_SRGB = np.where(_LIGHT <= 0.0031308, _LIGHT * 12.92, 1.055 * _LIGHT ** (1 / 2.4) - 0.055)
LINEAR_TO_SRGB = (LINEAR_TO_SRGB * 255 + 0.5).astype(np.uint8)


def to_linear(picture: RGB) -> Light:
    """uint8 sRGB -> float32 linear light in [0, 1], same shape."""
    return np.asarray(SRGB_TO_LINEAR[picture], dtype=np.float32)


def to_srgb(light: Light) -> RGB:
    """float32 linear light (clipped to [0, 1]) -> uint8 sRGB, same shape."""
    return np.asarray(LINEAR_TO_SRGB[(np.clip(light, 0, 1) * 4095 + 0.5).astype(np.uint16)], dtype=np.uint8)


class Panel:
    """A lit screen with its top left corner at (``left``, 0) of the plane, sampled through a trilinear pyramid."""

    def __init__(self, picture: RGB, left: float = 0.0) -> None:
        self.left = left
        self.height, self.width = picture.shape[:2]
        self.levels = [to_linear(picture)]
        while min(self.levels[-1].shape[:2]) >= 16 and len(self.levels) < 5:
            height, width = self.levels[-1].shape[:2]
            smaller = cv2.resize(self.levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
            self.levels.append(np.asarray(smaller, dtype=np.float32))

    def sample(self, x: Light, y: Light, pitch: Light) -> Light:
        """The light at panel coordinates (HxW each), ``pitch`` in panel pixels a sample -> HxWx3."""
        detail = np.clip(np.log2(np.maximum(pitch, 1e-3)), 0, len(self.levels) - 1).astype(np.float32)
        first, last = int(np.floor(detail.min())), int(np.ceil(detail.max()))
        total = np.zeros((*x.shape, 3), np.float32)
        for level in range(first, last + 1):
            weight = np.maximum(0, 1 - np.abs(detail - level))
            picture = self.levels[level]
            fx, fy = picture.shape[1] / self.width, picture.shape[0] / self.height
            sampled = cv2.remap(picture, x * fx - 0.5, y * fy - 0.5, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            total += sampled * weight[..., None]
        return total


@dataclass(frozen=True)
class Surroundings:
    """Bezel and desk colours in linear light, the bezel's width in screen pixels, and a seed for the desk's pattern."""

    bezel: tuple[float, float, float]
    bezel_width: float
    desk: Light
    desk_scale: float

    @classmethod
    def sample(cls, rng: np.random.Generator, screen_width: int) -> Surroundings:
        grey = float(rng.choice([0.005, 0.02, 0.1, 0.5])) * float(rng.uniform(0.6, 1.4))
        base = rng.uniform(0.03, 0.5, 3).astype(np.float32)
        pattern = np.ones((256, 256, 3), np.float32) * base
        for size in (4, 16, 64):
            rough = rng.normal(0, 1, (size, size, 1)).astype(np.float32)
            pattern += cv2.resize(rough, (256, 256), interpolation=cv2.INTER_CUBIC)[..., None] * base * 0.15
        for _ in range(int(rng.integers(0, 7))):
            x, y, w, h = (int(v) for v in rng.integers(8, 248, 4))
            colour = [float(c) for c in rng.uniform(0.01, 0.7, 3)]
            cv2.rectangle(pattern, (x, y), (min(255, x + w // 5), min(255, y + h // 5)), colour, -1)
        desk_scale = 256 / (screen_width * float(rng.uniform(0.6, 1.6)))
        return cls(
            (grey, grey, grey), screen_width * float(rng.uniform(0.008, 0.04)), np.clip(pattern, 0, 1), desk_scale
        )


def render_scene(
    panels: list[Panel], around: Surroundings, plane_x: Light, plane_y: Light, pitch: Light, moire: float
) -> tuple[Light, Light]:
    """The light of every sample (HxWx3) at plane coordinates (HxW), and where the panels' glass is (HxW, 0 or 1)."""
    light = cv2.remap(
        around.desk,
        plane_x * around.desk_scale,
        plane_y * around.desk_scale,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    light = np.asarray(light, dtype=np.float32)
    glass: Light = np.zeros(plane_x.shape, np.float32)
    rim = around.bezel_width
    for panel in panels:
        x, y = plane_x - panel.left, plane_y
        light[(x > -rim) & (x < panel.width + rim) & (y > -rim) & (y < panel.height + rim)] = around.bezel
        inside = (x >= 0) & (x <= panel.width) & (y >= 0) & (y <= panel.height)
        if not inside.any():
            continue
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        shown = panel.sample(x[box], y[box], pitch[box])
        if moire:
            shown *= subpixels(x[box], y[box], moire)
        mask = inside[box]
        light[box][mask] = shown[mask]
        glass[box][mask] = 1
    return light, glass


def subpixels(x: Light, y: Light, amplitude: float) -> Light:
    """The gain of the RGB stripes and row gaps at panel coordinates -> HxWx3; undersampled it folds into moire."""
    rows = 1 + 0.5 * amplitude * np.cos(2 * np.pi * (y - 0.5))
    stripes = [1 + amplitude * np.cos(2 * np.pi * (x - (2 * channel + 1) / 6)) for channel in range(3)]
    return np.asarray(np.stack(stripes, axis=-1) * rows[..., None], dtype=np.float32)
