"""Files that hold a network's encoder under other names: torchvision, timm, GDNet, MobileSAM, SAM."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from server.weights.layout import Layout

Rename = Callable[[str], str | None]

_SAM_LEFT_OUT = re.compile(r"(prompt_encoder|mask_decoder|image_encoder\.(norm_head|head))\.")
_SAM_SIZED = re.compile(r"image_encoder\.(pos_embed$|blocks\.(2|5|8|11)\.attn\.rel_pos_)")
_OLD_DENSE = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)")
_GDNET_UNUSED = re.compile(r"(h2l|h3_conv|h4_conv|h5_conv|l2_conv|[hl]_|final_|10\.)")
_GDNET_STEM = {"layer0.0": "conv1", "layer0.1": "bn1", "0": "conv1", "1": "bn1"}
_GDNET_STAGE = re.compile(r"(layer1\.1|layer[234]|[4567])\.(\d+)\.0\.(.+)")
_GDNET_PARTS = {
    "0.0.0": "conv1",
    "0.0.1": "bn1",
    "0.0.3": "conv2",
    "0.0.4": "bn2",
    "0.1": "conv3",
    "0.2": "bn3",
    "1.0": "downsample.0",
    "1.1": "downsample.1",
}


@dataclass(frozen=True)
class EncoderSource:
    """One kind of file and the networks it starts.

    ``rename`` gives the network's name of a tensor, ``None`` for one that is known and not used; what it does not know it
    returns as it is, to be reported. ``prefix`` and ``left_out`` say which of the network's tensors the file must hold.
    """

    title: str
    networks: re.Pattern[str]
    rename: Rename
    prefix: str
    left_out: re.Pattern[str] = re.compile(r"$^")

    def renamed(self, tensors: dict[str, Tensor], wanted: Layout) -> dict[str, Tensor]:
        """By the network's names."""
        named = {key: self.rename(key) for key in tensors}
        return {
            name: _widened(tensors[key], wanted.tensors.get(name)) for key, name in named.items() if name is not None
        }

    def needs(self, key: str) -> bool:
        return key.startswith(self.prefix) and not self.left_out.match(key)


def _widened(tensor: Tensor, target: Tensor | None) -> Tensor:
    """A stem for RGB and a coarse mask starts with zeros for the mask (MeticulousNet sec. 4.4)."""
    import torch

    if target is None or tensor.dim() != 4 or target.dim() != 4 or (tensor.shape[1], target.shape[1]) != (3, 4):
        return tensor
    return torch.cat((tensor, torch.zeros_like(tensor[:, :1])), 1)


def _prefixed(prefix: str, *unused: str) -> Rename:
    """The file's names behind ``prefix``, without those that begin with ``unused``."""
    return lambda key: None if key.startswith(unused) else prefix + key


def _basnet(key: str) -> str | None:
    if key.startswith(("conv1.", "bn1.", "fc.")):
        return None  # BASNet has a stem of its own
    return key.replace("layer", "encoder", 1)


def _densenet(key: str) -> str:
    return "densenet." + _OLD_DENSE.sub(r"\1\2", key)


def _sam(key: str) -> str | None:
    if _SAM_LEFT_OUT.match(key) or _SAM_SIZED.match(key):
        return None
    return key.replace("image_encoder.", "backbone.", 1)


def _mobile_net(key: str) -> str | None:
    return None if key.startswith(("classifier.", "features.16.")) else f"encoder.{key}"


def _lite0(key: str) -> str | None:
    return None if key.startswith(("_conv_head.", "_bn1.", "_fc.")) else f"encoder.{key}"


def _gdnet(key: str) -> str | None:
    """The Torch7-derived ResNeXt: numbered modules, bare (``4.0.0.0...``) or in GDNet's ``layer1.1.0.0...``."""
    if _GDNET_UNUSED.match(key):
        return None
    path, _, leaf = key.rpartition(".")
    if path in _GDNET_STEM:
        return f"backbone.{_GDNET_STEM[path]}.{leaf}"
    stage = _GDNET_STAGE.fullmatch(path)
    if stage is None or stage[3] not in _GDNET_PARTS:
        return key
    number = {"layer1.1": 1, "4": 1, "5": 2, "6": 3, "7": 4}.get(stage[1]) or int(stage[1][-1])
    return f"backbone.layer{number}.{stage[2]}.{_GDNET_PARTS[stage[3]]}.{leaf}"


_CLASSIFIER = re.compile(
    r"resnet\.fc\.|densenet\.(classifier|features\.norm5)\."
)  # kept by GFM's checkpoints, never used
_PYRAMID = re.compile(r"backbone\.transpose\d\.")
_PYRAMID_AND_SIZED = re.compile(r"backbone\.(transpose\d\.|pos_embed$|blocks\.(2|5|8|11)\.attn\.rel_pos_)")

ENCODER_SOURCES = (
    EncoderSource("MobileSAM", re.compile("gem-tiny"), _sam, "backbone.", _PYRAMID),
    EncoderSource("SAM ViT-B", re.compile("gem-base"), _sam, "backbone.", _PYRAMID_AND_SIZED),
    EncoderSource("torchvision ResNet-34", re.compile("basnet"), _basnet, "encoder"),
    EncoderSource("torchvision ResNet-34", re.compile("gfm-r34.*"), _prefixed("resnet."), "resnet.", _CLASSIFIER),
    EncoderSource("torchvision ResNet-101", re.compile("gfm-r101.*"), _prefixed("resnet."), "resnet.", _CLASSIFIER),
    EncoderSource("torchvision DenseNet-121", re.compile("gfm-d121.*"), _densenet, "densenet.", _CLASSIFIER),
    EncoderSource(
        "torchvision or timm ResNeXt-101 32x4d", re.compile("pgsnet"), _prefixed("backbone.", "fc."), "backbone."
    ),
    EncoderSource("GDNet's ResNeXt-101 32x4d", re.compile("pgsnet"), _gdnet, "backbone."),
    EncoderSource("torchvision ResNet-50", re.compile("meticulousnet-."), _prefixed("encoder.", "fc."), "encoder."),
    EncoderSource("torchvision MobileNetV3-Large", re.compile("mobile-meticulousnet-."), _mobile_net, "encoder."),
    EncoderSource("EfficientNet-Lite0", re.compile("lite0-meticulousnet-."), _lite0, "encoder."),
)


def encoder_sources(network: str) -> list[EncoderSource]:
    """The kinds of file that hold this network's encoder."""
    return [source for source in ENCODER_SOURCES if source.networks.fullmatch(network)]
