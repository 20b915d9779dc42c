"""MeticulousNet (Yang et al., "Meticulous Object Segmentation"): the low-resolution L and the high-resolution H.

The authors published neither code nor weights. Parts are named after the paper's figures 2 to 6; what the paper leaves
open (decoder blocks, widths, the mask encoding) follows CascadePSP (Cheng et al., CVPR 2020) and PointRend (Kirillov et
al., CVPR 2020), which it builds on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from server.networks.backbones import efficientnet_lite0, mobilenet_v3
from server.networks.backbones.resnet import resnet50
from server.networks.resampling import adaptive_mean_pool, require_multiple

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

UNCERTAIN_SHARE = 0.10
"""The share of a grid's cells that the perceptron rewrites (paper 3.3)."""


@dataclass(frozen=True)
class Widths:
    """Channels of the decoder's parts. ``mask`` are the three convolutions of the mask encoding."""

    psp: int
    up4: int
    up2: int
    perceptron: int
    mask: tuple[int, int, int]
    fuse: int
    head: int


FULL = Widths(psp=1024, up4=512, up2=256, perceptron=256, mask=(64, 128, 256), fuse=384, head=32)
MOBILE = Widths(psp=128, up4=64, up2=32, perceptron=64, mask=(16, 32, 48), fuse=32, head=16)


class Predictions(NamedTuple):
    """The refined maps of the seven HierPR blocks in order, Nx1xHxW probabilities at the input's size.

    ``s2_3`` is the result; the others are supervised too.
    """

    s8_0: Tensor
    s8_1: Tensor
    s8_2: Tensor
    s4_2: Tensor
    s8_3: Tensor
    s4_3: Tensor
    s2_3: Tensor


def _upsample(x: Tensor, factor: int) -> Tensor:
    height, width = int(x.shape[-2]) * factor, int(x.shape[-1]) * factor
    return F.interpolate(x, (height, width), mode="bilinear", align_corners=False)


class AdaptiveMeanPool(nn.Module):
    """NxCxHxW -> NxCxbinsxbins."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins = bins

    def forward(self, x: Tensor) -> Tensor:
        return adaptive_mean_pool(x, self.bins)


class PyramidPooling(nn.Module):
    """PSPNet's pooled context, in CascadePSP's form: no batch normalisation, bins of 1, 2, 3 and 6."""

    bins = (1, 2, 3, 6)

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        # CascadePSP's stages are (pooling, convolution); the pooling has its place, and no parameters.
        self.stages = nn.ModuleList(
            nn.Sequential(AdaptiveMeanPool(bins), nn.Conv2d(channels, channels, 1, bias=False)) for bins in self.bins
        )
        self.bottleneck = nn.Conv2d(channels * (len(self.bins) + 1), width, 1)

    def forward(self, x: Tensor) -> Tensor:
        size = (int(x.shape[-2]), int(x.shape[-1]))
        context = [F.interpolate(stage(x), size, mode="bilinear", align_corners=False) for stage in self.stages]
        return F.relu(self.bottleneck(torch.cat([*context, x], 1)))


class MaskEncoding(nn.Module):
    """M of figure 3: three full-size probability maps -> features at stride 8."""

    def __init__(self, widths: tuple[int, int, int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in widths:
            layers += [nn.Conv2d(channels, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            channels = width
        self.net = nn.Sequential(*layers)

    def forward(self, initial: Tensor, stride8: Tensor, stride4: Tensor) -> Tensor:
        out: Tensor = self.net(torch.cat([initial, stride8, stride4], 1) * 2 - 1)
        return out


class Fusion(nn.Module):
    """The column's first feature plus a bottleneck over it and the mask encoding (figure 3)."""

    def __init__(self, channels: int, mask_channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels + mask_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)

    def forward(self, feature: Tensor, mask_feature: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(torch.cat([feature, mask_feature], 1))))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(feature + self.bn3(self.conv3(x)))


class Deconvolution(nn.Module):
    """Bilinear x2, then pre-activation residual convolutions over it and the encoder's skip (CascadePSP)."""

    def __init__(self, channels: int, skip_channels: int, width: int) -> None:
        super().__init__()
        self.conv = self._pre_activation(channels + skip_channels, width)
        self.conv2 = self._pre_activation(width, width)
        self.shortcut = nn.Conv2d(channels, width, 1)

    @staticmethod
    def _pre_activation(channels: int, width: int) -> nn.Sequential:
        return nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = _upsample(x, 2)
        p = self.conv(torch.cat([x, skip], 1)) + self.shortcut(x)
        out: Tensor = p + self.conv2(p)
        return out


