"""GEM with fewer multiplications: the last doubling of the pixel embedding, its 1x1 convolution and the product with the queries'
embeddings have no nonlinearity between them, so they are one product at half the resolution. And in at most four dimensions, since
more leave the Neural Engine."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.graphs import Glass


def lean(graph: nn.Module) -> nn.Module:
    """``graph``, in place: GEM's masks by :class:`LeanGlass`, any other graph as it is. Same map, up to rounding."""
    return LeanGlass(graph) if isinstance(graph, Glass) else graph


class LeanGlass(Glass):
    def __init__(self, glass: Glass) -> None:
        nn.Module.__init__(self)
        self.rgb_scale, self.rgb_shift = nn.Buffer(glass.rgb_scale), nn.Buffer(glass.rgb_shift)
        self.network = network = glass.network
        head = network.sem_seg_head
        self.queries: int = head.predictor.query_embed.num_embeddings
        head.predictor.mask_embed = nn.Sequential(
            head.predictor.mask_embed, _Doubled(network.backbone.transpose1[-1], head.pixel_decoder.mask_features)
        )
        head.pixel_decoder.mask_features = _WithOnes()
        network.backbone.transpose1[-1] = nn.Identity()
        for projection in head.pixel_decoder.input_proj:
            projection[-1] = _FlatGroupNorm(projection[-1])
        for layer in head.predictor.decoder.layers:
            layer.cross_attn.value_proj = _ChannelsFirst(layer.cross_attn.value_proj)

    def masks(self, packed: Tensor) -> Tensor:
        """(N, 4Q, h, w), a query's four neighbours one after the other -> (N, Q, 2h, 2w), in at most four dimensions."""
        batch, height, width = int(packed.shape[0]), int(packed.shape[2]), int(packed.shape[3])
        columns = packed.reshape(batch * self.queries * 2, 2, height * width).transpose(1, 2)
        rows = columns.reshape(batch * self.queries, 2, height, 2 * width).transpose(1, 2)
        return rows.reshape(batch, self.queries, 2 * height, 2 * width)


class _WithOnes(nn.Module):
    """One more channel, which carries the biases: (N, C, h, w) -> (N, C + 1, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, 0, 0, 0, 0, 1), value=1.0)


class _Doubled(nn.Module):
    """The transposed convolution (2x2, stride 2) and the 1x1 convolution after it, applied to the queries' embeddings instead:
    (N, Q, C) -> (N, 4Q, C + 1)."""

    def __init__(self, doubling: nn.ConvTranspose2d, features: nn.Conv2d) -> None:
        super().__init__()
        assert doubling.bias is not None
        assert features.bias is not None
        mixing = features.weight.detach().double()[:, :, 0, 0]
        kernel = torch.einsum("oc,icab->oabi", mixing, doubling.weight.detach().double())
        bias = mixing @ doubling.bias.detach().double() + features.bias.detach().double()
        whole = torch.cat([kernel.flatten(1, 2), bias[:, None, None].expand(-1, 4, -1)], 2)
        self.channels = int(whole.shape[2])
        self.weight = nn.Parameter(whole.flatten(1).to(features.weight.dtype), requires_grad=False)

    def forward(self, embedded: Tensor) -> Tensor:
        queries = int(embedded.shape[1])
        return torch.matmul(embedded, self.weight).reshape(-1, 4 * queries, self.channels)


class _ChannelsFirst(nn.Module):
    """A linear layer as a 1x1 convolution: (N, T, C) -> (N, T, D). Sampling wants each channel as a plane, so that the layer's
    transposition to that and back meets the network's, and neither is left."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = nn.Parameter(linear.weight.detach()[:, :, None, None], requires_grad=False)
        self.bias = nn.Parameter(linear.bias.detach(), requires_grad=False)

    def forward(self, tokens: Tensor) -> Tensor:
        planes = F.conv2d(tokens.transpose(1, 2).unsqueeze(3), self.weight, self.bias)
        return planes.squeeze(3).transpose(1, 2)


class _FlatGroupNorm(nn.Module):
    """``nn.GroupNorm``, for which coremltools takes a fifth dimension."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.groups, self.eps = norm.num_groups, norm.eps
        self.weight = nn.Parameter(norm.weight.detach()[:, None, None], requires_grad=False)
        self.bias = nn.Parameter(norm.bias.detach()[:, None, None], requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = (int(side) for side in x.shape)
        grouped = x.reshape(batch, self.groups, channels // self.groups * height, width)
        centred = grouped - grouped.mean((2, 3), keepdim=True)
        variance = (centred * centred).mean((2, 3), keepdim=True)
        normal = centred / torch.sqrt(variance + self.eps)
        return normal.reshape(batch, channels, height, width) * self.weight + self.bias
