"""GEM's predictor: the official squash and scores, and the glass map at the picture's size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from server.networks.gem import GEM, Prediction, gem_tiny, semantic_map
from server.predictors import open_predictor
from server.predictors.gem import GEMPredictor, glass_share
from tests.server.networks.base import one_thread
from tests.server.networks.formula import fill

__all__ = ["one_thread"]


@pytest.fixture(scope="module")
def network() -> GEM:
    network = gem_tiny()
    fill(network, 0.5)
    return network.eval()


def picture(height: int, width: int) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(height + width).integers(0, 256, (9, 9, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def test_predicts_as_the_released_code(network: GEM) -> None:
    predictor = open_predictor("gem-tiny", network, device="cpu")
    assert isinstance(predictor, GEMPredictor)
    image = picture(150, 260)
    small = cv2.resize(image, (384, 384)).astype(np.float64)
    x = ((small - (123.675, 116.28, 103.53)) / (58.395, 57.12, 57.375)).transpose(2, 0, 1)[None]
    with torch.inference_mode():
        prediction = network(torch.from_numpy(x.astype(np.float32)))
        scores = semantic_map(prediction.logits, prediction.masks)
        resized = F.interpolate(scores, (150, 260), mode="bilinear", align_corners=False)[0]
    glass = resized.argmax(0).numpy() == 1
    share = predictor.predict(image)
    assert share.shape == (150, 260)
    assert share.dtype == np.float32
    margin = (resized[1] - resized[0]).abs().numpy() > 1e-2 * float(resized.max())
    assert margin.mean() > 0.1
    assert ((share > 0.5) == glass)[margin].all()
    expected = (resized[1] / resized.sum(0)).numpy()
    assert np.abs(share - expected).max() < 5e-3


class Halves(nn.Module):
    """A stand-in network: one query sees glass where the picture is bright, another background where it is dark."""

    def forward(self, x: Tensor) -> Prediction:
        bright = F.avg_pool2d(x.mean(1, keepdim=True), 4) * 20
        logits = torch.tensor([[[-9.0, 9, -9], [9, -9, -9]]], device=x.device).expand(len(x), -1, -1)
        masks = torch.cat([bright, -bright], 1)
        return Prediction(logits, masks, logits[..., :1].expand(-1, -1, 4), masks)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_glass_is_where_the_picture_is_bright(precision: str) -> None:
    stand_in: GEM = Halves()  # type: ignore[assignment]
    predictor = GEMPredictor(stand_in, "gem-tiny", device="cpu", precision=precision, batch_size=2)
    images = []
    for height, width in ((120, 200), (400, 90), (384, 384)):
        image = np.zeros((height, width, 3), np.uint8)
        image[:, width // 2 :] = 255
        images.append(image)
    for image, share in zip(images, predictor.predict_batch(images), strict=True):
        width = image.shape[1]
        assert share.shape == image.shape[:2]
        assert share[:, : width // 2 - 4].max() < 0.05
        assert share[:, width // 2 + 4 :].min() > 0.95


def test_share_is_a_half_where_the_scores_are_equal() -> None:
    scores = np.stack([np.full((4, 4), 3, np.float32), np.full((4, 4), 3, np.float32)])
    assert np.allclose(glass_share(scores, 10, 6), 0.5)
    assert np.isfinite(glass_share(np.zeros_like(scores), 10, 6)).all()


def test_batches_change_nothing(network: GEM) -> None:
    images = [picture(200, 200), picture(90, 300), picture(64, 64)]
    predictor, single = (GEMPredictor(network, "gem-tiny", device="cpu", batch_size=size) for size in (3, 1))
    predictor.size = single.size = (192, 192)
    together = predictor.predict_batch(images)
    for image, share in zip(images, together, strict=True):
        assert np.abs(share - single.predict(image)).mean() < 1e-4


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_reduced_precision_is_close(network: GEM, precision: str) -> None:
    exact, reduced = (GEMPredictor(network, "gem-tiny", device="cpu", precision=name) for name in ("fp32", precision))
    exact.size = reduced.size = (192, 192)
    image = picture(100, 100)
    assert 0 < np.abs(exact.predict(image) - reduced.predict(image)).mean() < 0.02
