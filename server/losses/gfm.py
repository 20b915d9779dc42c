"""GFM's losses (Li et al., IJCV 2022, sec. 4.2; code JizhiziLi/GFM, MIT): glance, focus, fusion and composition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

MODES = ("tt", "ft", "bt")
TRIMAP_KERNEL = 25
BAND_KERNEL = 50
LAPLACIAN_LEVELS = 5
BRANCH_WEIGHT = 0.25
_ROOT_EPSILON = 1e-12

Prediction = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class MattingTargets:
    """What a batch is compared with.

    ``image``, ``foreground``, ``background``: (N, 3, H, W), RGB in 0..255; ``alpha``, and ``eroded`` and ``dilated`` from
    ``band_masks``: (N, 1, H, W) in [0, 1]; ``trimap``: (N, 1, H, W), 0 background, 0.5 transition, 1 foreground.
    """

    image: Tensor
    foreground: Tensor
    background: Tensor
    alpha: Tensor
    trimap: Tensor
    eroded: Tensor
    dilated: Tensor


def trimap_of(alpha: NDArray[np.float32], kernel: int = TRIMAP_KERNEL) -> NDArray[np.float32]:
    """float HxW in [0, 1] -> 0, 0.5, 1: opaque eroded and not-transparent dilated by an ellipse of ``kernel`` pixels."""
    eroded, dilated = band_masks(alpha, kernel)
    return (eroded + dilated) * np.float32(0.5)


def band_masks(
    alpha: NDArray[np.float32], kernel: int = BAND_KERNEL
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """float HxW in [0, 1] -> the opaque part eroded, the not-transparent part dilated; each 0 or 1."""
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (kernel, kernel))
    eroded = cv2.erode((alpha >= 1).astype(np.float32), ellipse)
    dilated = cv2.dilate((alpha > 0).astype(np.float32), ellipse)
    return eroded, dilated


def gfm_loss(prediction: Prediction, targets: MattingTargets, mode: str) -> dict[str, Tensor]:
    """The loss of one mode (``tt``, ``ft``, ``bt``): 0.25 x (glance + focus + fusion_alpha + fusion_composition).

    ``prediction``: glance (N, 3 or 2, H, W), focus and fusion (N, 1, H, W), all after the sigmoid.
    """
    return {name: BRANCH_WEIGHT * term for name, term in _branch(prediction, targets, mode).items()}


def gfm_rim_loss(branches: Sequence[Prediction], rim: Tensor, targets: MattingTargets) -> dict[str, Tensor]:
    """The loss of the RoSTa integration: every mode's terms and the integrated alpha's, weight 1 each.

    ``branches``: the predictions of ``MODES``, in that order; ``rim``: (N, 1, H, W). The released code takes the BT
    predictions from the FT branch by an index slip, which is not repeated.
    """
    terms: dict[str, Tensor] = {}
    for mode, prediction in zip(MODES, branches, strict=True):
        terms |= {f"{mode}_{name}": term for name, term in _branch(prediction, targets, mode).items()}
    return terms | {f"rim_{name}": term for name, term in _whole(rim, targets).items()}


def mode_targets(targets: MattingTargets, mode: str) -> tuple[Tensor, Tensor]:
    """The glance labels (N, H, W) int64 and the focus map (N, 1, H, W) of a mode.

    FT adds focus to the glance mask and BT subtracts it, so FT starts from the eroded mask and BT from the dilated one; the
    released single-mode branch uses other glance masks, which the fusion rule contradicts.
    """
    if mode == "tt":
        return (targets.trimap[:, 0] * 2).round().long(), targets.alpha
    if mode == "ft":
        return targets.eroded[:, 0].round().long(), targets.alpha - targets.eroded
    if mode == "bt":
        return targets.dilated[:, 0].round().long(), targets.dilated - targets.alpha
    raise ValueError(f"mode '{mode}' is none of {', '.join(MODES)}")


def _branch(prediction: Prediction, targets: MattingTargets, mode: str) -> dict[str, Tensor]:
    glance, focus, fusion = prediction
    labels, focus_target = mode_targets(targets, mode)
    transition = (targets.trimap == 0.5).float()
    return {
        # the sigmoid's outputs are taken as logits, as the official code does
        "glance": F.cross_entropy(glance.float(), labels),
        "focus": alpha_loss(focus, focus_target, transition)
        + laplacian_loss(focus * transition, focus_target * transition),
    } | {f"fusion_{name}": term for name, term in _whole(fusion, targets).items()}


def _whole(alpha: Tensor, targets: MattingTargets) -> dict[str, Tensor]:
    return {
        "alpha": alpha_loss(alpha, targets.alpha) + laplacian_loss(alpha, targets.alpha),
        "composition": composition_loss(alpha, targets),
    }


def alpha_loss(alpha: Tensor, target: Tensor, region: Tensor | None = None) -> Tensor:
    """Mean of sqrt((alpha - target)^2 + 1e-12); with a 0/1 ``region`` its sum over (region's pixels + 1)."""
    difference = alpha.float() - target.float()
    if region is None:
        return (difference**2 + _ROOT_EPSILON).sqrt().mean()
    return ((difference * region) ** 2 + _ROOT_EPSILON).sqrt().sum() / (region.sum() + 1)


def composition_loss(alpha: Tensor, targets: MattingTargets) -> Tensor:
    """|alpha fg + (1 - alpha) bg - image| / 255, summed over the channels, averaged over the pixels."""
    composed = alpha.float() * targets.foreground + (1 - alpha.float()) * targets.background
    difference = ((composed - targets.image) ** 2 + _ROOT_EPSILON).sqrt() / 255
    return difference.sum(1).mean()


def laplacian_loss(alpha: Tensor, target: Tensor) -> Tensor:
    """Sum over five Laplacian levels and the residual of the mean absolute difference. Needs sides of at least 32."""
    with torch.autocast(alpha.device.type, enabled=False):
        pairs = zip(_laplacian_pyramid(alpha.float()), _laplacian_pyramid(target.float()), strict=True)
        return torch.stack([F.l1_loss(a, b) for a, b in pairs]).sum()


def _laplacian_pyramid(image: Tensor) -> list[Tensor]:
    profile = torch.exp(-((torch.arange(5, dtype=torch.float32, device=image.device) - 2) ** 2))
    # A Gaussian would be the product of the profiles; the official kernel is their sum, and so is this one.
    kernel = profile[:, None] + profile[None, :]
    kernel = (kernel / kernel.sum())[None, None]
    levels = []
    for _ in range(LAPLACIAN_LEVELS):
        smooth = F.conv2d(F.pad(image, (2, 2, 2, 2), mode="replicate"), kernel)
        levels.append(image - smooth)
        image = F.avg_pool2d(smooth, 2)
    return [*levels, image]
