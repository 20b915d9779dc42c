"""From light on the lens to a JPEG: room light, blur, exposure, bands, noise, compression."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from mobile_client_stub.camera.conditions import Conditions
from mobile_client_stub.camera.scene import Light, to_srgb

RGB = NDArray[np.uint8]


def add_room_light(light: Light, glass: Light, conditions: Conditions, rng: np.random.Generator) -> None:
    """Add the panel's falloff, reflections and glare on its glass, ambient light and the lens' vignette, in place."""
    height, width = light.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = x / width - 0.5, y / height - 0.5
    if conditions.falloff:
        angle = rng.uniform(0, 2 * math.pi)
        slope = 1 - conditions.falloff * np.clip(0.5 + x * math.cos(angle) + y * math.sin(angle), 0, 1)
        light *= np.where(glass > 0, slope, 1)[..., None].astype(np.float32)
    if conditions.reflection:
        room = rng.uniform(0, 1, (6, 5, 3)).astype(np.float32)
        mirrored = cv2.GaussianBlur(
            cv2.resize(room, (width, height), interpolation=cv2.INTER_CUBIC), (0, 0), width / 200
        )
        light += np.clip(mirrored, 0, 1) * glass[..., None] * conditions.reflection
    for _ in range(conditions.glare_blobs):
        cx, cy = rng.uniform(-0.5, 0.5, 2)
        radius = rng.uniform(0.03, 0.15)
        strength = rng.uniform(0.1, 0.7)
        blob = strength * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * radius**2))
        light += (blob * (0.2 + 0.8 * glass))[..., None].astype(np.float32)
    light += conditions.ambient
    if conditions.vignette:
        light *= (1 - conditions.vignette * 2 * (x**2 + y**2))[..., None]


def blur_kernels(conditions: Conditions, rng: np.random.Generator) -> list[NDArray[np.float32]]:
    """The defocus disc and the motion streak as kernels with sum 1, in view pixels."""
    long = max(conditions.view_size)
    kernels = []
    radius = conditions.defocus * long
    if radius > 0.05:
        half = math.ceil(radius + 1)
        y, x = np.mgrid[-half : half + 1, -half : half + 1]
        disc = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1)
        kernels.append(disc / disc.sum())
    length = conditions.motion * long
    if length > 0.3:
        angle = rng.uniform(0, math.pi)
        half = math.ceil(length / 2 + 1)
        streak = np.zeros((2 * half + 1, 2 * half + 1))
        for t in np.linspace(-length / 2, length / 2, 8 * half + 1):
            x, y = half + t * math.cos(angle), half + t * math.sin(angle)
            i, j = int(y), int(x)
            streak[i, j] += (1 - y + i) * (1 - x + j)
            streak[i, j + 1] += (1 - y + i) * (x - j)
            streak[i + 1, j] += (y - i) * (1 - x + j)
            streak[i + 1, j + 1] += (y - i) * (x - j)
        kernels.append(streak / streak.sum())
    return [np.asarray(kernel, dtype=np.float32) for kernel in kernels]


def develop(light: Light, conditions: Conditions, rng: np.random.Generator) -> RGB:
    """Linear light at the view's size -> the sensor's uint8 HxWx3 RGB before compression."""
    for kernel in blur_kernels(conditions, rng):
        light = np.asarray(cv2.filter2D(light, -1, kernel, borderType=cv2.BORDER_REFLECT), dtype=np.float32)
    red, blue = conditions.white_balance
    light = light * np.array([red, 1, blue], np.float32) * np.float32(conditions.exposure)
    if conditions.band:
        rows = np.arange(light.shape[0], dtype=np.float32)[:, None, None] / light.shape[0]
        wave = np.sin(2 * np.pi * (rows * rng.uniform(0.7, 6) + rng.uniform(0, 1)))
        light = light * (1 - conditions.band * (0.5 + 0.5 * wave))
    bright = np.clip(light, 0, 1) ** np.float32(conditions.gamma)
    grain = rng.standard_normal(bright.shape, dtype=np.float32)
    return to_srgb(bright + grain * conditions.noise * np.sqrt(0.15 + bright))


def compress(view: RGB, quality: int) -> bytes:
    """A baseline JPEG."""
    ok, encoded = cv2.imencode(".jpg", view[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise RuntimeError("OpenCV could not encode the view as JPEG; check its build with cv2.getBuildInformation()")
    return encoded.tobytes()


def decompress(jpeg: bytes) -> RGB:
    """uint8 HxWx3 RGB of a JPEG made by ``compress``."""
    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None, "a JPEG that was just encoded decodes"
    return np.ascontiguousarray(decoded[..., ::-1], dtype=np.uint8)
