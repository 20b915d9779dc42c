"""A target's networks with their weights: installed, from a file, or made up. Needs torch."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from export.errors import BadChoice, MissingWeights
from export.targets import Target
from server.errors import ServerError
from server.networks.catalogue import NETWORKS
from server.weights import store

if TYPE_CHECKING:
    from torch import nn

MADE_UP = "RANDOM WEIGHTS: for measuring speed and size, not for pictures"
LIVELIER = {
    "head0.conv2.weight": 8.0, "head8.conv2.weight": 8.0, "head4.conv2.weight": 8.0, "head2.conv2.weight": 8.0,
    "mask_embed.layers.2.weight": 10.0, "class_embed.weight": 10.0, "conv_proposal_cls_logits": 3.0, "bn3.weight": 0.1,
    "pred1.weight": 0.5,
}  # fmt: skip
"""Made-up weights of these parts are enlarged, else the map is one grey and comparing maps proves little. A bottleneck's
last norm and PGSNet's last layer are made smaller: a hundred made-up layers would enlarge a rounding a thousandfold."""
POSITIVE = "rim."
"""A fusion of maps with made-up weights of both signs may be below zero everywhere."""


@dataclass(frozen=True)
class Weights:
    """Where a model's numbers come from, for its card. ``trained`` is False for random ones."""

    trained: bool
    files: dict[str, str]
    licence: str


def load(target: Target, weights: Path | None, random: bool) -> tuple[list[nn.Module], Weights]:
    """The networks in eval mode. Raises ``MissingWeights`` (with the way to get them) or ``BadChoice``."""
    names = target.networks
    if random:
        if weights is not None:
            raise BadChoice("Give either --weights or --random-weights.")
        return [made_up(name) for name in names], Weights(False, {}, f"none ({MADE_UP})")
    if weights is not None and len(names) > 1:
        raise BadChoice(f"'{target.name}' is made of {' and '.join(names)}: import a file for each, without --weights.")
    from server.weights.loading import load_network

    try:
        files = {name: weights or store.require(name) for name in names}
        networks = [load_network(name, path) for name, path in files.items()]
    except ServerError as error:
        raise MissingWeights(
            f"{error.message} Or export it with --random-weights, to measure speed and size."
        ) from error
    licences = dict.fromkeys(NETWORKS[name].weights_licence for name in names)
    digests = {path.name: store.sha256(path) for path in files.values()}
    return networks, Weights(True, digests, "; ".join(licences))


def made_up(name: str) -> nn.Module:
    """The network as its constructor draws it, enlivened, the same for every run."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(zlib.crc32(name.encode()))
        return enlivened(NETWORKS[name].build())


def enlivened(network: nn.Module) -> nn.Module:
    """``network`` in eval mode, its fresh weights changed in place so that its map says something.

    What starts at zero gets small numbers. MeticulousNet's perceptron about repeats what it is given: a point that is rewritten
    then changes little, as in a trained network.
    """
    import torch

    with torch.no_grad():
        for key, parameter in network.named_parameters():
            if parameter.ndim >= 2 and not parameter.any():
                parameter.normal_(std=0.02)
            parameter.mul_(next((gain for part, gain in LIVELIER.items() if part in key), 1.0))
            if key.startswith(POSITIVE):
                parameter.abs_()
            elif key == "hierpr.fc3.weight":
                parameter[:, :-1] *= 0.01
                parameter[:, -1] = 4  # the slope of the logit at 0.5
            elif key == "hierpr.fc3.bias":
                parameter.fill_(-2)
    network.train()
    return network.eval()  # some networks derive buffers from their weights when they switch to eval
