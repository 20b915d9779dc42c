"""What is known of every network without building it: names, builders, sizes, licences, sources. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

RESEARCH = "official weights: research use, as the authors' release says"
UNPUBLISHED = "no official weights: those you train are yours"


@dataclass(frozen=True)
class NetworkInfo:
    """One buildable network.

    ``builder`` is ``module:function`` (a function without required arguments that returns the network in eval mode),
    ``parameters`` the exact count, ``gmacs`` billions of multiply-accumulates at ``input_size`` (height, width),
    ``keys`` the name of the official parameter layout in ``tests/data/networks``, empty where there is none.
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

_add(
    NetworkInfo(
        name="meticulousnet-l",
        builder="server.networks.meticulous:meticulousnet_l",
        task="salient objects at low resolution",
        input_size=(336, 336),
        channels=3,
        parameters=70_321_670,
        gmacs=361.5,
        code_licence="MIT",
        weights_licence=UNPUBLISHED,
        source="Yang et al., arXiv:2012.07181 (ResNet-50 encoder); no official code",
        keys="meticulous_resnet50_L",
    )
)

_add(
    NetworkInfo(
        name="meticulousnet-h",
        builder="server.networks.meticulous:meticulousnet_h",
        task="meticulous boundaries at high resolution, given a coarse mask",
        input_size=(224, 224),
        channels=4,
        parameters=70_324_806,
        gmacs=160.8,
        code_licence="MIT",
        weights_licence=UNPUBLISHED,
        source="Yang et al., arXiv:2012.07181 (ResNet-50 encoder); no official code",
        keys="meticulous_resnet50_H",
    )
)

_add(
    NetworkInfo(
        name="mobile-meticulousnet-l",
        builder="server.networks.meticulous:mobile_meticulousnet_l",
        task="salient objects at low resolution",
        input_size=(336, 336),
        channels=3,
        parameters=3_332_054,
        gmacs=7.40,
        code_licence="MIT",
        weights_licence=UNPUBLISHED,
        source="Yang et al., arXiv:2012.07181 (MobileNetV3-Large encoder); no official code",
        keys="meticulous_mobile_L",
    )
)

_add(
    NetworkInfo(
        name="mobile-meticulousnet-h",
        builder="server.networks.meticulous:mobile_meticulousnet_h",
        task="meticulous boundaries at high resolution, given a coarse mask",
        input_size=(224, 224),
        channels=4,
        parameters=3_332_198,
        gmacs=3.29,
        code_licence="MIT",
        weights_licence=UNPUBLISHED,
        source="Yang et al., arXiv:2012.07181 (MobileNetV3-Large encoder); no official code",
        keys="meticulous_mobile_H",
    )
)

_add(
    NetworkInfo(
        name="lite0-meticulousnet-l",
        builder="server.networks.meticulous:lite0_meticulousnet_l",
        task="salient objects at low resolution",
        input_size=(336, 336),
        channels=3,
        parameters=3_884_070,
        gmacs=10.53,
        code_licence="MIT",
        weights_licence=UNPUBLISHED,
        source="Yang et al., arXiv:2012.07181 (EfficientNet-Lite0 encoder); no official code",
        keys="",
    )
)

_add(
    NetworkInfo(
        name="lite0-meticulousnet-h",
        builder="server.networks.meticulous:lite0_meticulousnet_h",
        task="meticulous boundaries at high resolution, given a coarse mask",
        input_size=(224, 224),
        channels=4,
        parameters=3_884_358,
        gmacs=4.69,
        code_licence="MIT",
        weights_licence=UNPUBLISHED,
        source="Yang et al., arXiv:2012.07181 (EfficientNet-Lite0 encoder); no official code",
        keys="",
    )
)

_add(
    NetworkInfo(
        name="gem-tiny",
        builder="server.networks.gem:gem_tiny",
        task="glass",
        input_size=(384, 384),
        channels=3,
        parameters=21_606_861,
        gmacs=11.47,
        code_licence="MIT",
        weights_licence=RESEARCH,
        source="GEM glass segmentor; github.com/isbrycee/GEM-Glass-Segmentor",
        keys="gem_tiny",
    )
)

_add(
    NetworkInfo(
        name="gem-base",
        builder="server.networks.gem:gem_base",
        task="glass",
        input_size=(384, 384),
        channels=3,
        parameters=102_789_561,
        gmacs=63.64,
        code_licence="MIT",
        weights_licence=RESEARCH,
        source="GEM glass segmentor; github.com/isbrycee/GEM-Glass-Segmentor",
        keys="gem_base",
    )
)
