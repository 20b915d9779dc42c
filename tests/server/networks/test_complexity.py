"""Parameters and multiply-accumulates: hand-computable layers, and the figures the catalogue states."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from server.networks.catalogue import NETWORKS
from server.networks.complexity import complexity, count_gmacs, count_parameters

MEASURED = (
    "basnet",
    "pgsnet",
    "gfm-r34-tt",
    "gfm-r34-ft",
    "gfm-r34-bt",
    "gfm-r34-2b-tt",
    "gfm-r101-tt",
    "gfm-d121-tt",
    "gfm-d121-rim",
)


def test_convolution_by_hand() -> None:
    network = nn.Conv2d(3, 8, 3, padding=1)
    assert count_parameters(network) == 3 * 8 * 9 + 8
    assert count_gmacs(network, 3, 10, 20) == pytest.approx(10 * 20 * 3 * 8 * 9 / 1e9)


def test_grouped_strided_convolution_and_matrix_product_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(4, 8, 3, 2, 1, groups=4, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 5 * 5, 7)
    )
    assert count_gmacs(network, 4, 10, 10) == pytest.approx((25 * 8 * 9 + 200 * 7) / 1e9)


def test_shared_tensors_count_once() -> None:
    shared = nn.Linear(5, 5, bias=False)
    assert count_parameters(nn.Sequential(shared, shared)) == 25


def test_meta_and_real_devices_agree() -> None:
    real = count_gmacs(nn.Conv2d(3, 4, 5), 3, 9, 9)
    with torch.device("meta"):
        assert count_gmacs(nn.Conv2d(3, 4, 5), 3, 9, 9) == real


@pytest.mark.parametrize("name", MEASURED)
def test_catalogue_figures(name: str) -> None:
    info = NETWORKS[name]
    counted = complexity(info)
    assert counted.parameters == info.parameters
    assert info.gmacs is not None
    assert counted.gmacs == pytest.approx(info.gmacs, rel=5e-4)


def test_basnet_at_the_papers_size() -> None:
    assert complexity(NETWORKS["basnet"], (320, 320)).gmacs == pytest.approx(198.44, abs=0.005)
