"""MeticulousNet's predictors: L's squash, H's tiles and how they are blended."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from server.networks.meticulous import (
    MeticulousNet,
    Predictions,
    lite0_meticulousnet_l,
    mobile_meticulousnet_h,
    mobile_meticulousnet_l,
)
from server.predictors import networks_of, open_predictor
from server.predictors.meticulous import (
    MARGIN,
    STEP,
    TILE,
    MeticulousHighPredictor,
    MeticulousLowPredictor,
    MeticulousPredictor,
    tile_starts,
    undecided_tiles,
)
from tests.server.networks.base import one_thread
from tests.server.networks.formula import fill

__all__ = ["one_thread"]


class FakeH(nn.Module):
    """A stand-in for H whose map is a function of its input, so that blending can be checked exactly."""

    mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

    def __init__(self, answer: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.answer = answer
        self.tiles = 0

    def forward(self, x: Tensor) -> Predictions:
        self.tiles += len(x)
        return Predictions(*[self.answer(x)] * 7)


def repeat_mask(x: Tensor) -> Tensor:
    return x[:, 3:] / 2 + 0.5


def high(answer: Callable[[Tensor], Tensor], batch_size: int = 8) -> MeticulousHighPredictor:
    network: MeticulousNet = FakeH(answer)  # type: ignore[assignment]
    return MeticulousHighPredictor(network, "meticulousnet-h", device="cpu", batch_size=batch_size)


def picture(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)


def soft_disc(height: int, width: int, centre: tuple[float, float], radius: float) -> NDArray[np.float32]:
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - centre[0], x - centre[1]) - radius
    return (1 / (1 + np.exp(np.clip(distance / 6, -30, 30)))).astype(np.float32)


@pytest.mark.parametrize(("height", "width"), [(90, 130), (224, 224), (225, 400), (500, 333), (100, 700)])
def test_a_network_that_repeats_its_mask_changes_nothing(height: int, width: int) -> None:
    mask = np.random.default_rng(1).random((height, width), np.float32)
    refined = high(repeat_mask).refine(picture(height, width), mask)
    assert refined.shape == mask.shape
    assert refined.dtype == np.float32
    assert np.abs(refined - mask).max() < 1e-6


@pytest.mark.parametrize(("height", "width"), [(60, 90), (224, 900), (481, 640)])
def test_every_pixel_of_an_undecided_mask_is_refined(height: int, width: int) -> None:
    predictor = high(lambda x: torch.full_like(x[:, :1], 0.25))
    refined = predictor.refine(picture(height, width), np.full((height, width), 0.5, np.float32))
    assert (refined == 0.25).all()


def test_margins_count_on_the_pictures_border_only() -> None:
    """A map whose 16-pixel frame is 1 and whose inside is 0 shows the frame where a tile meets the picture's border."""

    def frame(x: Tensor) -> Tensor:
        out = torch.ones_like(x[:, :1])
        out[..., MARGIN:-MARGIN, MARGIN:-MARGIN] = 0
        return out

    height, width = 500, 640
    refined = high(frame).refine(picture(height, width), np.full((height, width), 0.5, np.float32))
    assert (refined[MARGIN:-MARGIN, MARGIN:-MARGIN] == 0).all()
    assert (refined[:MARGIN] == 1).all()
    assert (refined[:, -MARGIN:] == 1).all()


def test_overlaps_are_averaged() -> None:
    """Tiles answer their own mean mask; on a ramp each pixel is the mean over the tiles that hold it."""
    height, width = TILE, 600
    ramp = np.tile(np.linspace(0.2, 0.8, width, dtype=np.float32), (height, 1))
    refined = high(lambda x: repeat_mask(x).mean((2, 3), keepdim=True).expand(-1, 1, TILE, TILE)).refine(
        picture(height, width), ramp
    )
    for column in (0, 100, 207, 208, 333, 599):
        answers = [
            ramp[:, start : start + TILE].mean()
            for start in tile_starts(width)
            if (start + MARGIN if start else 0) <= column < start + TILE - (MARGIN if start + TILE < width else 0)
        ]
        assert refined[50, column] == pytest.approx(np.mean(answers), abs=1e-5)


def test_only_tiles_on_the_boundary_run() -> None:
    height, width = 1200, 1600
    mask = soft_disc(height, width, (600, 800), 320)
    predictor = high(lambda x: torch.ones_like(x[:, :1]))
    refined = predictor.refine(picture(height, width), mask)
    network = predictor.network
    assert isinstance(network, FakeH)
    every = len(tile_starts(height)) * len(tile_starts(width))
    assert network.tiles == len(undecided_tiles(mask)) < 0.6 * every
    far = soft_disc(height, width, (600, 800), 320 + TILE * 1.5) < 1e-3
    assert (refined[far] == mask[far]).all()
    boundary = (mask > 0.3) & (mask < 0.7)
    assert (refined[boundary] == 1).all()


