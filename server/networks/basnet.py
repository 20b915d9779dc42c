"""BASNet: boundary-aware salient object detection (Qin et al., CVPR 2019; code xuebinqin/BASNet, MIT)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from server.networks.backbones.resnet import BasicBlock, basic_layer
from server.networks.resampling import require_multiple


def _up(x: Tensor, factor: int = 2) -> Tensor:
    return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)


def _pool(x: Tensor) -> Tensor:
    # The official ceil_mode changes nothing here: every pooled side is even when the input is a multiple of 32.
    return F.max_pool2d(x, 2, 2)


class RefineModule(nn.Module):
    """The residual refinement module: coarse logits (N, 1, H, W) -> refined logits, the input plus a learned residual."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(1, 64, 3, padding=1)
        for level in range(1, 6):
            self.add_module(f"conv{level}", nn.Conv2d(64, 64, 3, padding=1))
            self.add_module(f"bn{level}", nn.BatchNorm2d(64))
        for level in range(4, 0, -1):
            self.add_module(f"conv_d{level}", nn.Conv2d(128, 64, 3, padding=1))
            self.add_module(f"bn_d{level}", nn.BatchNorm2d(64))
        self.conv_d0 = nn.Conv2d(64, 1, 3, padding=1)

    def _stage(self, x: Tensor, name: str) -> Tensor:
        convolution, norm = self.get_submodule(f"conv{name}"), self.get_submodule(f"bn{name}")
        return F.relu(norm(convolution(x)))

    def forward(self, coarse: Tensor) -> Tensor:
        x = self.conv0(coarse)
        skips = []
        for level in ("1", "2", "3", "4"):
            skips.append(self._stage(x, level))
            x = _pool(skips[-1])
        x = self._stage(x, "5")
        for level in ("4", "3", "2", "1"):
            x = self._stage(torch.cat((_up(x), skips.pop()), 1), f"_d{level}")
        residual: Tensor = self.conv_d0(x)
        return coarse + residual


class BASNet(nn.Module):
    """Encoder-decoder with seven side outputs, and the refinement module on the finest.

    (N, 3, H, W), sides multiples of 32 -> eight maps (N, 1, H, W) in [0, 1]: refined, d1..d6, bridge; the first is the
    result. ``logits`` gives the same maps before the sigmoid, for training.
    """

    def __init__(self) -> None:
        super().__init__()
        self.inconv = nn.Conv2d(3, 64, 3, padding=1)
        self.inbn = nn.BatchNorm2d(64)
        self.encoder1 = basic_layer(64, 64, 3)
        self.encoder2 = basic_layer(64, 128, 4, 2)
        self.encoder3 = basic_layer(128, 256, 6, 2)
        self.encoder4 = basic_layer(256, 512, 3, 2)
        for stage in (5, 6):
            for block in (1, 2, 3):
                self.add_module(f"resb{stage}_{block}", BasicBlock(512, 512))
        self._add_stage("bg", (512, 512, 512, 512), (2, 2, 2))
        self._add_stage("6d", (1024, 512, 512, 512), (1, 2, 2))
        self._add_stage("5d", (1024, 512, 512, 512))
        self._add_stage("4d", (1024, 512, 512, 256))
        self._add_stage("3d", (512, 256, 256, 128))
        self._add_stage("2d", (256, 128, 128, 64))
        self._add_stage("1d", (128, 64, 64, 64))
        for side, width in {"b": 512, "6": 512, "5": 512, "4": 256, "3": 128, "2": 64, "1": 64}.items():
            self.add_module(f"outconv{side}", nn.Conv2d(width, 1, 3, padding=1))
        self.refunet = RefineModule()

    def _add_stage(self, name: str, widths: tuple[int, ...], dilations: tuple[int, ...] = (1, 1, 1)) -> None:
        for index, (part, dilation) in enumerate(zip(("1", "m", "2"), dilations, strict=True)):
            convolution = nn.Conv2d(widths[index], widths[index + 1], 3, padding=dilation, dilation=dilation)
            self.add_module(f"conv{name}_{part}", convolution)
            self.add_module(f"bn{name}_{part}", nn.BatchNorm2d(widths[index + 1]))

    def _stage(self, x: Tensor, name: str) -> Tensor:
        for part in ("1", "m", "2"):
            x = F.relu(self.get_submodule(f"bn{name}_{part}")(self.get_submodule(f"conv{name}_{part}")(x)))
        return x

    def _blocks(self, x: Tensor, stage: int) -> Tensor:
        for block in (1, 2, 3):
            x = self.get_submodule(f"resb{stage}_{block}")(x)
        return x

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """The maps behind the side outputs: ``h1..h6`` of the encoder, ``hbg``, ``hd6..hd1``."""
        require_multiple(x, 32, "BASNet")
        h1 = self.encoder1(F.relu(self.inbn(self.inconv(x))))
        h2 = self.encoder2(h1)
        h3 = self.encoder3(h2)
        h4 = self.encoder4(h3)
        h5 = self._blocks(_pool(h4), 5)
        h6 = self._blocks(_pool(h5), 6)
        hbg = self._stage(h6, "bg")
        hd6 = self._stage(torch.cat((hbg, h6), 1), "6d")
        hd5 = self._stage(torch.cat((_up(hd6), h5), 1), "5d")
        hd4 = self._stage(torch.cat((_up(hd5), h4), 1), "4d")
        hd3 = self._stage(torch.cat((_up(hd4), h3), 1), "3d")
        hd2 = self._stage(torch.cat((_up(hd3), h2), 1), "2d")
        hd1 = self._stage(torch.cat((_up(hd2), h1), 1), "1d")
        names = ("h1", "h2", "h3", "h4", "h5", "h6", "hbg", "hd6", "hd5", "hd4", "hd3", "hd2", "hd1")
        maps = (h1, h2, h3, h4, h5, h6, hbg, hd6, hd5, hd4, hd3, hd2, hd1)
        return dict(zip(names, maps, strict=True))

    def logits(self, x: Tensor) -> tuple[Tensor, ...]:
        """The eight maps before the sigmoid. The refinement adds logits, not probabilities (as the code, not the paper)."""
        maps = self.features(x)

        def side(name: str, feature: str, factor: int) -> Tensor:
            logit: Tensor = self.get_submodule(f"outconv{name}")(maps[feature])
            return logit if factor == 1 else _up(logit, factor)

        d1 = side("1", "hd1", 1)
        d2, d3, d4, d5 = (side(str(level), f"hd{level}", 2 ** (level - 1)) for level in (2, 3, 4, 5))
        return self.refunet(d1), d1, d2, d3, d4, d5, side("6", "hd6", 32), side("b", "hbg", 32)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.sigmoid(logit) for logit in self.logits(x))


def basnet() -> BASNet:
    return BASNet()
