"""The networks as phones call them: RGB in 0..255 in, one map in [0, 1] out, normalisation and fusion inside."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.targets import Target
from server.networks.backbones import efficientnet_lite0
from server.networks.gem import semantic_map
from server.networks.meticulous import IMAGENET_MEAN, IMAGENET_STD
from server.predictors.meticulous import MARGIN, SIZE, SURE, TILE, tile_starts


class Graph(nn.Module):
    """``forward(image)``: float32 1x3xSxS RGB in 0..255 -> 1x1xSxS in [0, 1]."""

    def __init__(self, mean: tuple[float, ...] = IMAGENET_MEAN, std: tuple[float, ...] = IMAGENET_STD) -> None:
        super().__init__()
        self.rgb_scale: Tensor
        self.rgb_shift: Tensor
        scale = 1 / (255 * torch.tensor(std, dtype=torch.float64))
        shift = -torch.tensor(mean, dtype=torch.float64) / torch.tensor(std, dtype=torch.float64)
        self.register_buffer("rgb_scale", scale.float().view(1, 3, 1, 1))
        self.register_buffer("rgb_shift", shift.float().view(1, 3, 1, 1))

    def normalised(self, image: Tensor) -> Tensor:
        return image * self.rgb_scale + self.rgb_shift


class Lite(Graph):
    def __init__(self, network: nn.Module) -> None:
        super().__init__(efficientnet_lite0.MEAN, efficientnet_lite0.STD)
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        mask: Tensor = self.network(self.normalised(image))
        return mask


class Saliency(Graph):
    """BASNet: the picture is divided by its own largest value first, as its authors' test script does."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        largest = image.amax((1, 2, 3), keepdim=True).clamp(min=1.0)
        coarse = self.network.logits(self.normalised(image * (255 / largest)))  # type: ignore[operator]
        return torch.sigmoid(coarse[0])


class ImageNetFirst(Graph):
    """A network whose first output is the result."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        mask: Tensor = self.network(self.normalised(image))[0]
        return mask


class Matting(Graph):
    """GFM with its fusion. It takes RGB in 0..255 as it is; the learned fusion of ``rim`` is cut to [0, 1]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        alpha: Tensor = self.network(image)[-1]
        return alpha.clamp(0, 1)


class Glass(Graph):
    """GEM: the hundred queries summed to one map, glass's share of the two scores."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def masks(self, predicted: Tensor) -> Tensor:
        """The network's masks at stride 4."""
        return predicted

    def forward(self, image: Tensor) -> Tensor:
        prediction = self.network(self.normalised(image))
        scores = semantic_map(prediction.logits, self.masks(prediction.masks))
        glass, total = scores[:, 1:2], scores[:, 0:1] + scores[:, 1:2]
        return glass / total.clamp(min=1e-4)


class MeticulousLow(Graph):
    """L. The dense form of the point refinement: no gather and no scatter."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network.mean, network.std)  # type: ignore[arg-type]
        self.network = _dense(network)

    def forward(self, image: Tensor) -> Tensor:
        finest: Tensor = self.network(self.normalised(image)).s2_3
        return finest


class MeticulousHigh(MeticulousLow):
    """H: ``forward(image, mask)`` with the coarse mask 1x1xSxS in [0, 1]."""

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        finest: Tensor = self.network(torch.cat([self.normalised(image), mask * 2 - 1], 1)).s2_3
        return finest


class MeticulousPipeline(Graph):
    """L on the shrunk picture, then H on the overlapping tiles of it, blended: the predictor's steps, without its skipping.

    Every tile is computed, and a tile that L is sure of keeps L's map, so the file costs the same for every picture.
    """

    def __init__(self, low: nn.Module, high: nn.Module, size: int) -> None:
        super().__init__(low.mean, low.std)  # type: ignore[arg-type]
        self.low, self.high = _dense(low), _dense(high)
        self.size = size
        self.starts = [(top, left) for top in tile_starts(size) for left in tile_starts(size)]
        self.shrink: Tensor
        self.grow: Tensor
        self.inside: Tensor
        self.register_buffer("shrink", triangle_matrix(size, SIZE[0]))
        self.register_buffer("grow", triangle_matrix(SIZE[0], size))
        self.register_buffer("inside", torch.stack([self._inside(top, left) for top, left in self.starts]))

    def forward(self, image: Tensor) -> Tensor:
        small = torch.matmul(torch.matmul(self.shrink, image), self.shrink.transpose(0, 1))
        mask = self.low(self.normalised(small)).s2_3.to(image.dtype)
        mask = torch.matmul(torch.matmul(self.grow, mask), self.grow.transpose(0, 1)).clamp(0, 1)
        picture = torch.cat([self.normalised(image), mask * 2 - 1], 1)
        coarse = torch.cat([_tile(mask, *start) for start in self.starts])
        mean = coarse.mean((2, 3), keepdim=True)
        undecided = torch.logical_and(mean >= SURE, mean <= 1 - SURE).to(image.dtype)
        weights = (self.inside * undecided.reshape(len(self.starts), -1, 1, 1)).reshape(coarse.shape)
        refined = self.high(torch.cat([_tile(picture, *start) for start in self.starts])).s2_3.to(image.dtype) * weights
        total, count = self._laid_out(refined), self._laid_out(weights)
        # Where no tile is undecided the count is zero, and L's map stays.
        return total / count.clamp(min=1) + mask * (1 - count.clamp(max=1))

    def _laid_out(self, tiles: Tensor) -> Tensor:
        """(T*N)x1xTILExTILE -> Nx1xSxS, each at its place, added up."""
        each = len(tiles) // len(self.starts)
        parts = [
            F.pad(
                tiles[index * each : (index + 1) * each], (left, self.size - left - TILE, top, self.size - top - TILE)
            )
            for index, (top, left) in enumerate(self.starts)
        ]
        return sum(parts[1:], parts[0])

    def _inside(self, top: int, left: int) -> Tensor:
        """1xTILExTILE: 1 but for the margins, which count only on the picture's own border."""

        def side(start: int) -> Tensor:
            position = torch.arange(TILE)
            first = MARGIN if start > 0 else 0
            last = TILE - MARGIN if start + TILE < self.size else TILE
            return torch.logical_and(position >= first, position < last)

        return torch.logical_and(side(top)[:, None], side(left)[None, :])[None].float()


def _tile(x: Tensor, top: int, left: int) -> Tensor:
    return x[:, :, top : top + TILE, left : left + TILE]


def triangle_matrix(length: int, wanted: int) -> Tensor:
    """(wanted, length): bilinear resampling as Pillow does it, a triangle as wide as one wanted pixel when shrinking."""
    scale = length / wanted
    support = max(scale, 1.0)
    centre = (torch.arange(wanted, dtype=torch.float64) + 0.5) * scale
    position = torch.arange(length, dtype=torch.float64) + 0.5
    weight = (1 - (position - centre[:, None]).abs() / support).clamp(min=0)
    return (weight / weight.sum(1, keepdim=True)).float()


def _dense(network: nn.Module) -> nn.Module:
    network.hierpr.dense = True  # type: ignore[union-attr]
    return network


def graph_of(target: Target, networks: list[nn.Module], size: int) -> nn.Module:
    """The target's graph around its networks, in eval mode, without gradients."""
    made: Any = globals()[target.graph]
    extra = (size,) if made is MeticulousPipeline else ()
    graph: nn.Module = made(*networks, *extra)
    return graph.eval().requires_grad_(False)
