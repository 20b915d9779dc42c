"""What each network is trained to do: from a batch to named, weighted loss terms whose sum is minimised.

A batch holds ``image`` Nx3xHxW RGB in [0, 1], ``mask`` Nx1xHxW in [0, 1], where teacher maps were saved ``teacher``
Nx1xHxW (-1 for items without one), and the ``planes`` that the objective derives from each mask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from server.losses.basnet import basnet_loss
from server.losses.gem import GEM_BASE, GEM_TINY, gem_loss
from server.losses.gfm import MattingTargets, band_masks, gfm_loss, gfm_rim_loss, trimap_of
from server.losses.meticulous import meticulous_h_loss, meticulous_l_loss
from server.losses.pgsnet import pgsnet_loss
from server.networks.backbones import efficientnet_lite0
from server.training.perturb import perturbed

if TYPE_CHECKING:
    from server.training.recipe import Recipe

Batch = dict[str, Tensor]
Terms = dict[str, Tensor]
Planes = dict[str, NDArray[np.float32]]
RGB3 = tuple[float, float, float]

IMAGENET: tuple[RGB3, RGB3] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
LITE0: tuple[RGB3, RGB3] = (efficientnet_lite0.MEAN, efficientnet_lite0.STD)


class Objective(Protocol):
    def planes(self, mask: NDArray[np.float32], rng: np.random.Generator) -> Planes:
        """More HxW maps for the batch, derived from one HxW mask in [0, 1] while it is loaded."""
        ...

    def __call__(self, network: nn.Module, batch: Batch) -> Terms: ...


SIDE_WEIGHTS = (1.0, 0.5, 0.4, 0.3, 0.2)
"""Of the maps at strides 2, 4, 8, 16, 32."""
BOUNDARY_WINDOW = 31


def normalised(image: Tensor, statistics: tuple[RGB3, RGB3]) -> Tensor:
    """Nx3xHxW in [0, 1], less the mean, over the deviation."""
    mean, std = statistics
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


class _FromMask:
    """An objective that needs nothing but the mask."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def planes(self, mask: NDArray[np.float32], rng: np.random.Generator) -> Planes:
        return {}


class Saliency(_FromMask):
    """``lite``: weighted BCE + IoU at full size, plain BCE + IoU on the coarser side maps, distillation where taught."""

    def __call__(self, network: nn.Module, batch: Batch) -> Terms:
        maps: tuple[Tensor, ...] = network.logits(normalised(batch["image"], LITE0))  # type: ignore[operator]
        mask = batch["mask"]
        finest = F.interpolate(maps[0].float(), scale_factor=2, mode="bilinear", align_corners=False)
        terms: Terms = {}
        terms["bce"], terms["iou"] = structure_loss(finest, mask, boundary_weight(mask))
        side = mask.new_zeros(())
        for weight, logit in zip(SIDE_WEIGHTS[1:], maps[1:], strict=True):
            target = F.avg_pool2d(mask, mask.shape[-1] // logit.shape[-1])
            side = side + weight * sum(structure_loss(logit.float(), target, torch.ones_like(target)))
        terms["side"] = side
        if "teacher" in batch and self.recipe.distill:
            taught = (batch["teacher"] >= 0).float()
            loss = F.binary_cross_entropy_with_logits(finest, batch["teacher"].clamp(min=0), reduction="none")
            terms["distill"] = self.recipe.distill * (loss * taught).sum() / taught.sum().clamp(min=1)
        return terms


class BASNetObjective(_FromMask):
    def __call__(self, network: nn.Module, batch: Batch) -> Terms:
        return basnet_loss(network.logits(normalised(batch["image"], IMAGENET)), batch["mask"])  # type: ignore[operator]


class PGSNetObjective(_FromMask):
    def __call__(self, network: nn.Module, batch: Batch) -> Terms:
        return pgsnet_loss(network.logits(normalised(batch["image"], IMAGENET)), batch["mask"])  # type: ignore[operator]


class MeticulousLow(_FromMask):
    def __call__(self, network: nn.Module, batch: Batch) -> Terms:
        return meticulous_l_loss(network(_meticulous_image(network, batch)), batch["mask"])


class MeticulousHigh(_FromMask):
    """The coarse mask in the fourth channel is the truth, spoilt to an IoU of 0.8 to 1 (paper 4.4)."""

    def planes(self, mask: NDArray[np.float32], rng: np.random.Generator) -> Planes:
        return {"coarse": perturbed(mask, float(rng.uniform(0.8, 1.0)), rng)}

    def __call__(self, network: nn.Module, batch: Batch) -> Terms:
        x = torch.cat([_meticulous_image(network, batch), batch["coarse"] * 2 - 1], 1)
        return meticulous_h_loss(network(x), batch["mask"])


class GFMObjective(_FromMask):
    """Foreground and background are estimated from the photograph and its alpha: the composition term needs both."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.mode = recipe.network.rpartition("-")[2]

    def planes(self, mask: NDArray[np.float32], rng: np.random.Generator) -> Planes:
        eroded, dilated = band_masks(mask)
        return {"trimap": trimap_of(mask), "eroded": eroded, "dilated": dilated}

    def __call__(self, network: nn.Module, batch: Batch) -> Terms:
        image = batch["image"] * 255
        with torch.no_grad():
            foreground, background = estimated_layers(image, batch["mask"])
        targets = MattingTargets(
            image, foreground, background, batch["mask"], batch["trimap"], batch["eroded"], batch["dilated"]
        )
        outputs = network(image)
        return (
            gfm_rim_loss(outputs[:3], outputs[3], targets)
            if self.mode == "rim"
            else gfm_loss(outputs, targets, self.mode)
        )


class GEMObjective(_FromMask):
    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.weights = GEM_TINY if recipe.network == "gem-tiny" else GEM_BASE

    def __call__(self, network: nn.Module, batch: Batch) -> Terms:
        layers, proposals = network.every_layer(normalised(batch["image"], IMAGENET))  # type: ignore[operator]
        return gem_loss(layers, proposals, batch["mask"], self.weights)


def _meticulous_image(network: nn.Module, batch: Batch) -> Tensor:
    statistics: Any = (network.mean, network.std)
    return normalised(batch["image"], statistics)


def estimated_layers(image: Tensor, alpha: Tensor, window: int = 45) -> tuple[Tensor, Tensor]:
    """Foreground and background colours of Nx3xHxW (0..255), by blur fusion (Forte, ICIP 2021, one pass)."""
    half = window // 2

    def blurred(x: Tensor) -> Tensor:
        x = F.avg_pool2d(x, (window, 1), 1, (half, 0), count_include_pad=False)
        return F.avg_pool2d(x, (1, window), 1, (0, half), count_include_pad=False)

    foreground = blurred(image * alpha) / (blurred(alpha) + 1e-5)
    background = blurred(image * (1 - alpha)) / (blurred(1 - alpha) + 1e-5)
    foreground = foreground + alpha * (image - alpha * foreground - (1 - alpha) * background)
    return foreground.clamp(0, 255), background.clamp(0, 255)


OBJECTIVES: dict[str, Callable[[Recipe], Objective]] = {
    "saliency": Saliency,
    "basnet": BASNetObjective,
    "pgsnet": PGSNetObjective,
    "meticulous-l": MeticulousLow,
    "meticulous-h": MeticulousHigh,
    "gfm": GFMObjective,
    "gem": GEMObjective,
}
