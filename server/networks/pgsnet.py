"""PGSNet: progressive glass segmentation (Yu et al., IEEE TIP 2022). No official code exists; built from the paper.

Where the text leaves a choice, its authors' earlier GDNet decides; channel widths and the number of convolutions agree
with the multiply-accumulates of the paper's table VII.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from server.networks.backbones.resnet import resnext101


def _conv(channels: int, width: int, kernel: int = 3, dilation: int = 1) -> nn.Sequential:
    """Convolution (with bias, same size), batch norm, ReLU."""
    padding = dilation * (kernel - 1) // 2
    convolution = nn.Conv2d(channels, width, kernel, padding=padding, dilation=dilation)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True))


def _separable(channels: int, width: int, kernel: int, dilation: int, *, row_first: bool) -> nn.Sequential:
    """A 1xk and a kx1 convolution, dilated along their long axis, then batch norm and ReLU."""
    padding = dilation * (kernel - 1) // 2

    def along(inputs: int, *, row: bool) -> nn.Conv2d:
        if row:
            return nn.Conv2d(inputs, width, (1, kernel), padding=(0, padding), dilation=(1, dilation))
        return nn.Conv2d(inputs, width, (kernel, 1), padding=(padding, 0), dilation=(dilation, 1))

    first, second = along(channels, row=row_first), along(width, row=not row_first)
    return nn.Sequential(first, second, nn.BatchNorm2d(width), nn.ReLU(inplace=True))


class SqueezeExcite(nn.Module):
    """Channel attention: (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, channels // reduction, bias=False)
        self.fc2 = nn.Linear(channels // reduction, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3))))))
        return x * scale[:, :, None, None]


class DiscriminabilityBranch(nn.Module):
    """Reduce, extract large fields (LFE) along two paths, fuse them (LFF), perceive context (CFP)."""

    def __init__(self, channels: int, width: int, kernel: int, dilation: int, *, follows: bool) -> None:
        super().__init__()
        self.reduce = _conv(channels, width)
        fed = 2 * width if follows else width
        self.lfe_a = _separable(fed, width, kernel, dilation, row_first=True)
        self.lfe_b = _separable(fed, width, kernel, dilation, row_first=False)
        self.lff = _conv(2 * width, width)
        self.se = SqueezeExcite(width)
        self.cfp = _conv(width, width, dilation=kernel)

    def forward(self, x: Tensor, previous: Tensor | None) -> Tensor:
        x = self.reduce(x)
        if previous is not None:
            x = torch.cat((x, previous), 1)
        x = self.se(self.lff(torch.cat((self.lfe_a(x), self.lfe_b(x)), 1)))
        context: Tensor = self.cfp(x)
        return context


class DiscriminabilityEnhancement(nn.Module):
    """DE module: four branches of growing field, each fed by the one before: (N, C, H, W) -> (N, C/4, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = channels // 4
        self.b1 = DiscriminabilityBranch(channels, width, 3, 1, follows=False)
        self.b2 = DiscriminabilityBranch(channels, width, 5, 2, follows=True)
        self.b3 = DiscriminabilityBranch(channels, width, 7, 3, follows=True)
        self.b4 = DiscriminabilityBranch(channels, width, 9, 4, follows=True)
        self.fuse = _conv(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        first = self.b1(x, None)
        second = self.b2(x, first)
        third = self.b3(x, second)
        fused: Tensor = self.fuse(torch.cat((first, second, third, self.b4(x, third)), 1))
        return fused


class FocusExploration(nn.Module):
    """FEBF module (eq. 1-5): deeper (N, Ch, h, w) and shallower (N, Cl, H, W) features -> (N, Cl, H, W).

    Focus keeps what both levels agree on, exploration what only the shallower one sees.
    """

    def __init__(self, high: int, low: int) -> None:
        super().__init__()
        self.conv_h = _conv(high, low)
        self.conv_l = _conv(low, low)
        self.focus_l = _conv(low, low)
        self.focus_h = _conv(low, low)
        self.focus = _conv(low, low)
        self.explore = _conv(low, low)
        self.out = _conv(low, low)
        self.alpha = nn.Parameter(torch.ones(1))
        self.beta = nn.Parameter(torch.ones(1))

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        size = (int(low.shape[2]), int(low.shape[3]))
        h = self.conv_h(F.interpolate(high, size=size, mode="bilinear", align_corners=True))
        l = self.conv_l(low)  # noqa: E741 - the paper's letter
        common = l * h
        focus = self.focus(self.focus_l(common + l) + self.focus_h(common + h))
        explore = self.explore(l - h)
        fused: Tensor = self.out(self.alpha * focus + self.beta * explore)
        return fused


class PGSNet(nn.Module):
    """(N, 3, H, W), ImageNet mean and deviation removed -> three maps (N, 1, H, W) in [0, 1], finest first.

    The first is the result, the others are supervised only. Any size works; 352x352 is the paper's. ``logits`` gives
    the maps before the sigmoid.
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = resnext101()
        self.de1, self.de2, self.de3, self.de4 = (DiscriminabilityEnhancement(c) for c in self.backbone.widths[1:])
        self.febf3 = FocusExploration(512, 256)
        self.febf2 = FocusExploration(256, 128)
        self.febf1 = FocusExploration(128, 64)
        self.pred3 = nn.Conv2d(256, 1, 3, padding=1)
        self.pred2 = nn.Conv2d(128, 1, 3, padding=1)
        self.pred1 = nn.Conv2d(64, 1, 3, padding=1)

    def logits(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        size = (int(x.shape[2]), int(x.shape[3]))
        _stem, c1, c2, c3, c4 = self.backbone(x)
        f3 = self.febf3(self.de4(c4), self.de3(c3))
        f2 = self.febf2(f3, self.de2(c2))
        f1 = self.febf1(f2, self.de1(c1))

        def full(logit: Tensor) -> Tensor:
            return F.interpolate(logit, size=size, mode="bilinear", align_corners=True)

        return full(self.pred1(f1)), full(self.pred2(f2)), full(self.pred3(f3))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.sigmoid(logit) for logit in self.logits(x))


def pgsnet() -> PGSNet:
    return PGSNet()