class CoarseHead(nn.Module):
    """Two 1x1 convolutions: a feature -> the logits of a coarse map at its stride."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1)
        self.conv2 = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.conv2(F.relu(self.conv1(x)))
        return logits


class HierarchicalPointRefinement(nn.Module):
    """HierPR (paper 3.3, figure 6): a three-layer point perceptron that all blocks share.

    Rewrites the floor(10 %) most uncertain cells of each block's grid. ``dense`` computes every cell and selects, which
    gives the same map without gather and scatter (for runtimes that lack them); cells that tie exactly at the cut are
    then all rewritten.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv1d(channels + 1, width, 1)
        self.fc2 = nn.Conv1d(width + 1, width, 1)
        self.fc3 = nn.Conv1d(width + 1, 1, 1)
        self.dense = False

    def fine(self, feature: Tensor) -> Tensor:
        """``fc1``'s share of the encoder's first block, NxCxhxw -> NxWxhxw; the same for every block.

        A linear map commutes with bilinear sampling, so it is applied once, before the sampling.
        """
        return F.conv2d(feature, self.fc1.weight[:, :-1, :, None])

    def forward(self, fine: Tensor, logits: Tensor, previous: Tensor | None) -> Tensor:
        """``logits`` Nx1xhxw of a coarse head, ``previous`` the refined map of the stride before, at stride h.

        Returns the refined probabilities Nx1x2hx2w.
        """
        logits = logits.float()
        coarse, complement = _upsample(torch.sigmoid(logits), 2), _upsample(torch.sigmoid(-logits), 2)
        # Ranks as |p - 0.5| and |logit| do, without the ties that rounding makes where the network is sure.
        uncertainty = torch.minimum(coarse, complement).detach()
        if previous is not None:
            coarse = (coarse + _upsample(previous.float(), 2)) / 2
        count = int(UNCERTAIN_SHARE * uncertainty.shape[-2] * uncertainty.shape[-1])
        if count == 0:
            return coarse
        refine = self._refine_dense if self.dense else self._refine_points
        return refine(fine, coarse, uncertainty, count)

    def _refine_points(self, fine: Tensor, coarse: Tensor, uncertainty: Tensor, count: int) -> Tensor:
        height, width = int(coarse.shape[-2]), int(coarse.shape[-1])
        cells = uncertainty.flatten(1).topk(count, sorted=False).indices
        x = (cells % width + 0.5) * (2 / width) - 1
        y = (torch.div(cells, width, rounding_mode="floor") + 0.5) * (2 / height) - 1
        grid = torch.stack([x, y], -1).unsqueeze(1)
        # In float32: at half precision a coordinate would be off by whole pixels.
        sampled = F.grid_sample(fine.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
        flat = coarse.flatten(2)
        cells = cells.unsqueeze(1)
        rewritten = self._perceptron(sampled[:, :, 0].to(fine.dtype), flat.gather(2, cells).to(fine.dtype))
        return flat.scatter(2, cells, rewritten.float()).reshape(coarse.shape)

    def _refine_dense(self, fine: Tensor, coarse: Tensor, uncertainty: Tensor, count: int) -> Tensor:
        height, width = int(coarse.shape[-2]), int(coarse.shape[-1])
        threshold = uncertainty.flatten(1).topk(count).values[:, -1]
        sampled = F.interpolate(fine, (height, width), mode="bilinear", align_corners=False)
        rewritten = self._perceptron(sampled.flatten(2), coarse.flatten(2).to(fine.dtype)).float()
        chosen = uncertainty >= threshold[:, None, None, None]
        return torch.where(chosen, rewritten.reshape(coarse.shape), coarse)

    def _perceptron(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """``fine`` NxWxP (already through ``fc1``'s share), ``coarse`` Nx1xP -> probabilities Nx1xP."""
        x = F.relu(fine + F.conv1d(coarse, self.fc1.weight[:, -1:], self.fc1.bias))
        x = F.relu(self.fc2(torch.cat([x, coarse], 1)))
        return torch.sigmoid(self.fc3(torch.cat([x, coarse], 1)))


class MeticulousNet(nn.Module):
    """Three cycles of figure 5 over an encoder of output stride 8.

    ``encoder`` gives maps whose first two are at strides 2 and 4 and whose last is at stride 8; ``taps`` are the channels
    of those three. ``mean`` and ``std`` normalise RGB in [0, 1] for this encoder.
    """

    divisor = 8

    def __init__(
        self,
        encoder: nn.Module,
        taps: tuple[int, int, int],
        widths: Widths,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        stride2, stride4, stride8 = taps
        self.mean, self.std = mean, std
        self.encoder = encoder
        self.psp = PyramidPooling(stride8, widths.psp)
        self.mask_enc = MaskEncoding(widths.mask)
        self.fuse8 = Fusion(widths.psp, widths.mask[-1], widths.fuse)
        self.up4 = Deconvolution(widths.psp, stride4, widths.up4)
        self.up2 = Deconvolution(widths.up4, stride2, widths.up2)
        self.head0 = CoarseHead(widths.psp, widths.head)
        self.head8 = CoarseHead(widths.psp, widths.head)
        self.head4 = CoarseHead(widths.up4, widths.head)
        self.head2 = CoarseHead(widths.up2, widths.head)
        self.hierpr = HierarchicalPointRefinement(stride4, widths.perceptron)

    def forward(self, x: Tensor) -> Predictions:
        """L: normalised RGB Nx3xHxW; H: with the coarse mask as 2p - 1 in a fourth channel. H, W: multiples of 8."""
        require_multiple(x, self.divisor, "MeticulousNet")
        dtype = x.dtype
        maps = self.encoder(x)
        f2, f4, f8 = maps[0], maps[1], maps[-1]
        fine = self.hierpr.fine(f4)
        d0 = self.psp(f8)

        def column8(initial: Tensor, stride8: Tensor, stride4: Tensor) -> Tensor:
            masks = (initial.to(dtype), stride8.to(dtype), stride4.to(dtype))
            feature: Tensor = self.fuse8(d0, self.mask_enc(*masks))
            return feature

        s8_0 = self.hierpr(fine, self.head0(d0), None)
        full_0 = _upsample(s8_0, 4)
        g8 = column8(full_0, full_0, full_0)
        s8_1 = self.hierpr(fine, self.head8(g8), None)
        full_1 = _upsample(s8_1, 4)

        g8 = column8(full_0, full_1, full_1)
        s8_2 = self.hierpr(fine, self.head8(g8), None)
        s4_2 = self.hierpr(fine, self.head4(self.up4(g8, f4)), s8_2)
        full_2, full_42 = _upsample(s8_2, 4), _upsample(s4_2, 2)

        g8 = column8(full_0, full_2, full_42)
        s8_3 = self.hierpr(fine, self.head8(g8), None)
        g4 = self.up4(g8, f4)
        s4_3 = self.hierpr(fine, self.head4(g4), s8_3)
        s2_3 = self.hierpr(fine, self.head2(self.up2(g4, f2)), s4_3)
        return Predictions(full_0, full_1, full_2, full_42, _upsample(s8_3, 4), _upsample(s4_3, 2), s2_3)


def _with_resnet50(channels: int) -> MeticulousNet:
    encoder = resnet50(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), channels=channels)
    return MeticulousNet(encoder, (64, 256, 2048), FULL)


def _with_mobilenet_v3(channels: int) -> MeticulousNet:
    encoder = mobilenet_v3.MobileNetV3Encoder(channels, output_stride=8)
    return MeticulousNet(encoder, (16, 24, 160), MOBILE)


def _with_lite0(channels: int) -> MeticulousNet:
    encoder = efficientnet_lite0.EfficientNetLite0Encoder(channels, output_stride=8)
    return MeticulousNet(encoder, (16, 24, 320), MOBILE, efficientnet_lite0.MEAN, efficientnet_lite0.STD)


meticulousnet_l = partial(_with_resnet50, 3)
meticulousnet_h = partial(_with_resnet50, 4)
mobile_meticulousnet_l = partial(_with_mobilenet_v3, 3)
mobile_meticulousnet_h = partial(_with_mobilenet_v3, 4)
lite0_meticulousnet_l = partial(_with_lite0, 3)
lite0_meticulousnet_h = partial(_with_lite0, 4)


def high_from_low(high: MeticulousNet, low: MeticulousNet) -> None:
    """Fill H with L's weights and zeros for the mask channel: it starts as L, whatever the mask (paper 4.4)."""
    state = low.state_dict()
    for name, tensor in high.state_dict().items():
        if tensor.shape != state[name].shape:
            state[name] = F.pad(state[name], (0, 0, 0, 0, 0, tensor.shape[1] - state[name].shape[1]))
    high.load_state_dict(state)
