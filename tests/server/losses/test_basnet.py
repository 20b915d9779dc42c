from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from server.losses.basnet import basnet_loss
from server.losses.terms import iou_loss, ssim_loss, total


def batch() -> tuple[list[torch.Tensor], torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = (torch.rand(2, 1, 32, 32, generator=generator) > 0.5).float()
    return [torch.randn(2, 1, 32, 32, generator=generator) for _ in range(8)], target


def test_sums_the_three_terms_over_all_eight_outputs() -> None:
    logits, target = batch()
    terms = basnet_loss(logits, target)
    p = [output.sigmoid() for output in logits]
    assert float(terms["bce"]) == pytest.approx(float(sum(F.binary_cross_entropy(x, target) for x in p)), rel=1e-5)
    assert float(terms["ssim"]) == pytest.approx(float(sum(ssim_loss(x, target) for x in p)), rel=1e-5)
    assert float(terms["iou"]) == pytest.approx(float(sum(iou_loss(x, target) for x in p)), rel=1e-5)


def test_a_perfect_prediction_costs_nothing_and_the_opposite_is_finite() -> None:
    _, target = batch()
    logits = (target - 0.5) * 200
    assert float(total(basnet_loss([logits] * 8, target))) == pytest.approx(0, abs=1e-4)
    opposite = (-logits).requires_grad_()
    loss = total(basnet_loss([opposite] * 8, target))
    loss.backward()
    assert opposite.grad is not None
    assert torch.isfinite(opposite.grad).all()
    assert opposite.grad.abs().sum() > 0, "saturated logits still learn"


def test_every_output_is_supervised() -> None:
    logits, target = batch()
    for output in logits:
        output.requires_grad_()
    total(basnet_loss(logits, target)).backward()
    assert all(output.grad is not None and output.grad.abs().sum() > 0 for output in logits)


def test_gradient_agrees_with_finite_differences() -> None:
    logits, target = batch()
    logits = [output.requires_grad_() for output in logits]
    total(basnet_loss(logits, target)).backward()
    assert logits[0].grad is not None
    direction = logits[0].grad / logits[0].grad.norm()
    step = 0.3
    with torch.no_grad():
        up = total(basnet_loss([logits[0] + step * direction, *logits[1:]], target))
        down = total(basnet_loss([logits[0] - step * direction, *logits[1:]], target))
    assert float(up - down) / (2 * step) == pytest.approx(float(logits[0].grad.norm()), rel=2e-2)
