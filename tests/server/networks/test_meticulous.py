"""MeticulousNet against its reference construction's outputs, its point refinement, and that it can learn."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from server.networks.catalogue import NETWORKS
from server.networks.meticulous import (
    MOBILE,
    HierarchicalPointRefinement,
    MeticulousNet,
    Predictions,
    high_from_low,
    lite0_meticulousnet_h,
    lite0_meticulousnet_l,
    meticulousnet_l,
    mobile_meticulousnet_h,
    mobile_meticulousnet_l,
)
from tests.server.networks.base import Golden, NetworkTests, assert_probabilities, one_thread
from tests.server.networks.formula import fill, formula_input
from tests.server.networks.overfit import assert_overfits

__all__ = ["one_thread"]


class MeticulousTests(NetworkTests):
    divisor = 8
    size = 96

    def check_golden(self, network: nn.Module, golden: Golden) -> None:
        assert isinstance(network, MeticulousNet)
        for size in golden["sizes"]:
            x = formula_input(int(size), self.info.channels)
            for dense in (False, True):
                network.hierpr.dense = dense
                outputs: Predictions = network(x)
                for name, output in outputs._asdict().items():
                    expected = golden[f"s{size}_{name}"]
                    step = int(size) // expected.shape[-1]
                    assert_probabilities(output[..., ::step, ::step], expected, f"{name} at {size}, dense {dense}")
            network.hierpr.dense = False

    def test_dense_form_exports_without_gather_and_scatter(self, network: nn.Module) -> None:
        assert isinstance(network, MeticulousNet)
        x = self.batch()
        network.hierpr.dense = True
        try:
            with torch.no_grad():
                program = torch.export.export(network, (x,))
                torch.testing.assert_close(program.module()(x).s2_3, network(x).s2_3, rtol=0, atol=1e-5)
        finally:
            network.hierpr.dense = False
        targets = {str(node.target) for node in program.graph.nodes}
        assert "aten.topk.default" in targets
        assert not any(word in target for target in targets for word in ("gather", "scatter", "grid_sample", "index"))


class TestMeticulousNetL(MeticulousTests):
    name = "meticulousnet-l"


class TestMeticulousNetH(MeticulousTests):
    name = "meticulousnet-h"


class TestMobileMeticulousNetL(MeticulousTests):
    name = "mobile-meticulousnet-l"


class TestMobileMeticulousNetH(MeticulousTests):
    name = "mobile-meticulousnet-h"


class Lite0Tests(MeticulousTests):
    """The same decoder over another encoder: there is no reference for the whole, so its golden test is the parts'."""

    @pytest.fixture(scope="class")
    @classmethod
    def golden(cls) -> Golden:
        return {}

    @pytest.fixture(scope="class")
    @classmethod
    def network(cls) -> nn.Module:
        network = NETWORKS[cls.name].build()
        fill(network, 0.9)
        return network.eval()

    def test_official_keys_and_shapes(self) -> None:
        """The decoder's parameters are MobileNetV3's variant's but for the widths that meet the encoder."""
        with torch.device("meta"):
            ours, theirs = self.info.build().state_dict(), mobile_meticulousnet_l().state_dict()
        assert {key for key in ours if not key.startswith("encoder.")} == {
            key for key in theirs if not key.startswith("encoder.")
        }

    def check_golden(self, network: nn.Module, golden: Golden) -> None:
        """Points and dense agree; every map is a probability."""
        assert isinstance(network, MeticulousNet)
        x = self.batch()
        points = network(x)
        network.hierpr.dense = True
        dense = network(x)
        network.hierpr.dense = False
        for one, other in zip(points, dense, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
            assert one.shape == (1, 1, self.size, self.size)
            assert 0 <= float(one.min()) < float(one.max()) <= 1


class TestLite0MeticulousNetL(Lite0Tests):
    name = "lite0-meticulousnet-l"


class TestLite0MeticulousNetH(Lite0Tests):
    name = "lite0-meticulousnet-h"


def refinement() -> HierarchicalPointRefinement:
    torch.manual_seed(0)
    return HierarchicalPointRefinement(8, 16)


def test_refinement_rewrites_the_most_uncertain_tenth_and_nothing_else() -> None:
    module = refinement()
    logits = torch.randn(2, 1, 12, 10) * 3
    feature = torch.randn(2, 8, 24, 20)
    with torch.no_grad():
        refined = module(module.fine(feature), logits, None)
    coarse = torch.nn.functional.interpolate(logits.sigmoid(), scale_factor=2.0, mode="bilinear")
    changed = (refined != coarse).flatten(1)
    distance = (coarse - 0.5).abs().flatten(1)
    assert changed.sum(1).tolist() == [48, 48]
    for picture in range(2):
        assert distance[picture][changed[picture]].max() < distance[picture][~changed[picture]].min()


def test_refinement_ranks_cells_that_a_float_probability_cannot_tell_apart() -> None:
    """All of a sure map's probabilities round to 1; the least sure tenth is still the one that is rewritten."""
    module = refinement()
    logits = torch.linspace(40, 60, 144).reshape(1, 1, 12, 12)
    with torch.no_grad():
        refined = module(module.fine(torch.randn(1, 8, 24, 24)), logits, None)
    assert (logits.sigmoid() == 1).all()
    changed = (refined != 1).reshape(24, 24)
    assert int(changed.sum()) == 57
    assert changed[:3].sum() == 57


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_sampling_the_projected_feature_equals_projecting_the_upsampled_one(scale: int) -> None:
    """The perceptron as written in the paper: upsample the feature, concatenate the coarse value, three layers."""
    module = refinement()
    module.dense = True
    side = 12 * scale
    logits, feature = torch.randn(1, 1, side // 2, side // 2), torch.randn(1, 8, 12, 12)
    with torch.no_grad():
        refined = module(module.fine(feature), logits, None)
        coarse = torch.nn.functional.interpolate(logits.sigmoid(), scale_factor=2.0, mode="bilinear").flatten(2)
        fine = torch.nn.functional.interpolate(feature, (side, side), mode="bilinear").flatten(2)
        x = module.fc1(torch.cat([fine, coarse], 1)).relu()
        x = module.fc2(torch.cat([x, coarse], 1)).relu()
        expected = module.fc3(torch.cat([x, coarse], 1)).sigmoid()
    changed = (refined.flatten(2) != coarse)[0, 0]
    assert int(changed.sum()) == int(0.1 * side * side)
    torch.testing.assert_close(refined.flatten(2)[..., changed], expected[..., changed], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("high_builder", "low_builder"),
    [(mobile_meticulousnet_h, mobile_meticulousnet_l), (lite0_meticulousnet_h, lite0_meticulousnet_l)],
)
def test_h_starts_as_l_whatever_its_mask(high_builder: type[nn.Module], low_builder: type[nn.Module]) -> None:
    low, high = low_builder(), high_builder()
    assert isinstance(low, MeticulousNet)
    assert isinstance(high, MeticulousNet)
    fill(low, 0.9)
    high_from_low(high, low)
    low.eval()
    high.eval()
    x = formula_input(64, 4)
    with torch.inference_mode():
        assert torch.equal(high(x).s2_3, low(x[:, :3]).s2_3)


def test_a_map_too_small_to_refine_is_left_alone() -> None:
    """At 8 px the first block's grid has 4 cells: a tenth of it is none."""
    network = mobile_meticulousnet_l().eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 8, 8)).s2_3.shape == (1, 1, 8, 8)


