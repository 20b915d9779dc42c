"""Segment Anything's ViT-B image encoder (Kirillov et al., ICCV 2023; Li et al., ECCV 2022), in SAM's layout."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from server.networks.windows import join_windows, split_windows

PATCH = 16
WINDOW = 14
GLOBAL_EVERY = 3
"""Every third block attends over the whole map, the others within windows."""
EMBEDDING = 256


class LayerNorm2d(nn.Module):
    """Normalises the channels of each pixel of (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        channels_last = x.permute(0, 2, 3, 1)
        return F.layer_norm(channels_last, self.weight.shape, self.weight, self.bias, 1e-6).permute(0, 3, 1, 2)


def neck(channels: int) -> nn.Sequential:
    """(N, channels, H, W) -> (N, 256, H, W), the same for SAM and MobileSAM."""
    return nn.Sequential(
        nn.Conv2d(channels, EMBEDDING, 1, bias=False),
        LayerNorm2d(EMBEDDING),
        nn.Conv2d(EMBEDDING, EMBEDDING, 3, padding=1, bias=False),
        LayerNorm2d(EMBEDDING),
    )


class PatchEmbed(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> tokens (N, H/16, W/16, width)."""
        tokens: Tensor = self.proj(x).permute(0, 2, 3, 1)
        return tokens


class Attention(nn.Module):
    """Attention over a square of ``size`` x ``size`` tokens with decomposed relative positions. (B, T, C) -> (B, T, C)."""

    def __init__(self, width: int, heads: int, size: int) -> None:
        super().__init__()
        self.heads, self.size = heads, size
        self.qkv = nn.Linear(width, width * 3)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * size - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * size - 1, width // heads))

    def _positions(self, q: Tensor) -> Tensor:
        """What the UNSCALED queries (B, heads, T, c) add to the logits: (B, heads, T, T)."""
        batch, size = q.shape[0], self.size
        along = torch.arange(size, device=q.device)
        distance = along[:, None] - along + size - 1
        vertical, horizontal = self.rel_pos_h[distance].to(q.dtype), self.rel_pos_w[distance].to(q.dtype)
        grid = q.reshape(batch * self.heads, size, size, -1)
        rows = grid @ vertical.transpose(1, 2)
        columns = (grid.transpose(1, 2) @ horizontal.transpose(1, 2)).transpose(1, 2)
        tokens = size * size
        rows = rows.reshape(batch * self.heads, tokens, size, 1)
        columns = columns.reshape(batch * self.heads, tokens, 1, size)
        return (rows + columns).reshape(batch, self.heads, tokens, tokens)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        q, k, v = (
            part.reshape(batch, tokens, self.heads, width // self.heads).transpose(1, 2)
            for part in self.qkv(x).split(width, -1)
        )
        out = F.scaled_dot_product_attention(q, k, v, self._positions(q))
        return cast(Tensor, self.proj(out.transpose(1, 2).reshape(batch, tokens, width)))


class MLP(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, width * 4)
        self.lin2 = nn.Linear(width * 4, width)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.lin2(F.gelu(self.lin1(x))))


class Block(nn.Module):
    """Tokens (N, S, S, C) -> (N, S, S, C). Windows are padded after the normalisation."""

    def __init__(self, width: int, heads: int, size: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads, window or size)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MLP(width)

    def forward(self, x: Tensor) -> Tensor:
        height, width = int(x.shape[1]), int(x.shape[2])
        window = self.window or height
        attended = self.attn(split_windows(self.norm1(x), window))
        x = x + join_windows(attended, window, height, width)
        return x + cast(Tensor, self.mlp(self.norm2(x)))


class SAMViT(nn.Module):
    """Normalised RGB Nx3xSxS of the one size that it was built for -> Nx256xS/16xS/16. The defaults are ViT-B."""

    def __init__(self, image_size: int = 1024, width: int = 768, depth: int = 12, heads: int = 12) -> None:
        super().__init__()
        size = image_size // PATCH
        self.image_size = image_size
        self.patch_embed = PatchEmbed(width)
        self.pos_embed = nn.Parameter(torch.zeros(1, size, size, width))
        self.blocks = nn.Sequential(
            *(
                Block(width, heads, size, 0 if index % GLOBAL_EVERY == GLOBAL_EVERY - 1 else WINDOW)
                for index in range(depth)
            )
        )
        self.neck = neck(width)

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[2:]) != (self.image_size, self.image_size):
            raise ValueError(
                f"this SAM encoder takes {self.image_size}x{self.image_size}, not {x.shape[2]}x{x.shape[3]}: "
                "resize the picture first, as the network's predictor does"
            )
        tokens = self.blocks(self.patch_embed(x) + self.pos_embed)
        return cast(Tensor, self.neck(tokens.permute(0, 3, 1, 2)))
