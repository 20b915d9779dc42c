"""ResNet and ResNeXt trunks in torchvision's parameter layout (He et al., CVPR 2016; Xie et al., CVPR 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around an identity: (N, C, H, W) -> (N, width, H/stride, W/stride)."""

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int = 1, dilation: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, dilation, dilation, groups, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, 1, dilation, dilation, groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        return self.relu(x + identity)


class Bottleneck(nn.Module):
    """1x1, 3x3 (stride and groups here, torchvision's "v1.5"), 1x1: (N, C, H, W) -> (N, 4 planes, H/stride, W/stride)."""

    expansion = 4

    def __init__(
        self, channels: int, planes: int, stride: int = 1, dilation: int = 1, groups: int = 1, group_width: int = 64
    ) -> None:
        super().__init__()
        width = planes * group_width // 64 * groups
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, planes * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(channels, planes * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        return self.relu(x + identity)


def _shortcut(channels: int, width: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and channels == width:
        return None
    return nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))


def basic_layer(channels: int, width: int, blocks: int, stride: int = 1) -> nn.Sequential:
    """A ResNet-18/34 stage: ``blocks`` basic blocks, the first one with the stride."""
    first = BasicBlock(channels, width, stride)
    return nn.Sequential(first, *(BasicBlock(width, width) for _ in range(blocks - 1)))


def bottleneck_layer(
    channels: int, planes: int, blocks: int, stride: int = 1, dilation: int = 1, groups: int = 1, group_width: int = 64
) -> nn.Sequential:
    """A ResNet-50/101 stage. The first block keeps dilation 1, as CascadePSP's dilated trunk does."""
    first = Bottleneck(channels, planes, stride, 1, groups, group_width)
    width = planes * Bottleneck.expansion
    rest = (Bottleneck(width, planes, 1, dilation, groups, group_width) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)


class ResNet(nn.Module):
    """``conv1``, ``bn1``, ``layer1..4`` and, with ``classes``, ``fc``.

    ``forward`` gives five maps: the stem after its ReLU and the four stages, at strides 2, 4, 8, 16, 32 unless
    ``strides`` (of the four stages) says otherwise; ``widths`` are their channels. ``logits`` is the classifier.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        *,
        basic: bool = False,
        groups: int = 1,
        group_width: int = 64,
        strides: Sequence[int] = (1, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        channels: int = 3,
        classes: int = 0,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        width, stages = 64, []
        for planes, count, stride, dilation in zip((64, 128, 256, 512), blocks, strides, dilations, strict=True):
            if basic:
                stages.append(basic_layer(width, planes, count, stride))
                width = planes
            else:
                stages.append(bottleneck_layer(width, planes, count, stride, dilation, groups, group_width))
                width = planes * Bottleneck.expansion
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(width, classes) if classes else None
        expansion = 1 if basic else Bottleneck.expansion
        self.widths = (64, *(planes * expansion for planes in (64, 128, 256, 512)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        stem = self.relu(self.bn1(self.conv1(x)))
        c1 = self.layer1(self.maxpool(stem))
        c2 = self.layer2(c1)
        c3 = self.layer3(c2)
        return stem, c1, c2, c3, self.layer4(c3)

    def logits(self, x: Tensor) -> Tensor:
        """(N, 3, H, W), ImageNet mean and deviation removed -> (N, classes)."""
        if self.fc is None:
            raise ValueError("this trunk was built without a classifier: pass classes=1000")
        scores: Tensor = self.fc(torch.mean(self.forward(x)[-1], (2, 3)))
        return scores


def resnet34(*, classes: int = 0) -> ResNet:
    return ResNet((3, 4, 6, 3), basic=True, classes=classes)


def resnet50(
    *,
    strides: Sequence[int] = (1, 2, 2, 2),
    dilations: Sequence[int] = (1, 1, 1, 1),
    channels: int = 3,
    classes: int = 0,
) -> ResNet:
    return ResNet((3, 4, 6, 3), strides=strides, dilations=dilations, channels=channels, classes=classes)


def resnet101(*, classes: int = 0) -> ResNet:
    return ResNet((3, 4, 23, 3), classes=classes)


def resnext101(*, group_width: int = 4, classes: int = 0) -> ResNet:
    """ResNeXt-101 of cardinality 32: PGSNet's is 32x4d, torchvision ships 32x8d."""
    return ResNet((3, 4, 23, 3), groups=32, group_width=group_width, classes=classes)
