"""GFM: glance and focus matting (Li et al., IJCV 2022; code JizhiziLi/GFM, MIT).

One encoder, a glance decoder that sorts pixels into classes and a focus decoder that gives alpha where glance is unsure.
The modes name what glance classifies (RoSTa): ``tt`` background / transition / foreground, ``ft`` foreground or not,
``bt`` background or not, ``rim`` all three with a learned fusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from server.networks.backbones.densenet import densenet121
from server.networks.backbones.resnet import BasicBlock, resnet34, resnet101
from server.networks.resampling import adaptive_mean_pool, require_multiple

Backbone = Literal["r34", "d121", "r34-2b", "r101"]
Mode = Literal["tt", "ft", "bt", "rim"]
Triple = tuple[Tensor, Tensor, Tensor]

GLANCE_CLASSES = {"tt": 3, "ft": 2, "bt": 2}


class PSP(nn.Module):
    """Pyramid pooling over 1, 3 and 5 bins: (N, C, H, W) -> (N, C, H, W). No batch norm, as the official code."""

    bins = (1, 3, 5)

    def __init__(self, channels: int) -> None:
        super().__init__()
        # The official stages are (pool, conv): the convolution's key is "1".
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Identity(), nn.Conv2d(channels, channels, 1, bias=False)) for _ in self.bins
        )
        self.bottleneck = nn.Conv2d(channels * (len(self.bins) + 1), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = int(x.shape[2]), int(x.shape[3])
        pooled = [stage(adaptive_mean_pool(x, bins)) for bins, stage in zip(self.bins, self.stages, strict=True)]
        broadcast = pooled[0].expand(-1, -1, height, width)
        spread = [F.interpolate(y, size=(height, width), mode="bilinear", align_corners=True) for y in pooled[1:]]
        return F.relu(self.bottleneck(torch.cat((broadcast, *spread, x), 1)))


class Upsample(nn.Module):
    """Bilinear, half-pixel centres."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = float(factor)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=self.factor, mode="bilinear", align_corners=False)


