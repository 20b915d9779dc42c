"""MeticulousNet's losses (Yang et al., 2020, sec. 4.4) for the low- and the high-resolution network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from server.losses.terms import binary_cross_entropy

BLOCKS = ("s8_0", "s8_1", "s8_2", "s4_2", "s8_3", "s4_3", "s2_3")
GRADIENT_WEIGHT = 5.0
# (BCE, L1, L2) by the stride of the block
_H_WEIGHTS = {"s8": (1.0, 1.0, 1.0), "s4": (0.5, 0.25, 0.25), "s2": (0.0, 1.0, 1.0)}


def meticulous_l_loss(maps: Sequence[Tensor], target: Tensor) -> dict[str, Tensor]:
    """BCE on the refined maps of all seven blocks, weight 1 each.

    ``maps``: the probabilities (N, 1, H, W) of ``BLOCKS``, in that order; ``target`` likewise. Returns one term a block.
    """
    return {block: binary_cross_entropy(map_, target) for block, map_ in zip(BLOCKS, maps, strict=True)}


def meticulous_h_loss(maps: Sequence[Tensor], target: Tensor) -> dict[str, Tensor]:
    """The weighted triple BCE, L1, L2 of every block, and 5 x the gradient loss of the finest.

    ``maps``: the probabilities (N, 1, H, W) of ``BLOCKS``, in that order; ``target`` likewise. Returns one term a block and
    ``gradient``.
    """
    terms = {}
    truth = target.float()
    for block, map_ in zip(BLOCKS, maps, strict=True):
        bce, l1, l2 = _H_WEIGHTS[block[:2]]
        map_ = map_.float()
        term = l1 * F.l1_loss(map_, truth) + l2 * F.mse_loss(map_, truth)
        terms[block] = term + bce * binary_cross_entropy(map_, truth) if bce else term
    terms["gradient"] = GRADIENT_WEIGHT * gradient_loss(maps[-1], target)
    return terms


def gradient_loss(probability: Tensor, target: Tensor) -> Tensor:
    """L1 distance between the two maps' edge magnitudes (CascadePSP, Cheng et al., CVPR 2020, sec. 3.1.3)."""
    return F.l1_loss(edge_magnitude(probability), edge_magnitude(target))


def edge_magnitude(image: Tensor) -> Tensor:
    """3x3 mean filter, Sobel / 4 in x and y, sqrt(gx^2 + gy^2 + 1e-4); zero padding. (N, 1, H, W) -> the same."""
    with torch.autocast(image.device.type, enabled=False):
        smooth = F.avg_pool2d(image.float(), 3, stride=1, padding=1)
        sobel = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]], device=image.device) / 4
        kernels = torch.stack((sobel, sobel.T))[:, None]
        gradient = F.conv2d(smooth, kernels, padding=1)
        return (gradient.square().sum(1, keepdim=True) + 1e-4).sqrt()
