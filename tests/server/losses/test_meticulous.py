from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch

from server.losses.meticulous import BLOCKS, edge_magnitude, gradient_loss, meticulous_h_loss, meticulous_l_loss
from server.losses.terms import total


def constant(value: float) -> torch.Tensor:
    return torch.full((1, 1, 12, 12), value)


def test_l_is_the_plain_sum_of_seven_cross_entropies() -> None:
    terms = meticulous_l_loss([constant(0.25)] * 7, constant(1.0))
    assert tuple(terms) == BLOCKS
    assert float(total(terms)) == pytest.approx(7 * -math.log(0.25), rel=1e-6)


def test_h_weighs_the_triples_by_stride() -> None:
    p = 0.25
    terms = meticulous_h_loss([constant(p)] * 7, constant(1.0))
    bce, l1, l2 = -math.log(p), 0.75, 0.75**2
    for block in ("s8_0", "s8_1", "s8_2", "s8_3"):
        assert float(terms[block]) == pytest.approx(bce + l1 + l2, rel=1e-6)
    for block in ("s4_2", "s4_3"):
        assert float(terms[block]) == pytest.approx(0.5 * bce + 0.25 * l1 + 0.25 * l2, rel=1e-6)
    assert float(terms["s2_3"]) == pytest.approx(l1 + l2, rel=1e-6)
    assert float(terms["gradient"]) == pytest.approx(5 * float(gradient_loss(constant(p), constant(1.0))))


def test_another_number_of_maps_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        meticulous_l_loss([constant(0.5)] * 6, constant(1.0))


def test_edges_of_a_flat_interior_are_epsilon_and_of_a_ramp_its_slope() -> None:
    assert float(edge_magnitude(constant(0.7))[0, 0, 6, 6]) == pytest.approx(1e-2)
    ramp = (torch.arange(12.0) * 0.05).expand(1, 1, 12, 12)
    # Sobel / 4 answers a slope s with (1 + 2 + 1) * 2 s / 4 = 2 s
    assert float(edge_magnitude(ramp)[0, 0, 6, 6]) == pytest.approx(math.sqrt(0.1**2 + 1e-4), rel=1e-5)


def test_edges_agree_with_opencv() -> None:
    image = np.random.default_rng(0).random((20, 24)).astype(np.float32)
    smooth = cv2.blur(image, (3, 3), borderType=cv2.BORDER_CONSTANT)
    gx, gy = (
        cv2.Sobel(smooth, cv2.CV_32F, *order, ksize=3, borderType=cv2.BORDER_CONSTANT) / 4 for order in ((1, 0), (0, 1))
    )
    expected = np.sqrt(gx**2 + gy**2 + 1e-4)
    np.testing.assert_allclose(edge_magnitude(torch.from_numpy(image)[None, None])[0, 0].numpy(), expected, atol=1e-5)


def test_gradient_loss_is_zero_for_equal_maps_and_blind_to_transposition() -> None:
    generator = torch.Generator().manual_seed(2)
    p, g = torch.rand(2, 1, 16, 16, generator=generator), torch.rand(2, 1, 16, 16, generator=generator)
    assert float(gradient_loss(g, g)) == 0
    assert float(gradient_loss(p.mT, g.mT)) == pytest.approx(float(gradient_loss(p, g)), rel=1e-5)


def test_every_map_gets_a_gradient() -> None:
    generator = torch.Generator().manual_seed(3)
    target = (torch.rand(1, 1, 16, 16, generator=generator) > 0.5).float()
    for loss in (meticulous_l_loss, meticulous_h_loss):
        maps = [torch.rand(1, 1, 16, 16, generator=generator).requires_grad_() for _ in BLOCKS]
        total(loss(maps, target)).backward()
        assert all(map_.grad is not None and torch.isfinite(map_.grad).all() and map_.grad.any() for map_ in maps)
