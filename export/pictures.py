"""The pictures that calibrate, prove and score an exported model, as its input wants them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from export.errors import BadChoice
from export.targets import Target
from server.errors import ServerError
from server.images import decode

SHIPPED = Path(__file__).parents[1] / "mobile_client_stub" / "samples"
"""Photographs that come with the package."""
PICTURES = {".jpg", ".jpeg", ".png", ".webp"}
AT_MOST = 128
Feed = dict[str, NDArray[np.float32]]


def folder(path: Path | None) -> list[Path]:
    """The folder's pictures, at most ``AT_MOST``, evenly spread. Raises ``BadChoice`` where there are none."""
    path = path or SHIPPED
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in PICTURES) if path.is_dir() else []
    if not files:
        raise BadChoice(f"{path} holds no pictures: name a folder of photographs with --pictures.")
    count = min(AT_MOST, len(files))
    return [files[index * len(files) // count] for index in range(count)]


def views(files: list[Path]) -> Iterator[NDArray[np.uint8]]:
    """uint8 HxWx3 RGB pictures. Where there are few, more is made of each: mirrored, parts of it, darker and lighter."""
    for file in files:
        try:
            image = decode(file.read_bytes())
        except ServerError as error:
            raise BadChoice(f"{file} cannot be used ({error.message}) Take it out of the folder.") from error
        yield image
        if len(files) < AT_MOST // 8:
            yield from _more_of(image)


def _more_of(image: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    height, width = image.shape[:2]
    yield np.ascontiguousarray(image[:, ::-1])
    for top, left in ((0, 0), (0, width // 3), (height // 3, 0), (height // 3, width // 3)):
        yield np.ascontiguousarray(image[top : top + 2 * height // 3, left : left + 2 * width // 3])
    for gamma in (0.5, 1.8):
        yield (255 * (image / 255.0) ** gamma).astype(np.uint8)


def feeds(target: Target, size: int, pictures: Iterator[NDArray[np.uint8]], limit: int = AT_MOST) -> list[Feed]:
    """The model's inputs for the first ``limit`` pictures."""
    found: list[Feed] = []
    for image in pictures:
        if len(found) == limit:
            break
        found.append(feed_of(target.with_mask, size, image))
    return found


def feed_of(with_mask: bool, size: int, image: NDArray[np.uint8]) -> Feed:
    """``image`` float32 1x3xSxS in 0..255; for a model that sharpens a mask also ``mask``: a soft ellipse in the middle."""
    small = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))
    feed: Feed = {"image": np.ascontiguousarray(small.transpose(2, 0, 1)[None], np.float32)}
    if with_mask:
        y, x = np.mgrid[:size, :size] / size - 0.5
        feed["mask"] = (1 / (1 + np.exp(40 * (np.hypot(x, 1.3 * y) - 0.3))))[None, None].astype(np.float32)
    return feed
