"""Every loss takes what its network gives, and one small step along its gradient lowers it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from server.losses.basnet import basnet_loss
from server.losses.gem import GEM_TINY, gem_loss
from server.losses.gfm import BAND_KERNEL, MattingTargets, band_masks, gfm_loss, gfm_rim_loss, trimap_of
from server.losses.meticulous import meticulous_h_loss, meticulous_l_loss
from server.losses.pgsnet import pgsnet_loss
from server.losses.terms import total
from server.networks.catalogue import NETWORKS
from tests.server.networks.base import one_thread

__all__ = ["one_thread"]
Terms = dict[str, Tensor]


def disc(size: int) -> Tensor:
    ys, xs = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    distance = ((ys - size / 2) ** 2 + (xs - size / 2.5) ** 2).sqrt()
    return (distance < size / 4).float()[None, None]


def picture(size: int, channels: int = 3) -> Tensor:
    return disc(size) + 0.2 * torch.rand(1, channels, size, size, generator=torch.Generator().manual_seed(0))


def matting_targets(size: int) -> MattingTargets:
    alpha = disc(size)
    eroded, dilated = band_masks(alpha[0, 0].numpy(), BAND_KERNEL // 8)
    trimap = trimap_of(alpha[0, 0].numpy(), 5)
    maps = [torch.from_numpy(map_)[None, None] for map_ in (trimap, eroded, dilated)]
    foreground, background = torch.full((1, 3, size, size), 200.0), torch.full((1, 3, size, size), 40.0)
    return MattingTargets(alpha * foreground + (1 - alpha) * background, foreground, background, alpha, *maps)


def gem(network: nn.Module) -> Terms:
    generator = torch.Generator().manual_seed(1)
    assert callable(network.every_layer)
    layers, proposals = network.every_layer(picture(160))
    assert len(layers) == 10
    return gem_loss(layers, proposals, disc(160), GEM_TINY, points=1000, generator=generator)


def rim(network: nn.Module) -> Terms:
    tt, ft, bt, alpha = network(picture(64))
    return gfm_rim_loss((tt, ft, bt), alpha, matting_targets(64))


LOSSES: dict[str, Callable[[nn.Module], Terms]] = {
    "basnet": lambda network: basnet_loss(network.logits(picture(32)), disc(32)),  # type: ignore[operator]
    "pgsnet": lambda network: pgsnet_loss(network.logits(picture(32)), disc(32)),  # type: ignore[operator]
    "mobile-meticulousnet-l": lambda network: meticulous_l_loss(network(picture(64)), disc(64)),
    "mobile-meticulousnet-h": lambda network: meticulous_h_loss(network(picture(64, 4)), disc(64)),
    "gfm-r34-tt": lambda network: gfm_loss(network(picture(64)), matting_targets(64), "tt"),
    "gfm-r34-bt": lambda network: gfm_loss(network(picture(64)), matting_targets(64), "bt"),
    "gfm-d121-rim": rim,
    "gem-tiny": gem,
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_along_the_gradient_lowers_the_loss(name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name].build()
    # The terms that a network is steered by are smooth; a hard switch (argmax, top-k, matching) may flip in a large step.
    before = total(LOSSES[name](network))
    before.backward()
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    squared = sum(float(gradient.square().sum()) for gradient in gradients)
    assert squared > 0
    step = 0.02 * float(before.detach()) / squared  # first order: two per cent less
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter -= step * parameter.grad
        after = total(LOSSES[name](network))
    assert float(after) < float(before.detach())
