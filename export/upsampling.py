"""MeticulousNet's doubling of a feature in the order that costs least: what works on one cell alone, before it is four."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from server.networks.meticulous import Deconvolution


class EarlyDeconvolution(nn.Module):
    """The same map as ``deconvolution`` gives, up to rounding, with its weights.

    A norm (in eval mode) and a 1x1 convolution commute with bilinear doubling, whose weights add up to one; so both work on a
    quarter of the cells, and what is joined needs no norm any more.
    """

    def __init__(self, deconvolution: Deconvolution) -> None:
        super().__init__()
        norm = deconvolution.conv[0]
        assert isinstance(norm, nn.BatchNorm2d)
        below = deconvolution.shortcut.in_channels
        factor, shift = _of_norm(norm)
        self.norm, self.skip_norm = (
            _by_channel(factor[part], shift[part]) for part in (slice(below), slice(below, None))
        )
        self.conv, self.conv2 = deconvolution.conv[2:], deconvolution.conv2
        self.shortcut = deconvolution.shortcut

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        parts = [F.relu(_doubled(self.norm(x))), F.relu(self.skip_norm(skip))]
        p: Tensor = self.conv(torch.cat(parts, 1)) + _doubled(self.shortcut(x))
        out: Tensor = p + self.conv2(p)
        return out


def _of_norm(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """A batch norm's factor and shift, float64 C."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return factor, norm.bias.double() - norm.running_mean.double() * factor


def _by_channel(factor: Tensor, shift: Tensor) -> nn.Conv2d:
    made = nn.Conv2d(len(factor), len(factor), 1, groups=len(factor)).requires_grad_(False)
    made.weight.copy_(factor.reshape(-1, 1, 1, 1))
    assert made.bias is not None
    made.bias.copy_(shift)
    return made


def _doubled(x: Tensor) -> Tensor:
    size = (2 * int(x.shape[-2]), 2 * int(x.shape[-1]))
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def early(graph: nn.Module) -> nn.Module:
    """``graph``, in place, with every deconvolution replaced."""
    for parent in list(graph.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Deconvolution):
                setattr(parent, name, EarlyDeconvolution(child))
    return graph
