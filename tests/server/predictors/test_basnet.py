"""BASNet's predictor against the steps of the official script, written out with the libraries it uses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.transform import resize

from server.networks.basnet import BASNet
from server.predictors import open_predictor
from server.predictors.basnet import BASNetPredictor
from server.segmenter import RGB
from tests.server.networks.base import one_thread
from tests.server.networks.formula import fill

__all__ = ["one_thread"]


@pytest.fixture(scope="module")
def network() -> BASNet:
    network = BASNet()
    fill(network, 0.8)
    return network.eval()


@pytest.fixture(scope="module")
def predictor(network: BASNet) -> BASNetPredictor:
    opened = open_predictor("basnet", network, device="cpu")
    assert isinstance(opened, BASNetPredictor)
    opened.size = (64, 64)  # takes a sixteenth of the time
    return opened


def picture(height: int = 90, width: int = 130, brightest: int = 180) -> RGB:
    return np.random.default_rng(4).integers(0, brightest, (height, width, 3), np.uint8)


def script_input(image: RGB, size: tuple[int, int]) -> np.ndarray:
    small = resize(image, size, order=1)  # float64 in [0, 1]
    small = small / small.max()
    return ((small - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)).transpose(2, 0, 1)


def test_input_is_the_scripts(predictor: BASNetPredictor) -> None:
    image = picture()
    assert np.abs(predictor.prepare(image) - script_input(image, (64, 64))).max() < 1e-5


def test_averaging_large_photos_first_changes_little(predictor: BASNetPredictor) -> None:
    photo = np.asarray(Image.fromarray(picture(9, 13)).resize((1300, 900), Image.Resampling.BICUBIC))
    assert np.abs(predictor.prepare(photo) - script_input(photo, (64, 64))).mean() < 0.02  # in standard deviations


def test_released_weights_are_for_256() -> None:
    assert BASNetPredictor.size == (256, 256)


def test_brightness_does_not_matter(predictor: BASNetPredictor) -> None:
    """The per-image maximum: a picture half as bright is the same picture."""
    image = picture(brightest=120) // 2 * 2
    assert np.allclose(predictor.prepare(image), predictor.prepare(image // 2), atol=1e-5)


def test_black_picture_is_not_divided_by_zero(predictor: BASNetPredictor) -> None:
    black = np.zeros((70, 50, 3), np.uint8)
    assert np.isfinite(predictor.prepare(black)).all()
    assert np.isfinite(predictor.predict(black)).all()


def test_probability_is_raw_and_official_map_is_stretched(predictor: BASNetPredictor, network: BASNet) -> None:
    image = picture()
    x = torch.from_numpy(script_input(image, (64, 64))[None].astype(np.float32))
    with torch.inference_mode():
        refined = network(x)[0][0, 0]
    script = (refined - refined.min()) / (refined.max() - refined.min())
    saved = Image.fromarray(script.numpy() * 255).convert("RGB").resize((130, 90), Image.Resampling.BILINEAR)
    official = predictor.official_map(image).astype(int)
    assert np.abs(official - np.asarray(saved)[:, :, 0]).max() <= 1
    assert (official == np.asarray(saved)[:, :, 0]).mean() > 0.99

    raw = predictor.predict(image)
    assert raw.shape == (90, 130)
    expected = np.asarray(Image.fromarray(refined.numpy()).resize((130, 90), Image.Resampling.BILINEAR))
    assert np.abs(raw - expected).max() < 1e-4


def test_flat_map_stays_black() -> None:
    assert (BASNetPredictor.stretched(np.full((8, 8), 0.7, np.float32), 20, 30) == 0).all()


def test_bf16_is_close(network: BASNet) -> None:
    def predict(precision: str) -> np.ndarray:
        predictor = BASNetPredictor(network, "basnet", device="cpu", precision=precision)
        predictor.size = (64, 64)
        return predictor.predict(picture())

    assert float(np.abs(predict("bf16") - predict("fp32")).mean()) < 0.02


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_cuda_is_close_to_the_cpu(network: BASNet, precision: str) -> None:
    cpu = BASNetPredictor(network, "basnet", device="cpu").predict(picture())
    cuda = BASNetPredictor(network, "basnet", device="cuda", precision=precision).predict(picture())
    assert float(np.abs(cpu - cuda).mean()) < (1e-3 if precision == "fp32" else 0.02)
