"""The query decoder: nine DETR layers with box-guided deformable attention (MaskDINO, Li et al., CVPR 2023)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH = 256
HEADS = 8
LEVELS = 3
POINTS = 4
LAYERS = 9


class MLP(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return cast(Tensor, self.layers[-1](x))


def inverse_sigmoid(x: Tensor, eps: float = 1e-5) -> Tensor:
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))


def sine_embedding(boxes: Tensor) -> Tensor:
    """Relative boxes (N, Q, 4: x, y, w, h) -> (N, Q, 512): y, x, w, h, each 128 sines and cosines in turn."""
    index = torch.arange(64, device=boxes.device, dtype=boxes.dtype)
    frequency = 2 * math.pi / 10000 ** (index / 64)
    parts = []
    for coordinate in (1, 0, 2, 3):
        angle = boxes[..., coordinate, None] * frequency
        parts.append(torch.stack((angle.sin(), angle.cos()), -1).flatten(2))
    return torch.cat(parts, -1)


class DeformableAttention(nn.Module):
    """Each head of each query samples four points around its box on each of three maps (Zhu et al., ICLR 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.sampling_offsets = nn.Linear(WIDTH, HEADS * LEVELS * POINTS * 2)
        self.attention_weights = nn.Linear(WIDTH, HEADS * LEVELS * POINTS)
        self.value_proj = nn.Linear(WIDTH, WIDTH)
        self.output_proj = nn.Linear(WIDTH, WIDTH)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Heads look in eight directions, points at growing distance, all with equal weight."""
        angle = torch.arange(HEADS) * (2 * math.pi / HEADS)
        direction = torch.stack((angle.cos(), angle.sin()), -1)
        direction = direction / direction.abs().amax(-1, keepdim=True)
        reach = torch.arange(1, POINTS + 1).repeat(LEVELS)
        nn.init.zeros_(self.sampling_offsets.weight)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_((direction[:, None] * reach[None, :, None]).flatten())
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)

    def forward(self, query: Tensor, boxes: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """query (N, Q, 256), boxes (N, Q, 4) relative centre and size, maps (N, 256, h, w) -> (N, Q, 256)."""
        batch, queries = query.shape[:2]

        def by_head(x: Tensor) -> Tensor:
            """(N, Q, HEADS * k) -> (N * HEADS, Q, k)."""
            return x.reshape(batch, queries, HEADS, -1).transpose(1, 2).reshape(batch * HEADS, queries, -1)

        offsets = by_head(self.sampling_offsets(query).float()).chunk(LEVELS, -1)
        weights = by_head(self.attention_weights(query)).float().softmax(-1).chunk(LEVELS, -1)
        anchors = boxes.float().repeat_interleave(HEADS, 0).unsqueeze(2)
        centre, reach = anchors[..., :2], anchors[..., 2:] * (0.5 / POINTS)
        levels = []
        for offset, weight, feature in zip(offsets, weights, maps, strict=True):
            height, width = int(feature.shape[2]), int(feature.shape[3])
            value = self.value_proj(feature.flatten(2).transpose(1, 2)).transpose(1, 2)
            value = value.reshape(batch * HEADS, WIDTH // HEADS, height, width).float()
            position = centre + offset.reshape(batch * HEADS, queries, POINTS, 2) * reach
            # In float32: at half precision a position would be off by cells.
            sampled = F.grid_sample(value, position * 2 - 1, "bilinear", "zeros", align_corners=False)
            levels.append((sampled * weight.unsqueeze(1)).sum(-1))
        first, second, third = levels
        mixed = (first + second + third).reshape(batch, WIDTH, queries).transpose(1, 2).to(query.dtype)
        return cast(Tensor, self.output_proj(mixed))


class SelfAttention(nn.Module):
    """``nn.MultiheadAttention``'s parameters; queries and keys carry the position, values do not."""

    def __init__(self) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(3 * WIDTH, WIDTH)))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * WIDTH))
        self.out_proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        batch, queries = x.shape[:2]
        where = x + position
        q, k, v = (
            F.linear(source, weight, bias).reshape(batch, queries, HEADS, -1).transpose(1, 2)
            for source, weight, bias in zip(
                (where, where, x), self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3), strict=True
            )
        )
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, queries, WIDTH)
        return cast(Tensor, self.out_proj(out))


class DecoderLayer(nn.Module):
    """Self-attention, deformable cross-attention, feed-forward; each added, then normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.cross_attn = DeformableAttention()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.self_attn = SelfAttention()
        self.norm2 = nn.LayerNorm(WIDTH)
        self.linear1 = nn.Linear(WIDTH, 2048)
        self.linear2 = nn.Linear(2048, WIDTH)
        self.norm3 = nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor, position: Tensor, boxes: Tensor, maps: Sequence[Tensor]) -> Tensor:
        x = self.norm2(x + self.self_attn(x, position))
        x = self.norm1(x + self.cross_attn(x + position, boxes, maps))
        return cast(Tensor, self.norm3(x + self.linear2(F.relu(self.linear1(x)))))


class Decoder(nn.Module):
    """Nine layers; one box MLP, shared by all, moves each query's box after each layer."""

    def __init__(self, bbox_embed: nn.ModuleList, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer() for _ in range(LAYERS))
        self.norm = norm
        self.ref_point_head = MLP((2 * WIDTH, WIDTH, WIDTH))
        self.bbox_embed = bbox_embed

    def forward(self, queries: Tensor, boxes: Tensor, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """queries (N, Q, 256), boxes (N, Q, 4) -> each layer's normalised queries and predicted boxes.

        A predicted box comes from the normalised query and the box that the layer looked at; the box that the next layer
        looks at comes from the query before the normalisation, and carries no gradient.
        """
        outputs, predicted = [], []
        for layer, bbox_embed in zip(self.layers, self.bbox_embed, strict=True):
            position = self.ref_point_head(sine_embedding(boxes).to(queries.dtype))
            queries = layer(queries, position, boxes, maps)
            outputs.append(self.norm(queries))
            before = inverse_sigmoid(boxes)
            predicted.append(torch.sigmoid(bbox_embed(outputs[-1]).float() + before))
            boxes = torch.sigmoid(bbox_embed(queries).float() + before).detach()
        return outputs, predicted
