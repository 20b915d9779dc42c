"""The trunks: torchvision's layouts, strides and widths, and the options networks build on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from server.networks.backbones.densenet import densenet121
from server.networks.backbones.resnet import ResNet, resnet34, resnet50, resnet101, resnext101
from server.networks.resampling import adaptive_mean_pool, require_multiple
from tests.server.networks.base import layout_of, official_layout, one_thread
from tests.server.networks.formula import fill, formula_input

__all__ = ["one_thread"]


@pytest.mark.parametrize(
    ("keys", "build"),
    [
        ("torchvision_resnet34", lambda: resnet34(classes=1000)),
        ("torchvision_resnet50", lambda: resnet50(classes=1000)),
        ("torchvision_resnet101", lambda: resnet101(classes=1000)),
        ("torchvision_resnext101_32x8d", lambda: resnext101(group_width=8, classes=1000)),
        ("torchvision_densenet121", densenet121),
    ],
)
def test_torchvision_layout(keys: str, build: Callable[[], nn.Module]) -> None:
    with torch.device("meta"):
        assert layout_of(build()) == official_layout(keys)


def test_pgsnet_trunk_size() -> None:
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in resnext101().parameters()) == 42_128_704


@pytest.mark.parametrize("build", [resnet34, resnet50, resnet101, resnext101])
def test_strides_and_widths(build: Callable[[], ResNet]) -> None:
    with torch.device("meta"):
        trunk = build()
        maps = trunk(torch.zeros(1, 3, 96, 64))
    assert [tuple(value.shape[2:]) for value in maps] == [(48, 32), (24, 16), (12, 8), (6, 4), (3, 2)]
    assert tuple(value.shape[1] for value in maps) == trunk.widths


def test_dilated_stages_keep_resolution_and_layout() -> None:
    with torch.device("meta"):
        dilated = resnet50(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), channels=4)
        maps = dilated(torch.zeros(1, 4, 64, 64))
        plain = layout_of(resnet50())
    assert [value.shape[2] for value in maps] == [32, 16, 8, 8, 8]
    assert dilated.layer3[0].conv2.dilation == (1, 1)
    assert dilated.layer3[1].conv2.dilation == (2, 2)
    assert dilated.layer4[2].conv2.dilation == (4, 4)
    plain["conv1.weight"] = [64, 4, 7, 7]
    assert layout_of(dilated) == plain


@pytest.mark.parametrize("build", [lambda: resnet34(classes=10).logits, lambda: densenet121()])
def test_classifier_sees_the_whole_picture(build: Callable[[], Callable[[torch.Tensor], torch.Tensor]]) -> None:
    classify = build()
    network = classify if isinstance(classify, nn.Module) else classify.__self__
    fill(network, 0.8)
    network.eval()
    x = formula_input(64).requires_grad_()
    scores = classify(x)
    assert scores.dim() == 2
    (gradient,) = torch.autograd.grad(scores[0, 3], x)
    assert (gradient.abs().sum(1) > 0).float().mean() > 0.99


def test_classifier_must_be_asked_for() -> None:
    with pytest.raises(ValueError, match="classes=1000"):
        resnet34().logits(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize(("height", "width"), [(3, 3), (10, 7), (28, 28), (50, 38)])
@pytest.mark.parametrize("bins", [1, 2, 3, 5, 6])
def test_pooling_by_matrices_is_adaptive_pooling(height: int, width: int, bins: int) -> None:
    x = torch.rand(2, 4, height, width, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(adaptive_mean_pool(x, bins), F.adaptive_avg_pool2d(x, bins), atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 3, 100, 64), (1, 3, 64, 100), (1, 3, 0, 64)])
def test_size_contract_names_the_rule(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"TestNet takes .* multiples of 32, not {shape[2]}x{shape[3]}"):
        require_multiple(torch.zeros(shape), 32, "TestNet")
