"""BASNet against its official outputs, and that it can learn."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from server.networks.basnet import BASNet
from tests.server.networks.base import (
    Golden,
    NetworkTests,
    assert_logits,
    assert_probabilities,
    one_thread,
    sample,
    sums,
)
from tests.server.networks.formula import formula_input
from tests.server.networks.overfit import assert_overfits

__all__ = ["one_thread"]


class TestBASNet(NetworkTests):
    name = "basnet"
    divisor = 32

    def check_golden(self, network: nn.Module, golden: Golden) -> None:
        assert isinstance(network, BASNet)
        for size in golden["sizes"]:
            x = formula_input(int(size))
            features = network.features(x) | {"inrelu": F.relu(network.inbn(network.inconv(x)))}
            for name, feature in features.items():
                assert_logits(sums(feature), golden[f"s{size}_{name}_sum"], name)
                assert_logits(sample(feature, 64), golden[f"s{size}_{name}_flat64"], name)
            logits = network.logits(x)
            assert_logits(logits[0], golden[f"s{size}_logit_dout"], "refined logit")
            assert_logits(logits[1], golden[f"s{size}_logit_d1"], "d1 logit")
            for name, output in zip(("dout", "d1", "d2", "d3", "d4", "d5", "d6", "db"), network(x), strict=True):
                assert_probabilities(output, golden[f"s{size}_{name}"], name)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_overfits_one_picture() -> None:
    torch.manual_seed(0)
    assert_overfits(BASNet(), lambda network, x: network.logits(x), size=64, steps=30)
