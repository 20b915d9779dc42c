"""PGSNet's hybrid loss (Yu et al., TIP 2022, sec. III-E, eq. 6-7): BCE + IoU on three levels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from server.losses.terms import iou_loss


def pgsnet_loss(logits: Sequence[Tensor], target: Tensor) -> dict[str, Tensor]:
    """Weights 4, 2, 1 from the final prediction to the coarsest: 2^(3-i) for level i, level 1 the finest.

    ``logits``: three maps (N, 1, H, W) of the target's size, finest first. Returns the weighted terms ``bce`` and ``iou``.
    """
    levels = list(zip((4.0, 2.0, 1.0), logits, strict=True))
    bce = [weight * F.binary_cross_entropy_with_logits(level.float(), target.float()) for weight, level in levels]
    iou = [weight * iou_loss(level.float().sigmoid(), target) for weight, level in levels]
    return {"bce": torch.stack(bce).sum(), "iou": torch.stack(iou).sum()}