@pytest.mark.parametrize("mask_value", [0.0, 1.0])
def test_a_decided_mask_comes_back_unchanged(mask_value: float) -> None:
    mask = np.full((300, 300), mask_value, np.float32)
    predictor = high(lambda x: torch.full_like(x[:, :1], 0.5))
    assert (predictor.refine(picture(300, 300), mask) == mask).all()


@pytest.mark.parametrize("length", [TILE, TILE + 1, TILE + STEP, 1000])
def test_tiles_cover_a_side(length: int) -> None:
    starts = tile_starts(length)
    assert starts[0] == 0
    assert starts[-1] + TILE == length
    assert all(0 < after - before <= STEP for before, after in pairwise(starts))


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="resize the mask to the picture"):
        high(repeat_mask).refine(picture(300, 300), np.zeros((300, 301), np.float32))


@pytest.fixture(scope="module")
def low_network() -> MeticulousNet:
    network = mobile_meticulousnet_l()
    fill(network, 0.9)
    return network.eval()


@pytest.fixture(scope="module")
def high_network() -> MeticulousNet:
    network = mobile_meticulousnet_h()
    fill(network, 0.9)
    return network.eval()


def test_l_squashes_to_336_with_imagenets_normalisation(low_network: MeticulousNet) -> None:
    predictor = open_predictor("mobile-meticulousnet-l", low_network, device="cpu")
    assert isinstance(predictor, MeticulousLowPredictor)
    image = picture(120, 200)
    small = np.asarray(Image.fromarray(image).resize((336, 336), Image.Resampling.BILINEAR)) / 255.0
    x = ((small - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)).transpose(2, 0, 1)[None].astype(np.float32)
    with torch.inference_mode():
        finest = low_network(torch.from_numpy(x)).s2_3[0, 0].numpy()
    expected = np.asarray(Image.fromarray(finest).resize((200, 120), Image.Resampling.BILINEAR))
    assert np.abs(predictor.predict(image) - expected).max() < 1e-4


def test_lite0_has_its_own_normalisation() -> None:
    predictor = MeticulousLowPredictor(lite0_meticulousnet_l(), "lite0-meticulousnet-l", device="cpu")
    prepared = predictor.prepare(np.full((50, 50, 3), 255, np.uint8))
    assert np.allclose(prepared, 1)
    assert np.allclose(predictor.prepare(np.full((50, 50, 3), 127, np.uint8)), 0, atol=1e-6)


def test_h_sees_the_normalised_tile_and_the_mask_as_2p_minus_1(high_network: MeticulousNet) -> None:
    predictor = open_predictor("mobile-meticulousnet-h", high_network, device="cpu")
    assert isinstance(predictor, MeticulousHighPredictor)
    image, mask = picture(TILE, TILE), soft_disc(TILE, TILE, (100, 120), 60)
    rgb = (image / 255.0 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    x = np.concatenate([rgb, 2 * mask[..., None] - 1], 2).transpose(2, 0, 1)[None].astype(np.float32)
    with torch.inference_mode():
        expected = high_network(torch.from_numpy(x)).s2_3[0, 0].numpy()
    assert np.abs(predictor.refine(image, mask) - expected).mean() < 1e-5


def test_the_pipeline_is_l_then_h(low_network: MeticulousNet, high_network: MeticulousNet) -> None:
    assert networks_of("mobile-meticulousnet") == ("mobile-meticulousnet-l", "mobile-meticulousnet-h")
    both = open_predictor("mobile-meticulousnet", low_network, high_network, device="cpu", batch_size=3)
    assert isinstance(both, MeticulousPredictor)
    images = [picture(240, 300), picture(230, 90)]
    low = MeticulousLowPredictor(low_network, "l", device="cpu")
    fine = MeticulousHighPredictor(high_network, "h", device="cpu", batch_size=1)
    for image, mask in zip(images, both.predict_batch(images), strict=True):
        expected = fine.refine(image, low.predict(image))
        assert mask.shape == image.shape[:2]
        assert np.abs(mask - expected).mean() < 1e-4


def test_h_alone_starts_from_a_mask_that_says_nothing(high_network: MeticulousNet) -> None:
    predictor = MeticulousHighPredictor(high_network, "mobile-meticulousnet-h", device="cpu")
    image = picture(100, 120)
    prepared = predictor.prepare(image)
    assert prepared.shape == (4, 336, 336)
    assert (prepared[3] == 0).all()
    assert predictor.predict(image).shape == (100, 120)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_reduced_precision_is_close(low_network: MeticulousNet, precision: str) -> None:
    image = cv2.resize(picture(20, 20), (200, 160))
    exact, reduced = (
        MeticulousLowPredictor(low_network, "l", device="cpu", precision=name) for name in ("fp32", precision)
    )
    exact.size = reduced.size = (112, 112)
    mask = reduced.predict(image)
    assert mask.dtype == np.float32
    assert 0 < np.abs(exact.predict(image) - mask).mean() < 0.03
