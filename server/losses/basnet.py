"""BASNet's hybrid loss (Qin et al., CVPR 2019, sec. 3.4, eq. 1-7): pixel, patch and map level on all eight outputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from server.losses.terms import iou_loss, ssim_loss


def basnet_loss(logits: Sequence[Tensor], target: Tensor) -> dict[str, Tensor]:
    """BCE + (1 - SSIM) + IoU, summed over the outputs with weight 1 each (eq. 1, alpha_k = 1).

    ``logits``: the eight maps (N, 1, H, W) before the sigmoid, in any order; ``target``: (N, 1, H, W) in [0, 1].
    Returns the terms ``bce``, ``ssim`` and ``iou``.
    """
    bce, ssim, iou = [], [], []
    for output in logits:
        probability = output.float().sigmoid()
        bce.append(F.binary_cross_entropy_with_logits(output.float(), target.float()))
        ssim.append(ssim_loss(probability, target))
        iou.append(iou_loss(probability, target))
    return {"bce": torch.stack(bce).sum(), "ssim": torch.stack(ssim).sum(), "iou": torch.stack(iou).sum()}
