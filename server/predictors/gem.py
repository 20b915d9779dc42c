"""GEM's predictor: the picture squashed to 384 as in the released test code, the glass map at the picture's size."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from server.networks.gem import GEM, semantic_map
from server.predictors.base import Predictor, normalise
from server.segmenter import RGB, Mask


class GEMPredictor(Predictor):
    """``predict`` gives glass's share of the two scores: above 0.5 exactly where the official arg-max says glass."""

    size = (384, 384)
    network: GEM

    def predict_batch(self, images: Sequence[RGB]) -> list[Mask]:
        masks: list[Mask] = []
        for start in range(0, len(images), self.batch_size):
            chunk = images[start : start + self.batch_size]
            x = torch.from_numpy(np.stack([self.prepare(image) for image in chunk]))
            scores: Tensor = self.run(self._scores, x)
            masks += [glass_share(score.numpy(), *image.shape[:2]) for score, image in zip(scores, chunk, strict=True)]
        return masks

    def prepare(self, image: RGB) -> NDArray[np.float32]:
        """uint8 HxWx3 -> float32 (3, 384, 384)."""
        small = cv2.resize(image, self.size[::-1], interpolation=cv2.INTER_LINEAR)
        return normalise(small.astype(np.float32) / np.float32(255))

    def _scores(self, x: Tensor) -> Tensor:
        prediction = self.network(x)
        # Scores add up a hundred queries: in half precision the sum would round the smaller ones away.
        with torch.autocast(x.device.type, enabled=False):
            return semantic_map(prediction.logits, prediction.masks)


def glass_share(scores: NDArray[np.float32], height: int, width: int) -> Mask:
    """Scores of background and glass (2, h, w) -> float32 (height, width) in [0, 1]; scores are resized, not shares."""
    background, glass = (cv2.resize(score, (width, height), interpolation=cv2.INTER_LINEAR) for score in scores)
    share: Mask = glass / np.maximum(background + glass, np.finfo(np.float32).tiny)
    return share
