"""The graphs around the networks against the server's predictors, without any conversion."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from export import folding, graphs, networks, pictures, targets
from export.glass import LeanGlass, lean
from server.networks.gem import gem_tiny
from server.networks.meticulous import Predictions, mobile_meticulousnet_h, mobile_meticulousnet_l
from server.predictors.meticulous import MeticulousPredictor
from tests.export.reduced import shortened_gem


class Flat(nn.Module):
    """Stands for L or H: their preparation and result, with a rule of a line instead of a network."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        network = mobile_meticulousnet_l() if channels == 3 else mobile_meticulousnet_h()
        self.mean, self.std, self.hierpr = network.mean, network.std, network.hierpr

    def forward(self, x: Tensor) -> Predictions:
        finest = torch.sigmoid(3 * x[:, :1] - x[:, 1:2] + x[:, -1:])
        return Predictions(*[finest] * 7)


@pytest.mark.parametrize("size", [320, 416])
def test_the_pipeline_does_what_the_predictor_does(size: int) -> None:
    picture = next(pictures.views(pictures.folder(None)))
    image = np.asarray(Image.fromarray(picture).resize((size, size)))
    graph = graphs.MeticulousPipeline(Flat(3), Flat(4), size)
    ours = graph(torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32)))[0, 0].numpy()
    predictor = MeticulousPredictor(Flat(3), Flat(4), "mobile-meticulousnet", device="cpu")  # type: ignore[arg-type]
    # Pillow shrinks 8-bit pictures in steps of a grey level, the graph does not round.
    difference = np.abs(ours - predictor.predict(image))
    assert difference.mean() <= 2e-3
    assert np.quantile(difference, 0.99) <= 0.02


def test_the_pipeline_takes_several_pictures_as_it_takes_one() -> None:
    image = 255 * torch.rand(2, 3, 320, 320, generator=torch.Generator().manual_seed(2))
    graph = graphs.MeticulousPipeline(Flat(3), Flat(4), 320)
    one_by_one = torch.cat([graph(picture[None]) for picture in image])
    assert (one_by_one[0] - one_by_one[1]).abs().max() > 0.01
    torch.testing.assert_close(graph(image), one_by_one, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("length", "wanted"), [(416, 336), (336, 416), (10, 10)])
def test_resampling_is_pillows(length: int, wanted: int) -> None:
    line = np.random.default_rng(1).random((1, length)).astype(np.float32)
    pillows = np.asarray(Image.fromarray(line).resize((wanted, 1), Image.Resampling.BILINEAR))
    ours = line @ graphs.triangle_matrix(length, wanted).numpy().T
    np.testing.assert_allclose(ours, pillows, atol=1e-5)


def test_folding_keeps_the_map_and_leaves_no_norm_behind_a_convolution() -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.BatchNorm2d(8), nn.Conv2d(8, 1, 1))
    feed = (torch.rand(2, 3, 9, 9),)
    folding.settle(network, [feed])
    network.eval()
    folded = folding.folded(network, feed)
    assert isinstance(folded, nn.Sequential)
    assert [type(module) for module in folded][1:4] == [nn.Identity, nn.ReLU, nn.BatchNorm2d]
    assert isinstance(network[1], nn.BatchNorm2d)  # the original is left alone
    torch.testing.assert_close(folded(*feed), network(*feed), rtol=0, atol=1e-5)


def test_folding_knows_modules_of_two_names() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
            self.second = nn.Sequential(self.first[0], self.first[1])

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.second(x)
            return out

    feed = (torch.rand(2, 3, 9, 9),)
    network = Twice()
    folding.settle(network, [feed])
    network.eval()
    torch.testing.assert_close(folding.folded(network, feed)(*feed), network(*feed), rtol=0, atol=1e-5)


def test_every_target_has_its_graph() -> None:
    assert all(hasattr(graphs, target.graph) for target in targets.TARGETS.values())


def test_settled_norms_know_all_pictures() -> None:
    """Pictures that differ as a whole: normalised one by one, the second norm would be off by what the first one hides."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8))
    feeds = [(shade + torch.rand(1, 3, 9, 9),) for shade in (-5.5, -0.5, 4.5)]
    folding.settle(network, feeds)
    settled = torch.cat([network.eval()(*feed) for feed in feeds])
    assert settled.mean((0, 2, 3)).abs().max() < 1  # norms of little variance are widened, so it is not zero
    assert settled.std((0, 2, 3)).min() > 0.2
    assert settled.std((0, 2, 3)).max() < 1.1


def test_a_lean_glass_gives_the_networks_map() -> None:
    """In float64, where the network allows it: the same numbers by fewer multiplications."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(6)
        graph = graphs.Glass(networks.enlivened(shortened_gem(gem_tiny()))).eval().double()
        image = 255 * torch.rand(2, 3, 160, 160, dtype=torch.float64)
        expected = graph(image)
        leaner = lean(graph)
        ours = leaner(image)
    assert isinstance(leaner, LeanGlass)
    assert expected.std() > 1e-3
    torch.testing.assert_close(ours, expected, rtol=0, atol=2e-6)


def test_other_graphs_are_as_lean_as_they_are() -> None:
    graph = graphs.ImageNetFirst(nn.Identity())
    assert lean(graph) is graph
