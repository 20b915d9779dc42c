"""What is known of every network without building it: names, builders, sizes, licences, sources. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

RESEARCH = "official weights: research use, as the authors' release says"


@dataclass(frozen=True)
class NetworkInfo:
    """One buildable network.

    ``builder`` is ``module:function`` (a function without required arguments that returns the network in eval mode),
    ``parameters`` the exact count, ``gmacs`` billions of multiply-accumulates at ``input_size`` (height, width),
    ``keys`` the name of the official parameter layout in ``tests/data/networks``.
    """

    name: str
    builder: str
    task: str
    input_size: tuple[int, int]
    channels: int
    parameters: int
    gmacs: float | None
    code_licence: str
    weights_licence: str
    source: str
    keys: str

    def build(self) -> nn.Module:
        """The network with fresh weights, in eval mode. Needs the ``torch`` extra."""
        module, function = self.builder.split(":")
        network: nn.Module = getattr(import_module(module), function)()
        return network.eval()


NETWORKS: dict[str, NetworkInfo] = {}


def _add(info: NetworkInfo) -> None:
    NETWORKS[info.name] = info


_add(
    NetworkInfo(
        name="basnet",
        builder="server.networks.basnet:basnet",
        task="salient and camouflaged objects",
        input_size=(256, 256),
        channels=3,
        parameters=87_060_360,
        gmacs=127.00,
        code_licence="MIT",
        weights_licence=RESEARCH,
        source="Qin et al., CVPR 2019; github.com/xuebinqin/BASNet",
        keys="basnet",
    )
)