class SqueezeExcite(nn.Module):
    """Channel attention of the RIM head: (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        hidden = channels // reduction
        self.fc = nn.Sequential(
            nn.Linear(channels, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, channels, bias=False), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        scale: Tensor = self.fc(x.mean((2, 3)))
        return x * scale[:, :, None, None]


def _conv(channels: int, width: int, dilation: int = 1) -> list[nn.Module]:
    """Convolution (with bias), batch norm, ReLU."""
    convolution = nn.Conv2d(channels, width, 3, padding=dilation, dilation=dilation)
    return [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]


def _decoder(widths: Sequence[int], *, up: bool = True) -> nn.Sequential:
    """Three convolutions and x2."""
    layers = [layer for index in range(3) for layer in _conv(widths[index], widths[index + 1])]
    return nn.Sequential(*layers, *([Upsample(2)] if up else []))


def _head(channels: int, outputs: int) -> nn.Sequential:
    """The last decoder of a branch: logits at twice the resolution."""
    return nn.Sequential(*_conv(channels, 64), *_conv(64, 64), nn.Conv2d(64, outputs, 3, padding=1), Upsample(2))


def _psp_branch(channels: int, width: int, factor: int) -> nn.Sequential:
    return nn.Sequential(*_conv(channels, width), Upsample(factor))


def fuse(glance: Tensor, focus: Tensor, mode: str) -> Tensor:
    """Collaborative matting: (N, 2 or 3, H, W) and (N, 1, H, W) in [0, 1] -> alpha (N, 1, H, W).

    The class is the arg-max of the sigmoid VALUES, the lowest index on ties (float32 saturates at 1), written as
    comparisons because exporters treat ties of arg-max differently.
    """
    if mode == "tt":
        background, transition, foreground = glance[:, 0:1], glance[:, 1:2], glance[:, 2:3]
        is_foreground = torch.logical_and(foreground > transition, foreground > background)
        is_transition = torch.logical_and(transition > background, transition >= foreground)
        inside = torch.where(is_transition, focus, torch.zeros_like(focus))
        return torch.where(is_foreground, torch.ones_like(focus), inside)
    chosen = (glance[:, 1:2] > glance[:, 0:1]).to(focus.dtype)
    return (chosen + focus).clamp(max=1) if mode == "ft" else (chosen - focus).clamp(min=0)


class GFM(nn.Module):
    """(N, 3, H, W) in 0..255, RGB, sides multiples of 32 -> (glance, focus, alpha), all in [0, 1] at full size.

    Mode ``rim`` returns the three triples of tt, ft and bt, then the learned fusion, which may leave [0, 1] slightly.
    The checkpoint names the encoder's tensors twice (``resnet.*`` or ``densenet.*``, and ``encoder*``); both are here.
    """

    def __init__(self, backbone: Backbone, mode: Mode) -> None:
        super().__init__()
        self.backbone, self.mode = backbone, mode
        self.modes = ("tt", "ft", "bt") if mode == "rim" else (mode,)
        self.levels = (6, 5, 4, 3, 2, 1) if backbone == "r34-2b" else (4, 3, 2, 1)
        widths = _ENCODERS[backbone](self)
        deepest = widths[-1]
        self.psp_module = PSP(deepest)
        self.bridge_block = nn.Sequential(*(layer for _ in range(3) for layer in _conv(deepest, deepest, 2)))
        self._add_decoders(widths)
        self._add_heads()
        if mode == "rim":
            self.rim = nn.Sequential(nn.Conv2d(3, 16, 1), SqueezeExcite(16), nn.Conv2d(16, 1, 1))

    def _add_decoders(self, widths: Sequence[int]) -> None:
        """``widths`` are the channels of e0, e1, ...; the skip of focus decoder k is e_k."""
        table = _WIDE_DECODERS if self.backbone == "r101" else _DECODERS
        deepest = widths[-1]
        above = deepest
        for level in self.levels:
            first, second, out = table[level]
            up = not (self.backbone == "r34-2b" and level == 1)
            self.add_module(f"decoder{level}_g", _decoder((2 * above, first, second, out), up=up))
            self.add_module(f"decoder{level}_f", _decoder((above + widths[level], first, second, out), up=up))
            # Glance pairs the next decoder with the pooled context at its own resolution and width.
            factor = 2 ** (self.levels[0] - level + 1)
            self.add_module(f"psp{level}", _psp_branch(deepest, out, factor))
            above = out

    def _add_heads(self) -> None:
        for mode in self.modes:
            suffix = f"_{mode}" if self.mode == "rim" else ""
            for branch, outputs in (("g", GLANCE_CLASSES[mode]), ("f", 1)):
                head = _head(128, outputs)
                if self.backbone == "r34-2b":
                    head = nn.Sequential(nn.Conv2d(64, outputs, 3, padding=1))
                self.add_module(f"decoder0_{branch}{suffix}", head)

    def encode(self, x: Tensor) -> list[Tensor]:
        """The maps e0, e1, ... of the encoder, finest first."""
        maps = []
        for level in range(self.levels[0] + 1):
            x = self.get_submodule(f"encoder{level}")(x)
            maps.append(x)
        return maps

    def _glance(self, encoded: Sequence[Tensor]) -> Tensor:
        context = self.psp_module(encoded[-1])
        x = self.get_submodule(f"decoder{self.levels[0]}_g")(torch.cat((context, encoded[-1]), 1))
        for above, level in zip(self.levels, self.levels[1:], strict=False):
            pooled = self.get_submodule(f"psp{above}")(context)
            x = self.get_submodule(f"decoder{level}_g")(torch.cat((pooled, x), 1))
        # With r34-2b the finest decoder is the head itself, and psp1 is a tensor the checkpoint keeps unused.
        last: Tensor = x if self.backbone == "r34-2b" else torch.cat((self.get_submodule("psp1")(context), x), 1)
        return last

    def _focus(self, encoded: Sequence[Tensor]) -> Tensor:
        x = self.bridge_block(encoded[-1])
        for level in self.levels:
            x = self.get_submodule(f"decoder{level}_f")(torch.cat((x, encoded[level]), 1))
        last: Tensor = x if self.backbone == "r34-2b" else torch.cat((x, encoded[0]), 1)
        return last

    def logits(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """(glance, focus) before the sigmoid, one pair a mode."""
        require_multiple(x, 32, "GFM")
        encoded = self.encode(x)
        glance, focus = self._glance(encoded), self._focus(encoded)
        suffixes = [f"_{mode}" for mode in self.modes] if self.mode == "rim" else [""]
        return [
            (self.get_submodule(f"decoder0_g{suffix}")(glance), self.get_submodule(f"decoder0_f{suffix}")(focus))
            for suffix in suffixes
        ]

    def forward(self, x: Tensor) -> Triple | tuple[Triple, Triple, Triple, Tensor]:
        triples = []
        for mode, (glance_logit, focus_logit) in zip(self.modes, self.logits(x), strict=True):
            glance, focus = torch.sigmoid(glance_logit), torch.sigmoid(focus_logit)
            triples.append((glance, focus, fuse(glance, focus, mode)))
        if self.mode != "rim":
            return triples[0]
        tt, ft, bt = triples
        return tt, ft, bt, self.rim(torch.cat((tt[2], ft[2], bt[2]), 1))


# Decoder k: widths of its three convolutions. The input width follows from what is concatenated.
_DECODERS = {
    6: (512, 512, 512),
    5: (512, 512, 512),
    4: (512, 512, 256),
    3: (256, 256, 128),
    2: (128, 128, 64),
    1: (64, 64, 64),
}
_WIDE_DECODERS = {4: (2048, 1024, 1024), 3: (1024, 512, 512), 2: (512, 256, 256), 1: (256, 128, 64)}


def _resnet_encoder(gfm: GFM) -> tuple[int, ...]:
    resnet = resnet34(classes=1000) if gfm.backbone == "r34" else resnet101(classes=1000)
    gfm.resnet = resnet
    gfm.encoder0 = nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu)
    gfm.encoder1 = nn.Sequential(resnet.maxpool, resnet.layer1)
    gfm.encoder2, gfm.encoder3, gfm.encoder4 = resnet.layer2, resnet.layer3, resnet.layer4
    return resnet.widths


def _resnet_2b_encoder(gfm: GFM) -> tuple[int, ...]:
    """A stem without stride, ResNet-34's stages, and two more: strides 1, 1, 2, 4, 8, 16, 32."""
    resnet = resnet34(classes=1000)
    gfm.resnet = resnet
    gfm.encoder0 = nn.Sequential(*_conv(3, 64))
    gfm.encoder1, gfm.encoder2 = resnet.layer1, resnet.layer2
    gfm.encoder3, gfm.encoder4 = resnet.layer3, resnet.layer4
    for level in (5, 6):
        blocks = [BasicBlock(512, 512) for _ in range(3)]
        gfm.add_module(f"encoder{level}", nn.Sequential(nn.MaxPool2d(2, 2), *blocks))
    return (*resnet.widths, 512, 512)


