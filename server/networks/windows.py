"""Square windows of a map of tokens, in tensors of at most four dimensions."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def split_windows(tokens: Tensor, window: int) -> Tensor:
    """(N, H, W, C) -> (N * windows, window * window, C); zeros fill the last row and column of windows."""
    batch, height, width, channels = tokens.shape
    down, right = -height % window, -width % window
    if down or right:
        tokens = F.pad(tokens, (0, 0, 0, right, 0, down))
    rows, columns = (height + down) // window, (width + right) // window
    strips = tokens.reshape(batch * rows, window, columns, window * channels)
    return strips.transpose(1, 2).reshape(batch * rows * columns, window * window, channels)


def join_windows(windows: Tensor, window: int, height: int, width: int) -> Tensor:
    """The inverse of :func:`split_windows` -> (N, height, width, C)."""
    channels = windows.shape[-1]
    rows, columns = -(-height // window), -(-width // window)
    batch = windows.shape[0] // (rows * columns)
    strips = windows.reshape(batch * rows, columns, window, window * channels).transpose(1, 2)
    tokens = strips.reshape(batch, rows * window, columns * window, channels)
    if (rows * window, columns * window) == (height, width):
        return tokens  # a slice of all of it would be an alias, which not every exporter takes
    return tokens[:, :height, :width]
