"""DenseNet-121 in torchvision's parameter layout (Huang et al., CVPR 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DenseLayer(nn.Module):
    """BN ReLU conv1x1, BN ReLU conv3x3: (N, C, H, W) -> (N, growth, H, W), the features to append."""

    def __init__(self, channels: int, growth: int = 32, bottleneck: int = 4) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, bottleneck * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(bottleneck * growth)
        self.conv2 = nn.Conv2d(bottleneck * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(F.relu(self.norm1(x)))
        new: Tensor = self.conv2(F.relu(self.norm2(x)))
        return new


class DenseBlock(nn.Module):
    """``denselayer1..n``, each fed by everything before it: (N, C, H, W) -> (N, C + n * growth, H, W)."""

    def __init__(self, channels: int, layers: int, growth: int = 32) -> None:
        super().__init__()
        for index in range(layers):
            self.add_module(f"denselayer{index + 1}", DenseLayer(channels + index * growth, growth))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = torch.cat((x, layer(x)), 1)
        return x


class Transition(nn.Module):
    """BN ReLU conv1x1, mean over 2x2: (N, C, H, W) -> (N, C/2, H/2, W/2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.conv(F.relu(self.norm(x))), 2, 2)


class DenseNet(nn.Module):
    """``features`` (conv0, norm0, denseblock1, transition1 .. denseblock4, norm5) and ``classifier``."""

    def __init__(self, blocks: Sequence[int], classes: int = 1000) -> None:
        super().__init__()
        self.features = nn.Module()
        self.features.conv0 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.features.norm0 = nn.BatchNorm2d(64)
        channels = 64
        for stage, layers in enumerate(blocks, 1):
            self.features.add_module(f"denseblock{stage}", DenseBlock(channels, layers))
            channels += 32 * layers
            if stage < len(blocks):
                self.features.add_module(f"transition{stage}", Transition(channels))
                channels //= 2
        self.features.norm5 = nn.BatchNorm2d(channels)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W), ImageNet mean and deviation removed -> logits (N, classes)."""
        stages = dict(self.features.named_children())
        x = F.max_pool2d(F.relu(stages.pop("norm0")(stages.pop("conv0")(x))), 3, 2, 1)
        for stage in stages.values():
            x = stage(x)
        scores: Tensor = self.classifier(torch.mean(F.relu(x), (2, 3)))
        return scores


def densenet121() -> DenseNet:
    return DenseNet((6, 12, 24, 16))
