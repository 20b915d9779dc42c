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
        name="lite",
        builder="server.networks.lite:lite",
        task="objects, the embedded default",
        input_size=(256, 256),
        channels=3,
        parameters=3_603_157,
        gmacs=0.64,
        code_licence="MIT",
        weights_licence="research and non-commercial use",
        source="our own; encoder: EfficientNet-Lite0, ImageNet (Apache-2.0)",
        keys="",
    )
)
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

# Billions of multiply-accumulates at 320x320 and parameters, heads included, of each backbone and mode.
_GFM_SIZES: dict[str, dict[str, tuple[int, float]]] = {
    "r34": {
        "tt": (55_286_316, 21.10),
        "ft": (55_285_739, 21.08),
        "bt": (55_285_739, 21.08),
        "rim": (55_733_891, 32.52),
    },
    "d121": {
        "tt": (46_961_772, 38.62),
        "ft": (46_961_195, 38.61),
        "bt": (46_961_195, 38.61),
        "rim": (47_409_347, 50.04),
    },
    "r34-2b": {
        "tt": (125_878_956, 243.66),
        "ft": (125_878_379, 243.60),
        "bt": (125_878_379, 243.60),
        "rim": (125_882_627, 244.02),
    },
    "r101": {
        "tt": (497_256_556, 120.31),
        "ft": (497_255_979, 120.30),
        "bt": (497_255_979, 120.30),
        "rim": (497_704_131, 131.73),
    },
}
_GFM_RELEASED = {"r34-tt", "r34-ft", "r34-bt", "r34-2b-tt", "d121-tt", "d121-rim", "r101-tt"}

for _backbone, _modes in _GFM_SIZES.items():
    for _mode, (_parameters, _gmacs) in _modes.items():
        _variant = f"{_backbone}-{_mode}"
        _released = _variant in _GFM_RELEASED
        _add(
            NetworkInfo(
                name=f"gfm-{_variant}",
                builder=f"server.networks.gfm:gfm_{_variant.replace('-', '_')}",
                task="alpha matting of people and animals",
                input_size=(320, 320),
                channels=3,
                parameters=_parameters,
                gmacs=_gmacs,
                code_licence="MIT",
                weights_licence=RESEARCH if _released else UNPUBLISHED,
                source="Li et al., IJCV 2022; github.com/JizhiziLi/GFM",
                keys=f"gfm_{_variant.replace('-', '_')}" if _released else "",
            )
        )

_add(
    NetworkInfo(
        name="pgsnet",
        builder="server.networks.pgsnet:pgsnet",
        task="glass",
        input_size=(352, 352),
        channels=3,
        parameters=196_893_705,
        gmacs=80.59,
        code_licence="MIT",
        weights_licence=UNPUBLISHED,
        source="Yu et al., TIP 2022 (no official code; built from the paper)",
        keys="pgsnet",
    )
)
