"""Networks behind pictures: each predictor owns its network's official pre- and post-processing. Importing needs no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from server.errors import UnknownModel
from server.networks.catalogue import NETWORKS

if TYPE_CHECKING:
    from torch import nn

    from server.predictors.base import Precision, Predictor

_CLASSES = {
    "basnet": "server.predictors.basnet:BASNetPredictor",
    "gem": "server.predictors.gem:GEMPredictor",
    "gfm": "server.predictors.gfm:GFMPredictor",
    "pgsnet": "server.predictors.pgsnet:PGSNetPredictor",
    **{
        f"{encoder}meticulousnet{suffix}": f"server.predictors.meticulous:Meticulous{part}Predictor"
        for encoder in ("", "mobile-", "lite0-")
        for suffix, part in (("", ""), ("-l", "Low"), ("-h", "High"))
    },
}
"""By the longest prefix of the model's name."""

_PARTS: dict[str, tuple[str, ...]] = {
    name: (f"{name}-l", f"{name}-h") for name in ("meticulousnet", "mobile-meticulousnet", "lite0-meticulousnet")
}
"""Models made of more than one network: their names in the catalogue, in the order their predictor takes them."""


def networks_of(model: str) -> tuple[str, ...]:
    """The catalogue names of the networks that a model is made of. Raises ``UnknownModel``."""
    parts = _PARTS.get(model, (model,))
    if any(part not in NETWORKS for part in parts):
        raise UnknownModel(f"There is no network '{model}': 'python -m server models' lists them.")
    return parts


def open_predictor(
    model: str, *networks: nn.Module, device: str = "auto", precision: Precision = "fp32", batch_size: int = 8
) -> Predictor:
    """The predictor of ``model`` around its ``networks`` (as ``networks_of`` orders them).

    Raises ``UnknownModel``, ``DeviceUnavailable`` or ``BadOption``. Needs the ``torch`` extra.
    """
    names = networks_of(model)
    if len(networks) != len(names):
        raise ValueError(f"{model} is made of {', '.join(names)}: got {len(networks)} networks")
    prefixes = [prefix for prefix in _CLASSES if model.startswith(prefix)]
    if not prefixes:
        raise UnknownModel(f"The network '{model}' has no predictor: 'python -m server models' lists the models.")
    module, name = _CLASSES[max(prefixes, key=len)].split(":")
    predictor: Predictor = getattr(import_module(module), name)(
        *networks, model, device=device, precision=precision, batch_size=batch_size
    )
    return predictor
