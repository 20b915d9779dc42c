"""BASNet's predictor, as the official basnet_test.py: squash to 256, per-image maximum, ImageNet mean and deviation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from server.predictors.base import SquashPredictor, normalise
from server.predictors.resizing import resize_bilinear
from server.segmenter import RGB, Mask


class BASNetPredictor(SquashPredictor):
    """``predict`` gives the refined probability; ``official_map`` the stretched 8-bit map that the script saves.

    ``size`` 256 is what the released weights were made for; the paper tests at 320. The picture is shrunk as current
    scikit-image does it, with antialiasing: the script leaves that to the installed version, and a phone's photo is
    fifteen times larger than the input. Photos over eight times the input are first averaged down to at least four
    times, which changes little and costs a quarter.
    """

    size = (256, 256)

    def prepare(self, image: RGB) -> NDArray[np.float32]:
        excess = min(image.shape[0] // (4 * self.size[0]), image.shape[1] // (4 * self.size[1]))
        if excess >= 2:
            image = np.asarray(Image.fromarray(image).reduce(excess))
        small = resize_bilinear(image.astype(np.float32) / np.float32(255), *self.size)
        largest = float(small.max())
        return normalise(small / np.float32(largest) if largest > 0 else small)

    def probability(self, outputs: Any) -> Tensor:
        refined: Tensor = outputs[0][:, 0]
        return refined

    def official_map(self, image: RGB) -> NDArray[np.uint8]:
        """uint8 HxWx3 -> uint8 HxW: min-max stretched, truncated to 8 bits, then resized by Pillow (script order)."""
        return self.stretched(self.small_map(image), *image.shape[:2])

    def small_map(self, image: RGB) -> Mask:
        """uint8 HxWx3 -> the probability at the network's size."""
        import torch

        x = torch.from_numpy(self.prepare(image)[None])
        small: Mask = self.probability(self.run(self.network, x))[0].numpy()
        return small

    @staticmethod
    def stretched(probability: Mask, height: int, width: int) -> NDArray[np.uint8]:
        low, high = float(probability.min()), float(probability.max())
        span = high - low if high > low else 1.0  # a flat map stays black, where the script divides by zero
        bytes_ = ((probability - np.float32(low)) / np.float32(span) * np.float32(255)).astype(np.uint8)
        return np.asarray(Image.fromarray(bytes_).resize((width, height), Image.Resampling.BILINEAR))
