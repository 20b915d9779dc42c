"""Batch norms folded into the convolutions before them, in float64: converters do it in float32, which costs digits."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn


def folded(graph: nn.Module, inputs: tuple[torch.Tensor, ...]) -> nn.Module:
    """A copy of ``graph`` (in eval mode) without the batch norms that always and alone follow one convolution."""
    import torch
    from torch import nn

    graph = copy.deepcopy(graph)
    makers: dict[int, tuple[torch.Tensor, str]] = {}
    before: dict[str, set[str | None]] = {}
    handles = []

    def made(name: str) -> Any:
        return lambda module, given, output: makers.__setitem__(id(output), (output, name))

    def read(name: str) -> Any:
        return lambda module, given: before.setdefault(name, set()).add(makers.get(id(given[0]), (None, None))[1])

    for name, module in graph.named_modules():
        if isinstance(module, nn.Conv2d):
            handles.append(module.register_forward_hook(made(name)))
        elif isinstance(module, nn.BatchNorm2d):
            handles.append(module.register_forward_pre_hook(read(name)))
    with torch.inference_mode():
        graph(*inputs)
    for handle in handles:
        handle.remove()
    pairs = {norm: next(iter(names)) for norm, names in before.items() if len(names) == 1}
    convolutions = [name for name in pairs.values() if name is not None]
    for norm, convolution in pairs.items():
        if convolution is not None and convolutions.count(convolution) == 1:
            _fold(graph, convolution, norm)
    return graph


def _fold(graph: nn.Module, convolution: str, norm: str) -> None:
    import torch
    from torch import nn

    conv, bn = graph.get_submodule(convolution), graph.get_submodule(norm)
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(bn, nn.BatchNorm2d)
    assert bn.running_mean is not None
    assert bn.running_var is not None
    with torch.no_grad():
        scale = bn.weight.double() / torch.sqrt(bn.running_var.double() + bn.eps)
        bias = conv.bias.double() if conv.bias is not None else torch.zeros_like(scale)
        shifted = (bias - bn.running_mean.double()) * scale + bn.bias.double()
        conv.weight = nn.Parameter((conv.weight.double() * scale[:, None, None, None]).float(), requires_grad=False)
        conv.bias = nn.Parameter(shifted.float(), requires_grad=False)
    for parent in graph.modules():  # some networks know one module by two names
        for name, child in list(parent._modules.items()):
            if child is bn:
                setattr(parent, name, nn.Identity())


def settle(graph: nn.Module, feeds: list[tuple[torch.Tensor, ...]]) -> None:
    """Give the batch norms of a network with made-up weights the statistics of these pictures, so that its values stay sane.

    All pictures at once: normalised one by one, each layer would be given something else than it sees later.
    """
    import torch
    from torch import nn

    norms = [module for module in graph.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average over the calls
        norm.train()
    with torch.no_grad():
        graph(*(torch.cat(pictures) for pictures in zip(*feeds, strict=True)))
    for norm in norms:
        norm.eval()
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None
        assert variance is not None
        # A channel of almost no variance, or far from zero, would enlarge nothing but rounding.
        variance.copy_(torch.maximum(torch.maximum(variance, 0.25 * variance.mean()), 0.1 * mean.square()))
