"""``lite``: the embedded default. EfficientNet-Lite0 and a light decoder; of our own design, for phones and small CPUs.

Encoder maps at strides 2 to 32; pooled context (bins 1, 2, 4) and two large-kernel residual blocks on the last one, so
that every cell sees the whole picture; four upsampling steps that join the encoder's maps; a side map at every scale
for deep supervision. Only plain convolutions, ReLU6 and bilinear x2: it quantises and exports everywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from server.networks.backbones.efficientnet_lite0 import TAP_CHANNELS, EfficientNetLite0Encoder, load_imagenet
from server.networks.resampling import adaptive_mean_pool, require_multiple

TOP_WIDTH = 160
POOL_BINS = (1, 2, 4)
POOL_WIDTH = 40
STEP_WIDTHS = (128, 80, 48, 24)
NARROW = (96, 48, 24, 16)
"""Widths at strides 16, 8, 4, 2."""


def _conv(channels_in: int, channels_out: int, kernel: int = 1, groups: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels_out),
    ]


def _separable(channels_in: int, channels_out: int, kernel: int) -> list[nn.Module]:
    """Depthwise then pointwise convolution, each with batch normalisation; ReLU6 at the end only."""
    return [
        *_conv(channels_in, channels_in, kernel, groups=channels_in),
        *_conv(channels_in, channels_out),
        nn.ReLU6(),
    ]


class LargeKernelBlock(nn.Module):
    """Residual: depthwise 7x7, then a pointwise bottleneck of twice the width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_conv(channels, channels, 7, groups=channels),
            *_conv(channels, 2 * channels),
            nn.ReLU6(),
            *_conv(2 * channels, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


class Context(nn.Module):
    """The last encoder map with its means over 1, 4 and 16 parts of the picture."""

    def __init__(self, channels_in: int, width: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(*_conv(channels_in, width), nn.ReLU6())
        self.pools = nn.ModuleList(nn.Conv2d(width, POOL_WIDTH, 1) for _ in POOL_BINS)
        self.fuse = nn.Sequential(*_conv(width + POOL_WIDTH * len(POOL_BINS), width), nn.ReLU6())
        self.blocks = nn.Sequential(LargeKernelBlock(width), LargeKernelBlock(width))

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        size = (int(x.shape[-2]), int(x.shape[-1]))
        parts = [x]
        for bins, pool in zip(POOL_BINS, self.pools, strict=True):
            pooled = F.relu6(pool(adaptive_mean_pool(x, bins)))
            parts.append(F.interpolate(pooled, size, mode="bilinear", align_corners=False))
        out: Tensor = self.blocks(self.fuse(torch.cat(parts, 1)))
        return out


class UpStep(nn.Module):
    """Narrowed and enlarged x2, joined with the encoder's narrowed map of that stride, then convolutions.

    Narrowing comes first because it commutes with bilinear enlargement and costs a quarter there.
    """

    def __init__(self, channels_in: int, tap: int, narrow: int, width: int, convolutions: list[nn.Module]) -> None:
        super().__init__()
        self.narrow = nn.Sequential(*_conv(channels_in, narrow))
        self.skip = nn.Sequential(*_conv(tap, narrow))
        self.body = nn.Sequential(nn.ReLU6(), *convolutions)

    def forward(self, x: Tensor, tap: Tensor) -> Tensor:
        x = F.interpolate(self.narrow(x), scale_factor=2, mode="bilinear", align_corners=False)
        out: Tensor = self.body(torch.cat([x, self.skip(tap)], 1))
        return out


class Lite(nn.Module):
    """See the module's docstring. ``encoder`` keeps EfficientNet-Lite0's names."""

    divisor = 32

    def __init__(self) -> None:
        super().__init__()
        self.encoder = EfficientNetLite0Encoder()
        self.context = Context(TAP_CHANNELS[-1], TOP_WIDTH)
        bodies: list[list[nn.Module]] = [
            [*_conv(2 * NARROW[0], STEP_WIDTHS[0], 3), nn.ReLU6(), *_separable(STEP_WIDTHS[0], STEP_WIDTHS[0], 3)],
            [*_separable(2 * NARROW[1], STEP_WIDTHS[1], 5), *_separable(STEP_WIDTHS[1], STEP_WIDTHS[1], 5)],
            [*_separable(2 * NARROW[2], STEP_WIDTHS[2], 5), *_separable(STEP_WIDTHS[2], STEP_WIDTHS[2], 3)],
            _separable(2 * NARROW[3], STEP_WIDTHS[3], 3),
        ]
        steps: list[nn.Module] = []
        heads: list[nn.Module] = [nn.Conv2d(TOP_WIDTH, 1, 1)]
        channels = TOP_WIDTH
        for tap, narrow, width, body in zip(TAP_CHANNELS[-2::-1], NARROW, STEP_WIDTHS, bodies, strict=True):
            steps.append(UpStep(channels, tap, narrow, width, body))
            heads.append(nn.Conv2d(width, 1, 1))
            channels = width
        self.steps = nn.ModuleList(steps)
        self.heads = nn.ModuleList(heads)
        for module in [self.context, self.steps, self.heads]:
            for part in module.modules():
                if isinstance(part, nn.Conv2d):
                    nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
                    if part.bias is not None:
                        nn.init.zeros_(part.bias)

    def load_encoder(self) -> None:
        """ImageNet weights for the encoder. Raises ModelUnavailable where their package is missing."""
        load_imagenet(self.encoder)

    def freeze_encoder(self, blocks: int) -> None:
        """Keep the stem and the first ``blocks`` blocks as they are, batch statistics included, from now on."""
        frozen = [self.encoder._bn0, *list(self.encoder._blocks)[:blocks]]
        for module in [self.encoder._conv_stem, *frozen]:
            module.requires_grad_(False)
        for module in frozen:
            module.eval()

    def logits(self, x: Tensor) -> tuple[Tensor, ...]:
        """Normalised RGB Nx3xHxW -> logits Nx1 at strides 2, 4, 8, 16, 32, finest first."""
        require_multiple(x, self.divisor, "lite")
        taps = self.encoder(x)
        features = self.context(taps.pop())
        maps = [self.heads[0](features)]
        for step, head in zip(self.steps, list(self.heads)[1:], strict=True):
            features = step(features, taps.pop())
            maps.append(head(features))
        return tuple(reversed(maps))

    def forward(self, x: Tensor) -> Tensor:
        """Normalised RGB Nx3xHxW ((x - 127) / 128 of 0..255) -> saliency Nx1xHxW in [0, 1]."""
        finest = self._finest(x)
        return torch.sigmoid(F.interpolate(finest, scale_factor=2, mode="bilinear", align_corners=False))

    def _finest(self, x: Tensor) -> Tensor:
        require_multiple(x, self.divisor, "lite")
        taps = self.encoder(x)
        features = self.context(taps.pop())
        for step in self.steps:
            features = step(features, taps.pop())
        finest: Tensor = self.heads[-1](features)
        return finest


def lite() -> Lite:
    return Lite()
