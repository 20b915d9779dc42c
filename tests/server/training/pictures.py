"""Synthetic labelled pictures on disk: a bright ellipse on noise."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image


def ellipse(seed: int, width: int = 96, height: int = 64) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(height, width, 3) picture and its 0/255 mask."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    center = int(rng.integers(width // 3, 2 * width // 3)), int(rng.integers(height // 3, 2 * height // 3))
    axes = int(rng.integers(width // 8, width // 4)), int(rng.integers(height // 8, height // 4))
    cv2.ellipse(mask, center, axes, float(rng.uniform(0, 180)), 0, 360, 255, -1)
    noise = rng.integers(0, 70, (height, width, 3))
    color = rng.integers(120, 185, 3)
    return np.where(mask[..., None] > 0, color + noise, noise).astype(np.uint8), mask


def write_folder(root: Path, images: str, masks: str, count: int, suffix: str = "") -> Path:
    (root / images).mkdir(parents=True)
    (root / masks).mkdir(parents=True)
    for index in range(count):
        picture, mask = ellipse(index)
        Image.fromarray(picture).save(root / images / f"p{index:03}.jpg", quality=95)
        Image.fromarray(mask).save(root / masks / f"p{index:03}{suffix}.png")
    return root


def png(array: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def write_shard(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as shard:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            shard.addfile(info, io.BytesIO(content))
    return path
