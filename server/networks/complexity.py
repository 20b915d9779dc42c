"""How large and how costly a network is: parameters, and multiply-accumulates of its convolutions and matrix products."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from server.networks.catalogue import NetworkInfo


@dataclass(frozen=True)
class Complexity:
    """``parameters`` counts tensors with several names once; ``gmacs`` are billions, for one picture."""

    parameters: int
    gmacs: float


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def count_gmacs(network: nn.Module, channels: int, height: int, width: int) -> float:
    """Billions of multiply-accumulates of one forward pass on (1, channels, height, width), on the network's device.

    Element-wise work, normalisation and interpolation are left out, as usual. A network on the meta device is counted
    without computing anything.
    """
    device = next(network.parameters()).device
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, channels, height, width, device=device))
    return counter.get_total_flops() / 2e9


def complexity(info: NetworkInfo, size: tuple[int, int] | None = None) -> Complexity:
    """Of a network in the catalogue at ``size`` (height, width), by default its own input size. Takes a second or two."""
    with torch.device("meta"):
        network = info.build()
    return Complexity(count_parameters(network), count_gmacs(network, info.channels, *(size or info.input_size)))
