"""Boxes as (centre x, centre y, width, height), relative to the image's size."""

from __future__ import annotations

import torch
from torch import Tensor


def corners(boxes: Tensor) -> Tensor:
    """(..., 4) centre and size -> (..., 4) left, top, right, bottom."""
    x, y, width, height = boxes.unbind(-1)
    return torch.stack((x - width / 2, y - height / 2, x + width / 2, y + height / 2), -1)


def boxes_of(masks: Tensor) -> Tensor:
    """(M, H, W) masks -> (M, 4) their bounding boxes, pixels counted whole; an empty mask has a box of zeros."""
    height, width = masks.shape[-2:]
    boxes = masks.new_zeros((len(masks), 4), dtype=torch.float32)
    for box, mask in zip(boxes, masks > 0.5, strict=True):
        if not mask.any():
            continue
        ys, xs = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        left, right, top, bottom = xs[0], xs[-1] + 1, ys[0], ys[-1] + 1
        box[0], box[1] = (left + right) / 2 / width, (top + bottom) / 2 / height
        box[2], box[3] = (right - left) / width, (bottom - top) / height
    return boxes


def generalized_iou(first: Tensor, second: Tensor) -> Tensor:
    """GIoU of two broadcastable sets of boxes (..., 4), in [-1, 1] (Rezatofighi et al., CVPR 2019)."""
    tiny = torch.finfo(first.dtype).tiny
    a, b = corners(first), corners(second)
    area_a = (a[..., 2:] - a[..., :2]).prod(-1)
    area_b = (b[..., 2:] - b[..., :2]).prod(-1)
    overlap = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    union = (area_a + area_b - overlap).clamp(min=tiny)
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(-1).clamp(min=tiny)
    return overlap / union - (hull - union) / hull
