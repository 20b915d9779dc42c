"""MobileNetV3-Large (Howard et al., ICCV 2019) in torchvision's parameter layout."""

from __future__ import annotations

from typing import NamedTuple, cast

from torch import Tensor, nn
from torch.nn import functional as F

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Normalisation of RGB in [0, 1]."""

TAP_CHANNELS = (16, 24, 40, 112, 160)
"""Channels of the five maps of :meth:`MobileNetV3Encoder.forward`, at strides 2, 4, 8, 16, 32."""

_TAPS = (1, 3, 6, 12, 15)


class _Row(NamedTuple):
    """A row of the paper's Table 1: kernel, expanded width, output width, squeeze-excite, hard-swish, stride."""

    kernel: int
    hidden: int
    channels: int
    excite: bool
    swish: bool
    stride: int


_TABLE = (
    _Row(3, 16, 16, False, False, 1),
    _Row(3, 64, 24, False, False, 2),
    _Row(3, 72, 24, False, False, 1),
    _Row(5, 72, 40, True, False, 2),
    _Row(5, 120, 40, True, False, 1),
    _Row(5, 120, 40, True, False, 1),
    _Row(3, 240, 80, False, True, 2),
    _Row(3, 200, 80, False, True, 1),
    _Row(3, 184, 80, False, True, 1),
    _Row(3, 184, 80, False, True, 1),
    _Row(3, 480, 112, True, True, 1),
    _Row(3, 672, 112, True, True, 1),
    _Row(5, 672, 160, True, True, 2),
    _Row(5, 960, 160, True, True, 1),
    _Row(5, 960, 160, True, True, 1),
)


def _conv_bn(
    channels: int,
    width: int,
    kernel: int,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    activation: type[nn.Module] | None = None,
) -> nn.Sequential:
    padding = (kernel - 1) // 2 * dilation
    layers: list[nn.Module] = [
        nn.Conv2d(channels, width, kernel, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(width, eps=1e-3, momentum=0.01),
    ]
    return nn.Sequential(*layers, *([activation()] if activation else []))


class SqueezeExcite(nn.Module):
    """Channel gates from the mean of the map, hidden width a quarter rounded to a multiple of 8."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(8, (channels // 4 + 4) // 8 * 8)
        if hidden < 0.9 * (channels // 4):
            hidden += 8
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gates = self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True))))
        return x * F.hardsigmoid(gates)


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, squeeze-excite, linear projection; identity skip where the shape allows."""

    def __init__(self, channels: int, row: _Row, stride: int, dilation: int) -> None:
        super().__init__()
        activation: type[nn.Module] = nn.Hardswish if row.swish else nn.ReLU
        layers: list[nn.Module] = []
        if row.hidden != channels:
            layers.append(_conv_bn(channels, row.hidden, 1, activation=activation))
        layers.append(_conv_bn(row.hidden, row.hidden, row.kernel, stride, dilation, row.hidden, activation))
        if row.excite:
            layers.append(SqueezeExcite(row.hidden))
        layers.append(_conv_bn(row.hidden, row.channels, 1))
        self.block = nn.Sequential(*layers)
        self.skip = row.stride == 1 and channels == row.channels

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block(x)
        return x + out if self.skip else out


class MobileNetV3Encoder(nn.Module):
    """``features.0`` to ``features.15``. ``output_stride`` 8 or 16 keeps the finer grid and dilates instead."""

    def __init__(self, in_channels: int = 3, output_stride: int = 32) -> None:
        super().__init__()
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride is {output_stride}; use 8, 16 or 32")
        layers: list[nn.Module] = [_conv_bn(in_channels, 16, 3, stride=2, activation=nn.Hardswish)]
        channels, reached, dilation = 16, 2, 1
        for row in _TABLE:
            # A convolution that would have strided still reads the grid before it, so it keeps that grid's dilation.
            stride, own_dilation = row.stride, dilation
            if stride == 2 and reached == output_stride:
                stride, dilation = 1, dilation * 2
            reached *= stride
            layers.append(InvertedResidual(channels, row, stride, own_dilation))
            channels = row.channels
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Normalised RGB Nx3xHxW -> maps of 16, 24, 40, 112, 160 channels at strides 2, 4, 8, 16, 32.

        Strides are capped by ``output_stride``.
        """
        taps: list[Tensor] = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in _TAPS:
                taps.append(x)
        return taps


class MobileNetV3Large(MobileNetV3Encoder):
    """The whole classifier: the encoder, ``features.16`` and ``classifier``."""

    def __init__(self) -> None:
        super().__init__()
        self.features.append(_conv_bn(160, 960, 1, activation=nn.Hardswish))
        self.classifier = nn.Sequential(nn.Linear(960, 1280), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(1280, 1000))

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Normalised RGB Nx3x224x224 -> logits Nx1000."""
        return cast(Tensor, self.classifier(self.features(x).mean((2, 3))))
