from __future__ import annotations

import math

import pytest
import torch

from server.losses.pgsnet import pgsnet_loss
from server.losses.terms import total


def test_weights_are_four_two_one_from_the_final_prediction() -> None:
    target = torch.zeros(1, 1, 4, 4)
    target[..., :2] = 1
    neutral = torch.zeros(1, 1, 4, 4, requires_grad=True)
    terms = pgsnet_loss([neutral] * 3, target)
    # p = 1/2 everywhere: BCE log 2; sum pg = 4, sum (p + g - pg) = 8 + 8 - 4
    assert float(terms["bce"].detach()) == pytest.approx(7 * math.log(2), rel=1e-6)
    assert float(terms["iou"].detach()) == pytest.approx(7 * (1 - 4 / 12), rel=1e-6)
    levels = [torch.zeros(1, 1, 4, 4, requires_grad=True) for _ in range(3)]
    total(pgsnet_loss(levels, target)).backward()
    norms = [float(level.grad.norm()) for level in levels if level.grad is not None]
    assert norms == pytest.approx([4 * norms[2], 2 * norms[2], norms[2]])


def test_a_perfect_prediction_costs_nothing() -> None:
    target = (torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    logits = (target - 0.5) * 200
    assert float(total(pgsnet_loss([logits] * 3, target))) == pytest.approx(0, abs=1e-6)
