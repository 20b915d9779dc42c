"""GEM's backbones: a SAM-family encoder and the simple feature pyramid over its one map (Li et al., ECCV 2022)."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from server.networks.backbones.sam_vit import EMBEDDING, LayerNorm2d, SAMViT
from server.networks.backbones.tiny_vit import TinyViT


class Pyramid(NamedTuple):
    """256-channel maps at strides 4, 8, 16 and 32."""

    res2: Tensor
    res3: Tensor
    res4: Tensor
    res5: Tensor


def _double() -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(EMBEDDING, EMBEDDING, 2, 2)


def _to_stride4() -> nn.Sequential:
    return nn.Sequential(_double(), LayerNorm2d(EMBEDDING), nn.GELU(), _double())


def _to_stride8() -> nn.Sequential:
    return nn.Sequential(_double())


class TinyBackbone(TinyViT):
    def __init__(self) -> None:
        super().__init__()
        self.transpose1, self.transpose2 = _to_stride4(), _to_stride8()

    def forward(self, x: Tensor) -> Pyramid:  # type: ignore[override]
        res4 = super().forward(x)
        return Pyramid(self.transpose1(res4), self.transpose2(res4), res4, F.max_pool2d(res4, 2, 2))


class BaseBackbone(SAMViT):
    def __init__(self, image_size: int = 384, width: int = 768, depth: int = 12, heads: int = 12) -> None:
        super().__init__(image_size, width, depth, heads)
        self.transpose1, self.transpose2 = _to_stride4(), _to_stride8()

    def forward(self, x: Tensor) -> Pyramid:  # type: ignore[override]
        res4 = super().forward(x)
        return Pyramid(self.transpose1(res4), self.transpose2(res4), res4, F.max_pool2d(res4, 2, 2))
