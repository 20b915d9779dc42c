"""PGSNet's hybrid loss (Yu et al., TIP 2022, sec. III-E, eq. 6-7): BCE + IoU on three levels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from server.losses.terms import iou_loss


def pgsnet_loss(coarse: Tensor, middle: Tensor, final: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Weights 1, 2, 4 from the coarsest (p3) to the final prediction (p1): 2^(3-i) for level i, level 1 the finest.

    Logits and target (N, 1, H, W), all at the input's size. Returns the weighted terms ``bce`` and ``iou``.
    """
    levels = ((1.0, coarse), (2.0, middle), (4.0, final))
    bce = sum(weight * F.binary_cross_entropy_with_logits(x.float(), target.float()) for weight, x in levels)
    iou = sum(weight * iou_loss(x.float().sigmoid(), target) for weight, x in levels)
    assert isinstance(bce, Tensor)
    assert isinstance(iou, Tensor)
    return {"bce": bce, "iou": iou}
