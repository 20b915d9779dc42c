"""A network that cannot learn one picture by heart is wired wrongly: an ellipse on noise, learned in a few steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def ellipse_picture(size: int, channels: int = 3) -> tuple[Tensor, Tensor]:
    """((1, channels, size, size) picture about zero mean, (1, 1, size, size) mask of its bright tilted ellipse)."""
    axis = (torch.arange(size) + 0.5) / size - 0.5
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    mask = (((x + 0.5 * y) / 0.36) ** 2 + ((y - 0.4 * x) / 0.24) ** 2 < 1).float()[None, None]
    noise = torch.randn(1, channels, size, size, generator=torch.Generator().manual_seed(5))
    tint = torch.linspace(0.6, 1.4, channels).reshape(1, channels, 1, 1)
    return mask * tint - 0.5 + 0.2 * noise, mask


def intersection_over_union(logits: Tensor, mask: Tensor) -> float:
    chosen = logits > 0
    wanted = mask > 0.5
    return float((chosen & wanted).sum() / (chosen | wanted).sum())


def assert_overfits(
    network: nn.Module,
    logits: Callable[[nn.Module, Tensor], Sequence[Tensor]],
    *,
    size: int,
    steps: int,
    learning_rate: float = 1e-3,
    iou: float = 0.95,
) -> None:
    """Adam on the mean cross entropy of all ``logits`` ((N, 1, size, size), the first is the result), batch norms live.

    The picture is learned together with its mirror image, so statistics over a batch exist at every scale.
    """
    picture, mask = ellipse_picture(size)
    x = torch.cat([picture, picture.flip(-1)])
    target = torch.cat([mask, mask.flip(-1)])
    network.train()
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    losses = []
    for _ in range(steps):
        outputs = logits(network, x)
        loss = torch.stack([F.binary_cross_entropy_with_logits(output, target) for output in outputs]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    with torch.no_grad():
        reached = intersection_over_union(logits(network, x)[0], target)
    assert losses[-1] < 0.5 * losses[0], f"loss {losses[0]:.3f} -> {losses[-1]:.3f}"
    assert reached >= iou, f"IoU {reached:.3f} after {steps} steps, loss {losses[-1]:.3f}"
