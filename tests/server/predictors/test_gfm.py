"""GFM's predictor against the steps of the official test.py, written out with scikit-image."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from skimage.transform import resize

from server.errors import BadOption
from server.networks.gfm import GFM
from server.predictors import open_predictor
from server.predictors.gfm import GFMPredictor, combine, working_size
from server.segmenter import RGB
from tests.server.networks.base import one_thread
from tests.server.networks.formula import fill

__all__ = ["one_thread"]


@pytest.fixture(scope="module")
def networks() -> dict[str, GFM]:
    networks = {mode: GFM("r34", mode) for mode in ("tt", "ft", "bt", "rim")}
    for network in networks.values():
        fill(network, 0.75)
        with torch.no_grad():  # bring 0..255 inputs to the range the formula's weights are made for
            network.resnet.conv1.weight /= 255
        network.eval()
    return networks


def picture(height: int = 210, width: int = 320) -> RGB:
    rng = np.random.default_rng(4)
    coarse = rng.integers(0, 256, (7, 9, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def script_outputs(network: GFM, image: RGB, ratio: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    height, width = (int(side * ratio) // 32 * 32 for side in image.shape[:2])
    scaled = resize(image, (height, width)) * 255.0
    x = torch.from_numpy(scaled.astype(np.float32)[None]).permute(0, 3, 1, 2)
    with torch.no_grad():
        glance, focus, fusion = network(x)
    levels = np.array([0, 128, 255] if network.mode == "tt" else [0, 255], np.uint8)
    return levels[glance.numpy().argmax(1)[0]], focus.numpy()[0, 0], fusion.numpy()[0, 0]


def script_hybrid(network: GFM, image: RGB) -> np.ndarray:
    size = image.shape[:2]
    glance = resize(script_outputs(network, image, 1 / 3)[0], size) * 255.0
    focus = resize(script_outputs(network, image, 1 / 2)[1], size)
    if network.mode == "tt":
        unsure = np.ones(glance.shape)
        unsure[glance == 255] = 0
        unsure[glance == 0] = 0
        return glance * (1 - unsure) / 255 + focus * unsure
    alpha = glance / 255 + focus if network.mode == "ft" else glance / 255 - focus
    return np.clip(alpha, 0, 1)


@pytest.mark.parametrize("mode", ["tt", "ft", "bt"])
def test_hybrid_is_the_scripts(networks: dict[str, GFM], mode: str) -> None:
    image = picture()
    ours = open_predictor(f"gfm-r34-{mode}", networks[mode], device="cpu").predict(image)
    expected = script_hybrid(networks[mode], image)
    assert ours.shape == expected.shape
    # A class at the network's resolution is a hard decision: rounding may flip one now and then.
    assert (np.abs(ours - expected) < 1e-3).mean() > 0.99
    assert ours.std() > 0.05, "a constant map would agree with anything"


@pytest.mark.parametrize("mode", ["tt", "ft", "bt"])
def test_resize_is_the_scripts(networks: dict[str, GFM], mode: str) -> None:
    image = picture()
    ours = GFMPredictor(networks[mode], "gfm", device="cpu", strategy="resize").predict(image)
    expected = resize(script_outputs(networks[mode], image, 1 / 2)[2], image.shape[:2])
    assert (np.abs(ours - expected) < 1e-3).mean() > 0.99


def test_rim_works_at_a_third_and_stays_in_range(networks: dict[str, GFM]) -> None:
    image = picture()
    ours = open_predictor("gfm-r34-rim", networks["rim"], device="cpu").predict(image)
    scaled = resize(image, (64, 96)) * 255.0
    with torch.no_grad():
        *_, rim = networks["rim"](torch.from_numpy(scaled.astype(np.float32)[None]).permute(0, 3, 1, 2))
    expected = np.clip(resize(rim.numpy()[0, 0], image.shape[:2]), 0, 1)
    assert (np.abs(ours - expected) < 1e-3).mean() > 0.99
    assert ours.min() >= 0
    assert ours.max() <= 1


def test_batches_of_mixed_sizes_keep_their_order(networks: dict[str, GFM]) -> None:
    images = [picture(130, 100), picture(97, 140), picture(130, 100)[:, ::-1].copy()]
    predictor = GFMPredictor(networks["ft"], "gfm-r34-ft", device="cpu")
    together = predictor.predict_batch(images)
    for image, mask in zip(images, together, strict=True):
        assert mask.shape == image.shape[:2]
        assert (np.abs(mask - predictor.predict(image)) < 1e-3).mean() > 0.99


def test_tiny_pictures_work(networks: dict[str, GFM]) -> None:
    assert GFMPredictor(networks["bt"], "gfm-r34-bt", device="cpu").predict(picture(20, 50)).shape == (20, 50)


def test_photographs_are_shrunk_first(networks: dict[str, GFM]) -> None:
    predictor = GFMPredictor(networks["bt"], "gfm-r34-bt", device="cpu", short_side=64)
    image = picture(240, 160)
    expected = GFMPredictor(networks["bt"], "gfm-r34-bt", device="cpu").predict(
        cv2.resize(image, (64, 96), interpolation=cv2.INTER_LINEAR)
    )
    mask = predictor.predict(image)
    assert mask.shape == (240, 160)
    assert np.abs(mask - resize(expected, (240, 160))).max() < 1e-3


@pytest.mark.parametrize(
    ("height", "width", "ratio", "expected"),
    [
        (1080, 1440, 1 / 2, (512, 704)),
        (1080, 1440, 1 / 3, (352, 480)),
        (4000, 3000, 1 / 2, (1600, 1472)),
        (50, 97, 1 / 3, (32, 32)),
    ],
)
def test_working_size(height: int, width: int, ratio: float, expected: tuple[int, int]) -> None:
    assert working_size(height, width, ratio) == expected


def test_combination_rules() -> None:
    classes = np.array([0, 128 / 255, 1, 0.999], np.float32)
    focus = np.full(4, 0.25, np.float32)
    assert combine(classes, focus, "tt").tolist() == [0, 0.25, 1, 0.25]
    assert combine(classes, focus, "ft")[[0, 2]].tolist() == [0.25, 1]
    assert combine(classes, focus, "bt")[[0, 2]].tolist() == [0, 0.75]


def test_unknown_strategy_is_refused(networks: dict[str, GFM]) -> None:
    with pytest.raises(BadOption, match="hybrid or resize"):
        GFMPredictor(networks["ft"], "gfm-r34-ft", device="cpu", strategy="tiles")
