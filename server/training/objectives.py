"""What each network is trained to do: from a batch to named, weighted loss terms whose sum is minimised.

A batch holds ``image`` Nx3xHxW RGB in [0, 1], ``mask`` Nx1xHxW in [0, 1], and where teacher maps were saved ``teacher``
Nx1xHxW with -1 for items without one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from server.training.recipe import Recipe

Batch = dict[str, Tensor]
Terms = dict[str, Tensor]
Objective = Callable[[nn.Module, Batch], Terms]

SIDE_WEIGHTS = (1.0, 0.5, 0.4, 0.3, 0.2)
"""Of the maps at strides 2, 4, 8, 16, 32."""
BOUNDARY_WINDOW = 31


def normalised(image: Tensor, mean: tuple[float, float, float], std: tuple[float, float, float]) -> Tensor:
    return (image - image.new_tensor(mean).view(1, 3, 1, 1)) / image.new_tensor(std).view(1, 3, 1, 1)


def structure_loss(logit: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted BCE and weighted IoU (Wei, Wang, Huang, AAAI 2020, eqs. 7 and 9) of Nx1xHxW."""
    bce = F.binary_cross_entropy_with_logits(logit, target, reduction="none")
    bce = ((bce * weight).sum((2, 3)) / weight.sum((2, 3))).mean()
    probability = torch.sigmoid(logit)
    overlap = (probability * target * weight).sum((2, 3))
    union = ((probability + target) * weight).sum((2, 3)) - overlap
    return bce, (1 - (overlap + 1) / (union + 1)).mean()


def boundary_weight(mask: Tensor) -> Tensor:
    """1 + 5 |local mean - mask|: pixels near an edge count more (same paper, eq. 6). The window is square and separable."""
    half = BOUNDARY_WINDOW // 2
    mean = F.avg_pool2d(mask, (BOUNDARY_WINDOW, 1), 1, (half, 0), count_include_pad=False)
    mean = F.avg_pool2d(mean, (1, BOUNDARY_WINDOW), 1, (0, half), count_include_pad=False)
    return 1 + 5 * (mean - mask).abs()


class Saliency:
    """``lite``: weighted BCE + IoU at full size, plain BCE + IoU on the coarser side maps, distillation where taught."""

    def __init__(self, recipe: Recipe) -> None:
        from server.networks.backbones.efficientnet_lite0 import MEAN, STD

        self.distill = recipe.distill
        self.mean, self.std = MEAN, STD

    def __call__(self, network: nn.Module, batch: Batch) -> Terms:
        maps: tuple[Tensor, ...] = network.logits(normalised(batch["image"], self.mean, self.std))  # type: ignore[operator]
        mask = batch["mask"]
        finest = F.interpolate(maps[0].float(), scale_factor=2, mode="bilinear", align_corners=False)
        terms: Terms = {}
        terms["bce"], terms["iou"] = structure_loss(finest, mask, boundary_weight(mask))
        side = mask.new_zeros(())
        for weight, logit in zip(SIDE_WEIGHTS[1:], maps[1:], strict=True):
            target = F.avg_pool2d(mask, mask.shape[-1] // logit.shape[-1])
            side = side + weight * sum(structure_loss(logit.float(), target, torch.ones_like(target)))
        terms["side"] = side
        if "teacher" in batch and self.distill:
            taught = batch["teacher"] >= 0
            target = torch.where(taught, batch["teacher"], mask)
            loss = F.binary_cross_entropy_with_logits(finest, target, reduction="none")
            terms["distill"] = self.distill * (loss * taught).sum() / taught.sum().clamp(min=1)
        return terms


OBJECTIVES: dict[str, Callable[[Recipe], Any]] = {"saliency": Saliency}
