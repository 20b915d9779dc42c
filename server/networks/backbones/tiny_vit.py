"""TinyViT-5M (Wu et al., ECCV 2022) as MobileSAM's image encoder (Zhang et al., 2023), in MobileSAM's layout.

Its classification head is left out: ``image_encoder.norm_head`` and ``image_encoder.head`` of a MobileSAM file are unused.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from server.networks.backbones.sam_vit import neck
from server.networks.resampling import require_multiple
from server.networks.windows import join_windows, split_windows

WIDTHS = (64, 128, 160, 320)
DEPTHS = (2, 2, 6, 2)
WINDOWS = (7, 7, 14, 7)
HEAD_DIM = 32


class ConvBN(nn.Module):
    """Convolution without bias, then batch normalisation."""

    def __init__(self, channels: int, width: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(channels, width, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.bn(self.c(x)))


class PatchEmbed(nn.Module):
    """RGB -> 64 channels at stride 4."""

    def __init__(self) -> None:
        super().__init__()
        self.seq = nn.Sequential(ConvBN(3, 32, 3, 2), nn.GELU(), ConvBN(32, WIDTHS[0], 3, 2))

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.seq(x))


class MBConv(nn.Module):
    """Inverted residual of expansion 4; the last activation comes after the addition."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvBN(channels, channels * 4)
        self.conv2 = ConvBN(channels * 4, channels * 4, 3, groups=channels * 4)
        self.conv3 = ConvBN(channels * 4, channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x + self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x))))))


class PatchMerging(nn.Module):
    """Halves the map, except before the last stage, which SAM wants at stride 16."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = ConvBN(channels, width)
        self.conv2 = ConvBN(width, width, 3, 1 if width == WIDTHS[-1] else 2, groups=width)
        self.conv3 = ConvBN(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x))))))


class Attention(nn.Module):
    """Attention within a window, with a learned bias for each |dy|, |dx|. (B, T, C) -> (B, T, C)."""

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = channels // HEAD_DIM, window
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, channels * 3)
        self.proj = nn.Linear(channels, channels)
        self.attention_biases = nn.Parameter(torch.zeros(self.heads, window * window))

    def _bias(self) -> Tensor:
        """(heads, T, T)."""
        along = torch.arange(self.window, device=self.attention_biases.device)
        y, x = along.repeat_interleave(self.window), along.repeat(self.window)
        index = (y[:, None] - y).abs() * self.window + (x[:, None] - x).abs()
        return self.attention_biases[:, index]

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, channels = x.shape
        # Rows are head-major: 32 of q, of k, of v for each head.
        qkv = self.qkv(self.norm(x)).reshape(batch, tokens, self.heads, 3 * HEAD_DIM).transpose(1, 2)
        q, k, v = qkv.split(HEAD_DIM, -1)
        out = F.scaled_dot_product_attention(q, k, v, self._bias().to(q.dtype))
        return cast(Tensor, self.proj(out.transpose(1, 2).reshape(batch, tokens, channels)))


class MLP(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.fc1 = nn.Linear(channels, channels * 4)
        self.fc2 = nn.Linear(channels * 4, channels)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.fc2(F.gelu(self.fc1(self.norm(x)))))


class Block(nn.Module):
    """Window attention, a depthwise convolution that replaces the map, and an MLP. (N, C, H, W) -> (N, C, H, W).

    Windows are padded before the normalisation, so padding is attended to as the normalisation's bias.
    """

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        self.attn = Attention(channels, window)
        self.local_conv = ConvBN(channels, channels, 3, groups=channels)
        self.mlp = MLP(channels)

    def forward(self, x: Tensor) -> Tensor:
        height, width = int(x.shape[2]), int(x.shape[3])
        tokens = x.permute(0, 2, 3, 1)
        windows = self.attn(split_windows(tokens, self.attn.window))
        x = x + join_windows(windows, self.attn.window, height, width).permute(0, 3, 1, 2)
        x = self.local_conv(x)
        return x + self.mlp(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Stage(nn.Module):
    def __init__(self, blocks: list[nn.Module], downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(x)
        return x if self.downsample is None else self.downsample(x)


class TinyViT(nn.Module):
    """Normalised RGB Nx3xHxW, sides multiples of 16 -> Nx256xH/16xW/16, MobileSAM's image embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed()
        merges = [PatchMerging(before, after) for before, after in pairwise(WIDTHS)]
        stages = []
        for index, (width, depth, window) in enumerate(zip(WIDTHS, DEPTHS, WINDOWS, strict=True)):
            blocks: list[nn.Module] = [MBConv(width) if index == 0 else Block(width, window) for _ in range(depth)]
            stages.append(Stage(blocks, merges[index] if index < len(merges) else None))
        self.layers = nn.Sequential(*stages)
        self.neck = neck(WIDTHS[-1])

    def forward(self, x: Tensor) -> Tensor:
        require_multiple(x, 16, "TinyViT")
        return cast(Tensor, self.neck(self.layers(self.patch_embed(x))))
