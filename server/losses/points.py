"""Mask losses on sampled points instead of whole maps (PointRend, Kirillov et al., CVPR 2020, sec. 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

POINTS = 12_544
OVERSAMPLE = 3
IMPORTANT_SHARE = 0.75


def sample(maps: Tensor, points: Tensor) -> Tensor:
    """(M, H, W) maps at (M, P, 2) relative positions x, y -> (M, P), bilinear, zero outside."""
    grid = (2 * points - 1)[:, None]
    sampled = F.grid_sample(maps[:, None].float(), grid.float(), mode="bilinear", align_corners=False)
    return sampled[:, 0, 0]


def random_points(masks: int, count: int, device: torch.device, generator: torch.Generator | None) -> Tensor:
    """(masks, count, 2) uniform in [0, 1]."""
    return torch.rand(masks, count, 2, device=device, generator=generator)


@torch.no_grad()
def uncertain_points(logits: Tensor, count: int, generator: torch.Generator | None = None) -> Tensor:
    """(M, count, 2): three quarters where |logit| is least among three times as many, the rest uniform."""
    masks, important = len(logits), int(IMPORTANT_SHARE * count)
    candidates = random_points(masks, OVERSAMPLE * count, logits.device, generator)
    nearest = sample(logits, candidates).abs().topk(important, dim=1, largest=False).indices
    chosen = candidates.gather(1, nearest[..., None].expand(-1, -1, 2))
    return torch.cat((chosen, random_points(masks, count - important, logits.device, generator)), 1)


def point_bce(logits: Tensor, labels: Tensor) -> Tensor:
    """(M, P) logits and labels -> (M,) mean BCE a mask."""
    return F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1)


def point_dice(logits: Tensor, labels: Tensor) -> Tensor:
    """(M, P) -> (M,) 1 - (2 sum pt + 1) / (sum p + sum t + 1)."""
    p = logits.sigmoid()
    return 1 - (2 * (p * labels).sum(1) + 1) / (p.sum(1) + labels.sum(1) + 1)
