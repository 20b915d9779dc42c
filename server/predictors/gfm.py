"""GFM's predictor: RGB in 0..255 without normalisation, and the HYBRID and RESIZE strategies of the official test.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from server.errors import BadOption
from server.networks.gfm import GFM
from server.predictors.base import Precision, Predictor
from server.predictors.resizing import resize_bilinear
from server.segmenter import RGB, Mask

Strategy = Literal["hybrid", "resize"]
LARGEST_SIDE = 1600
SAMPLES_SHORT_SIDE = 1080
GLANCE_RATIO, FOCUS_RATIO, RIM_RATIO = 1 / 3, 1 / 2, 1 / 3


def working_size(height: int, width: int, ratio: float) -> tuple[int, int]:
    """The size the network sees: each side scaled, cut to a multiple of 32 and to 1600 at most, but 32 at least."""

    def side(length: int) -> int:
        scaled = int(length * ratio)
        return max(32, min(LARGEST_SIDE, scaled - scaled % 32))

    return side(height), side(width)


class GFMPredictor(Predictor):
    """``strategy`` hybrid (the reported one): glance at a third, focus at half the size; resize: both at half.

    ``short_side``: the picture is first shrunk until its shorter side is at most this, the script's rule for
    photographs; None is its rule for the benchmark AM-2k. Mode ``rim`` has one strategy, a third of the size.
    """

    network: GFM

    def __init__(
        self,
        network: GFM,
        name: str,
        *,
        device: str = "auto",
        precision: Precision = "fp32",
        batch_size: int = 8,
        strategy: Strategy = "hybrid",
        short_side: int | None = SAMPLES_SHORT_SIDE,
    ) -> None:
        if strategy not in ("hybrid", "resize"):
            raise BadOption(f"'{strategy}' is not a test strategy of GFM: use hybrid or resize")
        super().__init__(network, name, device=device, precision=precision, batch_size=batch_size)
        self.strategy = strategy
        self.short_side = short_side

    def predict_batch(self, images: Sequence[RGB]) -> list[Mask]:
        """Pictures of one size go through the network together."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, image in enumerate(images):
            groups.setdefault(image.shape, []).append(index)
        masks: dict[int, Mask] = {}
        for indices in groups.values():
            for start in range(0, len(indices), self.batch_size):
                chunk = indices[start : start + self.batch_size]
                masks |= dict(zip(chunk, self._same_size([images[index] for index in chunk]), strict=True))
        return [masks[index] for index in range(len(images))]

    def _same_size(self, images: Sequence[RGB]) -> list[Mask]:
        height, width = images[0].shape[:2]
        small = [self._shrunk(image) for image in images]
        if self.network.mode == "rim":
            alphas = self._rim(small)
        elif self.strategy == "hybrid":
            alphas = self._hybrid(small)
        else:
            alphas = self._resize(small)
        return [np.clip(resize_bilinear(alpha, height, width), 0, 1) for alpha in alphas]

    def _shrunk(self, image: RGB) -> RGB:
        height, width = image.shape[:2]
        if self.short_side is None or min(height, width) <= self.short_side:
            return image
        if height >= width:
            size = self.short_side, int(self.short_side * height / width)
        else:
            size = int(self.short_side * width / height), self.short_side
        return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)

    def _hybrid(self, images: Sequence[RGB]) -> list[Mask]:
        height, width = images[0].shape[:2]
        glances, _focus, _alpha = self._at(images, GLANCE_RATIO)
        _glance, focuses, _alpha = self._at(images, FOCUS_RATIO)
        alphas = []
        for glance, focus in zip(glances, focuses, strict=True):
            classes = resize_bilinear(class_map(glance), height, width)
            alphas.append(combine(classes, resize_bilinear(focus[0].numpy(), height, width), self.network.mode))
        return alphas

    def _resize(self, images: Sequence[RGB]) -> list[Mask]:
        height, width = images[0].shape[:2]
        _glance, _focus, alphas = self._at(images, FOCUS_RATIO)
        return [resize_bilinear(alpha[0].numpy(), height, width) for alpha in alphas]

    def _rim(self, images: Sequence[RGB]) -> list[Mask]:
        height, width = images[0].shape[:2]
        *_triples, alphas = self._at(images, RIM_RATIO)
        return [resize_bilinear(alpha[0].numpy(), height, width) for alpha in alphas]

    def _at(self, images: Sequence[RGB], ratio: float) -> tuple[Tensor, ...]:
        """The network's outputs for pictures of one size at a ratio of it."""
        height, width = working_size(images[0].shape[0], images[0].shape[1], ratio)
        resized = [resize_bilinear(image.astype(np.float32), height, width) for image in images]
        x = torch.from_numpy(np.stack(resized).transpose(0, 3, 1, 2).copy())
        outputs: tuple[Tensor, ...] = self.run(self.network, x)
        return outputs


def class_map(glance: Tensor) -> NDArray[np.float32]:
    """(2 or 3, H, W) -> HxW: the arg-max class as the script's grey levels over 255 (0, 128 and 255, or 0 and 255)."""
    levels = np.array([0, 128, 255] if glance.shape[0] == 3 else [0, 255], np.float32) / np.float32(255)
    return levels[glance.numpy().argmax(0)]


def combine(classes: Mask, focus: Mask, mode: str) -> Mask:
    """The script's fusion at full size: TT keeps glance where it is exactly 0 or 1, FT adds, BT subtracts."""
    if mode == "tt":
        return np.where((classes == 0) | (classes == 1), classes, focus)
    return np.minimum(classes + focus, 1) if mode == "ft" else np.maximum(classes - focus, 0)
