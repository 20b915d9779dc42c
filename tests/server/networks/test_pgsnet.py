"""PGSNet against the reference construction's outputs, and that it can learn."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from server.networks.pgsnet import PGSNet
from tests.server.networks.base import Golden, NetworkTests, assert_logits, one_thread, record_outputs, sample
from tests.server.networks.formula import formula_input
from tests.server.networks.overfit import assert_overfits

__all__ = ["one_thread"]

STAGES = {
    "layer1": "backbone.layer1",
    "layer4": "backbone.layer4",
    **{name: name for name in ("de1", "de2", "de3", "de4", "febf3", "febf2", "febf1")},
}


class TestPGSNet(NetworkTests):
    name = "pgsnet"

    def check_golden(self, network: nn.Module, golden: Golden) -> None:
        assert isinstance(network, PGSNet)
        for size in golden["sizes"]:
            kept, handles = record_outputs(network, STAGES)
            logits = network.logits(formula_input(int(size)))
            for handle in handles:
                handle.remove()
            for name, feature in kept.items():
                assert list(feature.shape) == golden[f"s{size}_{name}_shape"].tolist(), name
                assert_logits(sample(feature, 256), golden[f"s{size}_{name}_flat256"], name)
            for name, logit in zip(("p1", "p2", "p3"), logits, strict=True):
                assert_logits(logit, golden[f"s{size}_{name}_logit"], name)

    def test_sigmoid_comes_last(self, network: nn.Module) -> None:
        assert isinstance(network, PGSNet)
        x = self.batch()
        with torch.inference_mode():
            for output, logit in zip(network(x), network.logits(x), strict=True):
                assert torch.equal(output, torch.sigmoid(logit))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_overfits_one_picture() -> None:
    torch.manual_seed(0)
    assert_overfits(PGSNet(), lambda network, x: network.logits(x), size=64, steps=40)
