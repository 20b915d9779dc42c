"""The large networks, reduced, in the formats that phones take: the same operations as in full, in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from export import converting, folding, graphs, networks, parity, pictures, running, targets
from export.exporting import exact
from export.glass import lean
from server.networks.basnet import BASNet
from server.networks.gem import GEM, gem_tiny
from server.networks.gem.pyramid import BaseBackbone
from server.networks.gfm import GFM
from server.networks.pgsnet import PGSNet
from tests.export.reduced import narrowed, shortened_gem

CASES: list[tuple[str, Callable[[], nn.Module], int]] = [
    ("gfm-r34-tt", lambda: narrowed(GFM("r34", "tt"), 8), 64),
    ("basnet", lambda: narrowed(BASNet(), 8), 64),
    ("gem-tiny", lambda: shortened_gem(gem_tiny()), 160),
    ("gem-base", lambda: shortened_gem(GEM(BaseBackbone(224, 64, 3, 2))), 224),
    ("gfm-d121-rim", lambda: narrowed(GFM("d121", "rim"), 8), 64),
    ("gfm-r34-ft", lambda: narrowed(GFM("r34", "ft"), 8), 64),
    ("gfm-r34-bt", lambda: narrowed(GFM("r34", "bt"), 8), 64),
    ("pgsnet", lambda: narrowed(PGSNet(), 8), 64),
]
QUICK = {"gfm-r34-tt", "gem-tiny"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("name", "make", "size"),
    [pytest.param(*case, id=case[0], marks=[] if case[0] in QUICK else pytest.mark.slow) for case in CASES],
)
def test_both_formats_equal_the_network(name: str, make: Callable[[], nn.Module], size: int, tmp_path: Path) -> None:
    target = targets.find(name)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        graph = graphs.graph_of(target, [networks.enlivened(make())], size)
    feeds = pictures.feeds(target, size, pictures.views(pictures.folder(None)), 2)
    given = [tuple(torch.from_numpy(array) for array in feed.values()) for feed in feeds]
    folding.settle(graph, given)
    expected = exact(graph, given)
    inputs = converting.example(target, size)
    program = converting.captured(lean(folding.folded(graph, inputs)), inputs)
    onnx = running.OnnxRunner(converting.to_onnx(program, inputs).SerializeToString())
    package = tmp_path / "model.mlpackage"
    with converting.quiet():
        converting.to_coreml(program, inputs, half=False).save(str(package))
    coreml = running.CoreMLRunner(package, precise=True)
    runners: dict[str, running.Runner] = {"onnx": onnx, "coreml": coreml}
    for kind, runner in runners.items():
        measured = parity.compare([runner.run(feed) for feed in feeds], expected)
        assert expected[0].std() > 1e-3, "a flat map proves nothing"
        assert measured.flipped <= 1e-3, (kind, str(measured))
        if name.startswith("gfm"):  # its classes are chosen by comparison: a pixel of a near tie may change class
            assert measured.beyond <= 1e-3, (kind, str(measured))
        else:
            assert measured.mean <= 2e-5, (kind, str(measured))
            assert measured.largest <= 2e-5, (kind, str(measured))
