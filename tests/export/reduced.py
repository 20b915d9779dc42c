"""Small versions of the large networks: the same graph with fewer channels or fewer blocks."""

from __future__ import annotations

from typing import Any, cast

from torch import nn

KEEP_BELOW = 16


def narrowed(network: nn.Module, factor: int) -> nn.Module:
    """All widths divided by ``factor``, in place; inputs and outputs of fewer than 16 channels stay. Fresh weights."""

    def less(channels: int) -> int:
        return channels // factor if channels >= KEEP_BELOW else channels

    made: dict[int, nn.Module] = {}
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if id(child) not in made:
                made[id(child)] = _narrow(child, less)
            setattr(parent, name, made[id(child)])
    return network.eval()


def _narrow(module: nn.Module, less: Any) -> nn.Module:
    if isinstance(module, nn.Conv2d):
        groups = module.groups if module.groups == 1 else min(module.groups, less(module.in_channels) // 2)
        return nn.Conv2d(
            less(module.in_channels), less(module.out_channels), cast(Any, module.kernel_size), cast(Any, module.stride),
            cast(Any, module.padding), cast(Any, module.dilation), groups, module.bias is not None,
        )  # fmt: skip
    if isinstance(module, nn.BatchNorm2d):
        return nn.BatchNorm2d(less(module.num_features), module.eps)
    if isinstance(module, nn.Linear):
        return nn.Linear(less(module.in_features), less(module.out_features), module.bias is not None)
    return module


def shortened_gem(network: Any, layers: int = 1) -> nn.Module:
    """GEM with one decoder layer and one block a stage."""
    decoder = network.sem_seg_head.predictor.decoder
    decoder.layers = decoder.layers[:layers]
    decoder.bbox_embed = decoder.bbox_embed[:layers]
    if hasattr(network.backbone, "layers"):
        for stage in network.backbone.layers:
            stage.blocks = stage.blocks[:1]
    return cast(nn.Module, network.eval())
