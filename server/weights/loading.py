"""Networks with their weights. Needs the ``torch`` extra."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from server.errors import BadWeights
from server.networks.catalogue import NETWORKS
from server.weights import store
from server.weights.checkpoint import read_metadata, read_tensors
from server.weights.matching import ENCODER, WHOLE, Fitted, fit

if TYPE_CHECKING:
    from torch import nn


def load_network(name: str, path: Path | None = None) -> nn.Module:
    """The catalogue's network with weights from ``path`` (imported or official; default: the installed ones), in eval mode.

    Raises ``ModelUnavailable`` when none are installed and ``BadWeights`` when the file is not this network's.
    """
    path = path or store.require(name)
    fitted = _read(name, path)
    if fitted.content != WHOLE:
        raise BadWeights(
            f"{path} holds only the encoder of '{name}' ({fitted.kind}): it starts a training, nothing more."
        )
    network = NETWORKS[name].build()
    _fill(network, fitted)
    return network


def load_encoder(network: nn.Module, name: str, path: Path) -> None:
    """Fill the encoder of a fresh ``name`` from a foundation or ImageNet file, or all of it from a whole checkpoint."""
    _fill(network, _read(name, path))


def _read(name: str, path: Path) -> Fitted:
    store.verify(path)
    tensors = read_tensors(path)
    noted = read_metadata(path)
    if noted.get("model", name) != name:  # some networks differ in their training only, not in a single shape
        raise BadWeights(
            f"{path} holds the weights of '{noted['model']}', not of '{name}': use --model {noted['model']}."
        )
    if noted.get("content") == ENCODER:
        return Fitted(tensors, ENCODER, noted.get("kind", "an encoder"))
    return fit(tensors, name, str(path))


def _fill(network: nn.Module, fitted: Fitted) -> None:
    training = network.training
    network.train()
    network.load_state_dict(fitted.state, strict=False)  # aliases and counters stand for themselves; fit() was strict
    network.train(training)  # some networks derive buffers from their weights when they switch to eval
