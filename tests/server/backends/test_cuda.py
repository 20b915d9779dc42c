from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from server.backends.cuda import GraphedNetwork, _first, tuned  # noqa: E402
from server.predictors.pgsnet import PGSNetPredictor  # noqa: E402
from server.segmenters.grabcut import GrabCutSegmenter  # noqa: E402
from tests.server.predictors.test_base import Brightness, pictures  # noqa: E402


class Pair(NamedTuple):
    """As some networks answer."""

    a: Any
    b: Any


def test_what_is_not_on_a_gpu_stays_as_it_is() -> None:
    predictor = PGSNetPredictor(Brightness(), "pgsnet", device="cpu")
    network = predictor.network
    assert tuned(predictor) is predictor
    assert predictor.network is network
    grabcut = GrabCutSegmenter()
    assert tuned(grabcut) is grabcut


def test_a_network_that_cannot_be_captured_runs_as_it_is() -> None:
    """Where there is no CUDA every capture fails; the answer must come all the same."""
    if torch.cuda.is_available():
        pytest.skip("captures here")
    network = GraphedNetwork(Brightness()).eval()
    x = torch.rand(3, 3, 8, 8)
    with torch.inference_mode():
        (first,), (again,) = network(x), network(x)
        (exact,) = Brightness()(x)
    assert torch.equal(first, again)
    assert (first.float() - exact).abs().max() < 0.01
    assert network.mean is network.network.mean, "attributes are the network's own"


def test_only_the_given_pictures_come_back_as_copies() -> None:
    outputs = Pair(torch.arange(4.0), [torch.arange(8.0).view(4, 2)])
    first = _first(outputs, 3)
    outputs.a.zero_()
    assert isinstance(first, Pair)
    assert first.a.tolist() == [0, 1, 2]
    assert first.b[0].shape == (3, 2)


@pytest.mark.gpu
def test_graphs_give_what_the_network_gives() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    plain = PGSNetPredictor(Brightness(), "pgsnet", device="cuda")
    fast = tuned(PGSNetPredictor(Brightness(), "pgsnet", device="cuda"))
    for count in (1, 3, 2, 3):
        for exact, mask in zip(
            plain.predict_batch(pictures()[:count]), fast.predict_batch(pictures()[:count]), strict=True
        ):
            assert np.abs(exact - mask).max() < 0.02
    assert set(fast.network._graphs) == {(1, 3, 352, 352), (2, 3, 352, 352), (4, 3, 352, 352)}
