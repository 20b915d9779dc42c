"""MeticulousNet's point refinement as runtimes of a CPU like it: rows of a table gathered, products of matrices, one scatter."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from server.networks.meticulous import CoarseHead, HierarchicalPointRefinement


class GatheredRefinement(HierarchicalPointRefinement):
    """The same map as ``refinement`` gives, up to rounding, with its weights.

    ``grid_sample`` walks every channel of a point apart, far from its neighbours in memory; here a cell's channels lie in one
    row, and a point is four rows, weighted.
    """

    def __init__(self, refinement: HierarchicalPointRefinement) -> None:
        nn.Module.__init__(self)
        self.dense = False
        first, second, third = refinement.fc1, refinement.fc2, refinement.fc3
        # As parameters, not slices taken at each of the seven calls, of which a converter makes seven constants.
        self.of_fine, self.bias = _fixed(first.weight[:, :-1, :, None]), first.bias
        self.of_coarse = _fixed(first.weight[:, -1].transpose(0, 1))
        self.second, self.second_bias = _fixed(second.weight[:, :, 0]), second.bias
        self.third, self.third_of_coarse = _fixed(third.weight[:, :-1, 0]), _fixed(third.weight[:, -1])
        assert third.bias is not None
        self.third_bias = third.bias

    def fine(self, feature: Tensor) -> Tensor:
        """NxCxhxw -> NxhxwxW, ``fc1``'s share with its bias: the weights of a sample add up to one."""
        return F.conv2d(feature, self.of_fine, self.bias).permute(0, 2, 3, 1).contiguous()

    def _refine_points(self, fine: Tensor, coarse: Tensor, uncertainty: Tensor, count: int) -> Tensor:
        pictures, height, width = coarse.shape[0], int(coarse.shape[-2]), int(coarse.shape[-1])
        cells = uncertainty.flatten(1).topk(count, sorted=False).indices
        picture = torch.arange(pictures).unsqueeze(1)
        rows = _sampled(fine, cells, picture, height, width)
        places = (cells + picture * (height * width)).flatten()
        flat = coarse.flatten()
        rewritten = self._perceptron_of_rows(rows, flat.index_select(0, places).unsqueeze(1).to(fine.dtype))
        return flat.scatter(0, places, rewritten.to(flat.dtype)).reshape(coarse.shape)

    def _perceptron_of_rows(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """``fine`` PxW (already through ``fc1``), ``coarse`` Px1 -> probabilities P."""
        x = F.relu(torch.addmm(fine, coarse, self.of_coarse))
        x = F.relu(F.linear(torch.cat([x, coarse], 1), self.second, self.second_bias))
        # One row of weights times all points: with the points as rows, a product would have one column.
        of_coarse = coarse.transpose(0, 1) * self.third_of_coarse + self.third_bias
        return torch.sigmoid(torch.addmm(of_coarse, self.third, x.transpose(0, 1))).flatten()


class Plane(nn.Module):
    """A 1x1 convolution to one channel as a product of rows: a convolution would compute sixteen channels at once."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        assert convolution.bias is not None
        self.weight, self.bias = _fixed(convolution.weight[0, :, 0]), convolution.bias

    def forward(self, x: Tensor) -> Tensor:
        """NxCxHxW -> Nx1xHxW"""
        pictures, _, height, width = map(int, x.shape)
        return (torch.matmul(x.permute(0, 2, 3, 1), self.weight) + self.bias).reshape(pictures, 1, height, width)


def _fixed(weight: Tensor) -> nn.Parameter:
    return nn.Parameter(weight.detach().contiguous(), requires_grad=False)


def _sampled(fine: Tensor, cells: Tensor, picture: Tensor, height: int, width: int) -> Tensor:
    """Bilinear samples of ``fine`` NxhxwxW at cells NxK of a height x width grid over the same picture -> (NK)xW."""
    rows, columns = int(fine.shape[1]), int(fine.shape[2])
    table = fine.flatten(0, 2)
    y = torch.div(cells, width, rounding_mode="floor")
    x = cells - y * width
    first = picture * (rows * columns)
    if (rows, columns) == (height, width):
        return table.index_select(0, (first + cells).flatten())
    top, bottom, down = _neighbours(y, rows, height)
    left, right, along = _neighbours(x, columns, width)

    around = [top * columns + left, top * columns + right, bottom * columns + left, bottom * columns + right]
    weights = [(1 - down) * (1 - along), (1 - down) * along, down * (1 - along), down * along]
    places = torch.stack([(first + place).flatten() for place in around]).transpose(0, 1)
    corners = table.index_select(0, places.flatten()).reshape(-1, len(around), int(table.shape[1]))
    return torch.matmul(torch.stack(weights).transpose(0, 1).unsqueeze(1), corners).squeeze(1)


def _neighbours(position: Tensor, length: int, fine: int) -> tuple[Tensor, Tensor, Tensor]:
    """Cells NxK of a line of ``fine`` -> the two cells around each on a line of ``length``, and the second one's share as NK."""
    source = ((position.float() + 0.5) * (length / fine) - 0.5).clamp(0, length - 1)
    first = source.floor()
    second = (first + 1).clamp(max=length - 1)
    return first.long(), second.long(), (source - first).flatten()


def has_points(graph: nn.Module) -> bool:
    return any(isinstance(module, HierarchicalPointRefinement) for module in graph.modules())


def gathered(graph: nn.Module) -> nn.Module:
    """``graph``, in place, with every dense point refinement and every head's last convolution replaced."""
    for parent in list(graph.modules()):
        if isinstance(parent, CoarseHead):
            parent.conv2 = Plane(parent.conv2)  # type: ignore[assignment]
        for name, child in list(parent.named_children()):
            if isinstance(child, HierarchicalPointRefinement):
                setattr(parent, name, GatheredRefinement(child))
    return graph
