"""Small pictures with masks in the layouts that benchmarks come in."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from server.segmenter import RGB, Mask, Tap

STEMS = ("apple", "boat", "cup", "dog")


def scene(index: int) -> tuple[RGB, NDArray[np.uint8]]:
    """A bright ellipse on dark ground, 60 x 48, and its mask."""
    ys, xs = np.mgrid[:48, :60]
    inside = ((xs - 20 - 5 * index) / (8 + index)) ** 2 + ((ys - 24) / 10) ** 2 < 1
    photo = np.where(inside[..., None], (230, 200, 180), (30, 40, 20)).astype(np.uint8)
    return photo, inside.astype(np.uint8) * 255


def encoded(pixels: NDArray[np.uint8], kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return buffer.getvalue()


def write(folder: Path, names: dict[str, bytes]) -> Path:
    for name, data in names.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def write_tar(path: Path, names: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in names.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def files(image: str, mask: str, kind: str = "JPEG") -> dict[str, bytes]:
    """``image`` and ``mask`` are patterns with {} for the stem."""
    found = {}
    for index, stem in enumerate(STEMS):
        photo, truth = scene(index)
        found |= {image.format(stem): encoded(photo, kind), mask.format(stem): encoded(truth, "PNG")}
    return found


class Brightness:
    """A segmenter that takes bright for object; ``gain`` below 1 makes it unsure."""

    name = "brightness"

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def predict(self, image: RGB, tap: Tap | None = None) -> Mask:
        return (image.mean(2) > 128).astype(np.float32) * np.float32(self.gain)
