"""Opening predictors by name, devices, precisions."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from server.errors import BadOption, DeviceUnavailable, UnknownModel
from server.predictors import networks_of, open_predictor
from server.predictors.base import resize_map, torch_device
from server.predictors.pgsnet import PGSNetPredictor


class Brightness(nn.Module):
    """A stand-in network: one 1x1 convolution, so every precision and batch size runs in no time."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Conv2d(3, 1, 1, bias=False)
        nn.init.constant_(self.mean.weight, 1 / 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (torch.sigmoid(self.mean(x)),)


def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for height, width in ((40, 60), (9, 500), (40, 60))]


def test_masks_have_the_pictures_sizes_and_batches_change_nothing() -> None:
    together = PGSNetPredictor(Brightness(), "pgsnet", device="cpu", batch_size=2).predict_batch(pictures())
    single = PGSNetPredictor(Brightness(), "pgsnet", device="cpu")
    for picture, mask in zip(pictures(), together, strict=True):
        assert mask.shape == picture.shape[:2]
        assert mask.dtype == np.float32
        assert mask.min() >= 0
        assert mask.max() <= 1
        assert np.allclose(mask, single.predict(picture, tap=(3, 4)), atol=1e-6)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_reduced_precision_is_close(precision: str) -> None:
    exact = PGSNetPredictor(Brightness(), "pgsnet", device="cpu").predict(pictures()[0])
    reduced = PGSNetPredictor(Brightness(), "pgsnet", device="cpu", precision=precision).predict(pictures()[0])
    assert 0 < float(np.abs(exact - reduced).max()) < 0.01


def test_networks_of_a_model() -> None:
    assert networks_of("basnet") == ("basnet",)
    with pytest.raises(UnknownModel, match="no network 'basnett'"):
        networks_of("basnett")
    with pytest.raises(ValueError, match="got 0 networks"):
        open_predictor("basnet")


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "cpu1"])
def test_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(BadOption, match=device):
        torch_device(device)


def test_missing_cuda_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(DeviceUnavailable, match="--device cpu"):
        torch_device("cuda")


def test_unknown_precision_is_refused() -> None:
    with pytest.raises(BadOption, match="int4"):
        PGSNetPredictor(Brightness(), "pgsnet", device="cpu", precision="int4")


def test_a_small_object_survives_shrinking_the_map() -> None:
    small = np.zeros((352, 352), np.float32)
    small[100, 100] = 1
    assert resize_map(small, 35, 35).sum() == pytest.approx(0.01, rel=0.2)


def test_importing_the_package_needs_no_torch() -> None:
    code = "import sys, server.predictors; sys.exit('torch' in sys.modules)"
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
