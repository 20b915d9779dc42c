"""CoreML packages made smaller give the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export import converting, packages, quantising, running
from export.writing import size_of
from server.networks.backbones.tiny_vit import Attention

SIDE = 12


class TwoAttentions(nn.Module):
    """Two layers of one pattern of biases and different numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Attention(64, SIDE), Attention(64, SIDE)
        for layer in (self.first, self.second):
            nn.init.normal_(layer.attention_biases)

    def forward(self, image: Tensor) -> Tensor:
        tokens = (image / 255).reshape(1, 3, SIDE * SIDE).transpose(1, 2).repeat(1, 1, 22)[:, :, :64]
        mixed = self.second(self.first(tokens)).mean(2)
        return torch.sigmoid(60 * mixed).reshape(1, 1, SIDE, SIDE)


@pytest.fixture(scope="module")
def made() -> tuple[nn.Module, Any]:
    with torch.random.fork_rng():
        torch.manual_seed(8)
        graph = TwoAttentions().eval().requires_grad_(False)
    inputs = (torch.zeros(1, 3, SIDE, SIDE),)
    return graph, converting.to_coreml(converting.captured(graph, inputs), inputs, half=True)


FEED = {"image": (255 * np.random.default_rng(3).random((1, 3, SIDE, SIDE))).astype(np.float32)}


@pytest.mark.parametrize("compressed", ["", "int8", "palette6"])
def test_a_compact_package_gives_the_same_map_from_less(
    made: tuple[nn.Module, Any], compressed: str, tmp_path: Path
) -> None:
    graph, model = made
    compress = {"int8": quantising.int8_coreml, "palette6": quantising.palette_coreml}.get(compressed)
    package = tmp_path / "model.mlpackage"
    with converting.quiet():
        (compress(model) if compress else model).save(str(package))
    before, size = running.CoreMLRunner(package).run(FEED), size_of(package)
    packages.compact_package(package)
    runner = running.CoreMLRunner(package)
    np.testing.assert_array_equal(runner.run(FEED), before)
    assert size_of(package) < size - 5000
    assert runner.program.counts["constexpr_lut_to_dense"] >= 4  # two heads of two layers
    if not compressed:
        expected = graph(torch.from_numpy(FEED["image"])).numpy()
        assert expected.std() > 0.01
        assert np.abs(before - expected).mean() < 1e-3


def test_biases_are_tables_of_one_pattern(made: tuple[nn.Module, Any], tmp_path: Path) -> None:
    """Each layer's biases would be 2 x 144 x 144 halves; both layers look theirs up by the same 144 x 144 bytes."""
    _, model = made
    package = tmp_path / "model.mlpackage"
    with converting.quiet():
        model.save(str(package))
    packages.compact_package(package)
    (weights,) = package.rglob("weight.bin")
    products = 2 * 2 * (64 * 192 + 64 * 64)
    assert weights.stat().st_size < products + 144 * 144 + 10_000


def test_a_table_is_exact_and_has_at_most_256_entries() -> None:
    generator = np.random.default_rng(5)
    numbers = generator.standard_normal((3, 200)).astype(np.float16)
    index = generator.integers(0, 200, (50, 60))
    found = packages.table_of(numbers[:, index])
    assert found is not None
    table, places = found
    np.testing.assert_array_equal(table[:, places], numbers[:, index])
    assert places[0, 0] == 0
    assert places.dtype == np.uint8
    assert packages.table_of(np.arange(900).reshape(3, 20, 15)) is None
