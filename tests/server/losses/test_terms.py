"""BCE, IoU and SSIM by hand, and against second implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from server.losses.terms import binary_cross_entropy, iou_loss, ssim_loss, total


def maps(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_iou_by_hand() -> None:
    p = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]]], [[[0.5, 0.0, 0.0, 0.0]]]])
    g = torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]], [[[1.0, 1.0, 0.0, 0.0]]]])
    # first: 1 / 2; second: 0.5 / (0.5 + 2 - 0.5)
    assert float(iou_loss(p, g)) == pytest.approx(((1 - 0.5) + (1 - 0.25)) / 2, abs=1e-7)


def test_iou_of_an_equal_binary_map_is_zero_and_of_a_disjoint_one_is_one() -> None:
    g = (maps(0, 2, 1, 8, 8) > 0.5).float()
    assert float(iou_loss(g, g)) == 0
    assert float(iou_loss(1 - g, g)) == 1


def test_iou_of_two_empty_maps_is_finite() -> None:
    empty = torch.zeros(1, 1, 4, 4, requires_grad=True)
    loss = iou_loss(empty, torch.zeros(1, 1, 4, 4))
    loss.backward()
    assert float(loss.detach()) == 1
    assert torch.isfinite(empty.grad).all()


def test_iou_weighs_images_alike_whatever_their_area() -> None:
    large, small = torch.ones(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    small[..., 0, 0] = 1
    half = torch.cat((large, small)) * 0.5
    expected = (iou_loss(half[:1], large) + iou_loss(half[1:], small)) / 2
    assert float(iou_loss(half, torch.cat((large, small)))) == pytest.approx(float(expected))


def test_bce_by_hand_and_under_autocast() -> None:
    p, g = torch.tensor([0.25, 0.5]), torch.tensor([0.0, 1.0])
    expected = -(math.log(0.75) + math.log(0.5)) / 2
    assert float(binary_cross_entropy(p, g)) == pytest.approx(expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert float(binary_cross_entropy(p, g)) == pytest.approx(expected)


def test_ssim_agrees_with_scikit_image_inside_the_border() -> None:
    """Where the window does not reach the zero padding both definitions are the same."""
    p, g = maps(1, 1, 1, 40, 48), (maps(2, 1, 1, 40, 48) > 0.6).float()
    _, expected = structural_similarity(
        p[0, 0].double().numpy(),
        g[0, 0].double().numpy(),
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        truncate=3.4,  # an 11-pixel window
        use_sample_covariance=False,
        full=True,
    )
    interior = expected[5:-5, 5:-5]
    ours = _ssim_map(p, g)[5:-5, 5:-5]
    np.testing.assert_allclose(ours, interior, atol=2e-5)
    assert float(ssim_loss(p, g)) == pytest.approx(1 - float(_ssim_map(p, g).mean()), abs=1e-6)


def _ssim_map(p: torch.Tensor, g: torch.Tensor) -> np.ndarray:
    """The zero-padded map in float64, written with explicit windows."""
    offsets = np.arange(11) - 5
    profile = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(profile, profile) / profile.sum() ** 2
    x, y = (np.pad(image[0, 0].double().numpy(), 5) for image in (p, g))
    views = [np.lib.stride_tricks.sliding_window_view(image, (11, 11)) for image in (x, y, x * x, y * y, x * y)]
    mx, my, xx, yy, xy = ((view * window).sum((2, 3)) for view in views)
    c1, c2 = 0.01**2, 0.03**2
    return np.asarray(
        (2 * mx * my + c1) * (2 * (xy - mx * my) + c2) / ((mx**2 + my**2 + c1) * (xx - mx**2 + yy - my**2 + c2))
    )


def test_ssim_of_a_map_with_itself_is_zero_and_symmetric() -> None:
    p, g = maps(3, 2, 1, 16, 16), maps(4, 2, 1, 16, 16)
    assert float(ssim_loss(p, p)) == pytest.approx(0, abs=1e-6)
    assert float(ssim_loss(p, g)) == pytest.approx(float(ssim_loss(g, p)), abs=1e-6)
    assert float(ssim_loss(p.flip(3), g.flip(3))) == pytest.approx(float(ssim_loss(p, g)), abs=1e-6)


@pytest.mark.parametrize("loss", [iou_loss, ssim_loss, binary_cross_entropy])
def test_gradients_point_towards_the_target(loss: object) -> None:
    assert callable(loss)
    g = (maps(5, 1, 1, 16, 16) > 0.5).float()
    p = (0.5 + 0.2 * (maps(6, 1, 1, 16, 16) - 0.5)).requires_grad_()
    before = loss(p, g)
    before.backward()
    assert p.grad is not None
    after = loss((p - 0.05 * p.grad / p.grad.abs().max()).detach(), g)
    assert float(after) < float(before.detach())


def test_total_sums_the_terms() -> None:
    assert float(total({"a": torch.tensor(1.5), "b": torch.tensor(-0.5)})) == 1.0