def _densenet_encoder(gfm: GFM) -> tuple[int, ...]:
    """DenseNet-121 without its max pool and its last norm; a 512-channel stride-32 stage on top."""
    densenet = densenet121()
    part = densenet.features.get_submodule
    gfm.densenet = densenet
    gfm.encoder0 = nn.Sequential(part("conv0"), part("norm0"), nn.ReLU(inplace=True))
    for level in (1, 2, 3):
        gfm.add_module(f"encoder{level}", nn.Sequential(part(f"denseblock{level}"), part(f"transition{level}")))
    gfm.encoder4 = nn.Sequential(part("denseblock4"), *_conv(1024, 512), nn.MaxPool2d(2, 2))
    return 64, 128, 256, 512, 512


_ENCODERS = {
    "r34": _resnet_encoder,
    "r101": _resnet_encoder,
    "r34-2b": _resnet_2b_encoder,
    "d121": _densenet_encoder,
}


gfm_r34_tt = partial(GFM, "r34", "tt")
gfm_r34_ft = partial(GFM, "r34", "ft")
gfm_r34_bt = partial(GFM, "r34", "bt")
gfm_r34_rim = partial(GFM, "r34", "rim")
gfm_d121_tt = partial(GFM, "d121", "tt")
gfm_d121_ft = partial(GFM, "d121", "ft")
gfm_d121_bt = partial(GFM, "d121", "bt")
gfm_d121_rim = partial(GFM, "d121", "rim")
gfm_r34_2b_tt = partial(GFM, "r34-2b", "tt")
gfm_r34_2b_ft = partial(GFM, "r34-2b", "ft")
gfm_r34_2b_bt = partial(GFM, "r34-2b", "bt")
gfm_r34_2b_rim = partial(GFM, "r34-2b", "rim")
gfm_r101_tt = partial(GFM, "r101", "tt")
gfm_r101_ft = partial(GFM, "r101", "ft")
gfm_r101_bt = partial(GFM, "r101", "bt")
gfm_r101_rim = partial(GFM, "r101", "rim")