def probability_logits(network: nn.Module, x: Tensor) -> list[Tensor]:
    outputs: Predictions = network(x)
    return [output.clamp(1e-6, 1 - 1e-6).logit() for output in (outputs.s2_3, *outputs[:-1])]


@pytest.mark.parametrize("builder", [mobile_meticulousnet_l, lite0_meticulousnet_l])
def test_mobile_overfits_one_picture(builder: type[nn.Module]) -> None:
    torch.manual_seed(0)
    assert_overfits(builder(), probability_logits, size=64, steps=60, learning_rate=3e-3)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_overfits_one_picture() -> None:
    torch.manual_seed(0)
    assert_overfits(meticulousnet_l(), probability_logits, size=48, steps=50, learning_rate=5e-5)


@pytest.mark.slow
def test_h_overfits_one_picture() -> None:
    torch.manual_seed(0)
    network = mobile_meticulousnet_h()
    assert_overfits(
        network,
        lambda network, x: probability_logits(network, torch.cat([x, torch.zeros_like(x[:, :1])], 1)),
        size=64,
        steps=60,
        learning_rate=3e-3,
    )


def test_the_mobile_decoder_is_reduced_not_different() -> None:
    with torch.device("meta"):
        mobile, full = mobile_meticulousnet_l(), meticulousnet_l()
    names = {name for name in dict(mobile.named_parameters()) if not name.startswith("encoder.")}
    assert names == {name for name in dict(full.named_parameters()) if not name.startswith("encoder.")}
    assert mobile.psp.bottleneck.out_channels == MOBILE.psp
