"""MeticulousNet's predictors: L on the whole picture at 336, then H on overlapping tiles at full resolution (figure 2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from server.networks.meticulous import MeticulousNet
from server.predictors.base import Precision, SquashPredictor
from server.segmenter import RGB, Mask

SIZE = (336, 336)
TILE = 224
"""What H is trained on (paper 4.4)."""
MARGIN = 16
"""Each side of a tile that is dropped inside the picture, where the tile's context is cut off (CascadePSP)."""
STEP = (TILE - 2 * MARGIN) // 2
SURE = 0.1
"""Tiles whose mask is on average below this, or above one less this, are left as they are (CascadePSP)."""
UNKNOWN = 0.5

Position = tuple[int, int]


class _WholePicture(SquashPredictor):
    size = SIZE
    network: MeticulousNet

    def probability(self, outputs: Any) -> Tensor:
        finest: Tensor = outputs.s2_3[:, 0]
        return finest


class MeticulousLowPredictor(_WholePicture):
    """L alone."""

    def prepare(self, image: RGB) -> NDArray[np.float32]:
        return _channels(self.network, _squashed(image, self.size))


class MeticulousHighPredictor(_WholePicture):
    """H alone: ``refine`` sharpens any model's mask; ``predict`` starts from one that says nothing."""

    def prepare(self, image: RGB) -> NDArray[np.float32]:
        return _channels(self.network, _squashed(image, self.size), np.full(self.size, UNKNOWN, np.float32))

    def predict_batch(self, images: Sequence[RGB]) -> list[Mask]:
        coarse = super().predict_batch(images)
        return [self.refine(image, mask) for image, mask in zip(images, coarse, strict=True)]

    def refine(self, image: RGB, mask: Mask) -> Mask:
        """uint8 HxWx3, a soft mask float32 HxW in [0, 1] -> the mask with H's boundaries, at the picture's resolution.

        Where tiles overlap their maps are averaged; pixels of no undecided tile keep the mask. Raises ``ValueError`` when
        the sizes differ.
        """
        if mask.shape != image.shape[:2]:
            raise ValueError(f"the mask is {mask.shape}, the picture {image.shape[:2]}: resize the mask to the picture")
        height, width = mask.shape
        below, right = max(0, TILE - height), max(0, TILE - width)
        if below or right:
            image = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REFLECT)
            mask = cv2.copyMakeBorder(mask, 0, below, 0, right, cv2.BORDER_REFLECT)
        total, count = np.zeros_like(mask), np.zeros_like(mask)
        for position, refined in self._refined_tiles(image, mask, undecided_tiles(mask)):
            inside = _without_margins(position, mask.shape)
            total[inside] += refined[_within_tile(inside, position)]
            count[inside] += 1
        blended = np.where(count > 0, total / np.maximum(count, 1), mask)
        return np.ascontiguousarray(blended[:height, :width], np.float32)

    def _refined_tiles(
        self, image: RGB, mask: Mask, positions: Sequence[Position]
    ) -> Iterator[tuple[Position, NDArray[np.float32]]]:
        for start in range(0, len(positions), self.batch_size):
            chunk = positions[start : start + self.batch_size]
            tiles = [_tile(position) for position in chunk]
            x = np.stack([_channels(self.network, image[tile], mask[tile]) for tile in tiles])
            maps: Tensor = self.run(self._finest, torch.from_numpy(x))
            yield from zip(chunk, maps[:, 0].numpy(), strict=True)

    def _finest(self, x: Tensor) -> Tensor:
        finest: Tensor = self.network(x).s2_3
        return finest


class MeticulousPredictor(MeticulousLowPredictor):
    """The paper's pipeline: L, its soft map at the picture's size, H on tiles. The paper cuts the result at 0.5."""

    def __init__(
        self,
        low: MeticulousNet,
        high: MeticulousNet,
        name: str,
        *,
        device: str = "auto",
        precision: Precision = "fp32",
        batch_size: int = 8,
    ) -> None:
        super().__init__(low, name, device=device, precision=precision, batch_size=batch_size)
        self.high = MeticulousHighPredictor(high, name, device=device, precision=precision, batch_size=batch_size)

    def predict_batch(self, images: Sequence[RGB]) -> list[Mask]:
        coarse = super().predict_batch(images)
        return [self.refine(image, mask) for image, mask in zip(images, coarse, strict=True)]

    def refine(self, image: RGB, mask: Mask) -> Mask:
        """H on any model's mask."""
        return self.high.refine(image, mask)


def undecided_tiles(mask: Mask) -> list[Position]:
    """(top, left) of the tiles of a mask, each side at least a tile long, that hold both object and background."""
    height, width = mask.shape
    sums = cv2.integral(mask, sdepth=cv2.CV_64F)
    tops, lefts = np.array(tile_starts(height)), np.array(tile_starts(width))
    top, left = tops[:, None], lefts[None, :]
    area = sums[top + TILE, left + TILE] - sums[top, left + TILE] - sums[top + TILE, left] + sums[top, left]
    mean = area / TILE**2
    rows, columns = np.nonzero((mean >= SURE) & (mean <= 1 - SURE))
    return [(int(tops[row]), int(lefts[column])) for row, column in zip(rows, columns, strict=True)]


def tile_starts(length: int) -> list[int]:
    """Where tiles start along a side of ``length`` >= ``TILE``: every ``STEP``, the last one at the end."""
    return [*range(0, length - TILE, STEP), length - TILE]


def _tile(position: Position) -> tuple[slice, slice]:
    top, left = position
    return slice(top, top + TILE), slice(left, left + TILE)


def _without_margins(position: Position, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The tile less its margins, except those on the picture's own border."""

    def side(start: int, length: int) -> slice:
        stop = start + TILE
        return slice(start + MARGIN if start > 0 else 0, stop - MARGIN if stop < length else stop)

    return side(position[0], shape[0]), side(position[1], shape[1])


def _within_tile(inside: tuple[slice, slice], position: Position) -> tuple[slice, slice]:
    rows, columns = inside
    top, left = position
    return slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)


def _squashed(image: RGB, size: tuple[int, int]) -> RGB:
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))


def _channels(network: MeticulousNet, image: RGB, mask: Mask | None = None) -> NDArray[np.float32]:
    """uint8 HxWx3 and for H its mask -> (3 or 4, H, W): RGB as the encoder was trained, the mask as 2p - 1."""
    mean, std = np.asarray(network.mean, np.float32), np.asarray(network.std, np.float32)
    rgb = ((image.astype(np.float32) / np.float32(255) - mean) / std).transpose(2, 0, 1)
    if mask is None:
        return np.ascontiguousarray(rgb)
    return np.concatenate([rgb, (mask * np.float32(2) - np.float32(1))[None]])
