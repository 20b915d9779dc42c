"""Pooling and input-size rules that more than one network needs, in forms that every exporter takes."""

from __future__ import annotations

import torch
from torch import Tensor


def require_multiple(x: Tensor, divisor: int, network: str) -> None:
    """Raise ``ValueError`` unless height and width of (N, C, H, W) are multiples of ``divisor``."""
    height, width = int(x.shape[-2]), int(x.shape[-1])
    if height % divisor or width % divisor or not height or not width:
        raise ValueError(
            f"{network} takes heights and widths that are multiples of {divisor}, not {height}x{width}: "
            "resize the picture first, as the network's predictor does"
        )


def adaptive_mean_pool(x: Tensor, size: int) -> Tensor:
    """Adaptive average pooling (N, C, H, W) -> (N, C, size, size) as two products with constant matrices.

    Equal to ``adaptive_avg_pool2d`` also where ``size`` does not divide H or W, which exporters refuse.
    """
    if size == 1:
        return x.mean((2, 3), keepdim=True)
    rows = _pooling_matrix(int(x.shape[2]), size, x)
    columns = _pooling_matrix(int(x.shape[3]), size, x)
    return torch.matmul(torch.matmul(rows, x), columns.transpose(0, 1))


def _pooling_matrix(length: int, bins: int, like: Tensor) -> Tensor:
    """(bins, length): row i is 1 / count over floor(i * length / bins) .. ceil((i + 1) * length / bins), else 0.

    Made of device operations rather than of host data, so that a CUDA graph can capture it.
    """
    position = torch.arange(length, device=like.device)
    index = torch.arange(bins, device=like.device).unsqueeze(1)
    start = index * length // bins
    stop = ((index + 1) * length + bins - 1) // bins
    inside = torch.logical_and(position >= start, position < stop).to(like.dtype)
    return inside / inside.sum(1, keepdim=True)
