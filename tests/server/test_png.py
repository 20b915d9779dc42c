from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from server import png


def pictures() -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(4)
    shapes = [(1, 1), (1, 1, 3), (1, 1, 4), (7, 300), (300, 7, 3), (65, 33, 4), (200, 301, 4), (2, 40_000, 3)]
    noise = [rng.integers(0, 256, shape, np.uint8) for shape in shapes]
    flat = [np.full(shape, 200, np.uint8) for shape in shapes]
    return [*noise, *flat, noise[-2][::-1, ::2], noise[-2][..., :3]]


@pytest.mark.parametrize("picture", pictures(), ids=lambda picture: str(picture.shape))
def test_other_decoders_read_every_pixel_back(picture: NDArray[np.uint8]) -> None:
    encoded = png.encode(picture)
    opened = Image.open(io.BytesIO(encoded))
    opened.verify()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encoded))), picture)
    read = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    if picture.ndim == 3:
        read = cv2.cvtColor(read, cv2.COLOR_BGRA2RGBA if picture.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    assert np.array_equal(read, picture)


def test_nothing_but_pixels_is_written() -> None:
    encoded = png.encode(np.zeros((5, 5, 4), np.uint8))
    names = [encoded[at + 4 : at + 8] for at in _chunk_starts(encoded)]
    assert names == [b"IHDR", b"IDAT", b"IEND"]


def _chunk_starts(encoded: bytes) -> list[int]:
    starts, at = [], len(png.SIGNATURE)
    while at < len(encoded):
        starts.append(at)
        at += 12 + int.from_bytes(encoded[at : at + 4], "big")
    return starts


@pytest.mark.parametrize("shape", [(0, 4), (4, 4, 2), (4, 4, 5), (4,), (0, 0, 3)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        png.encode(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="cannot be written"):
        png.encode(np.zeros((4, 4), np.float32))  # type: ignore[arg-type]
