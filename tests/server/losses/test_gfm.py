from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from server.losses.gfm import (
    MODES,
    MattingTargets,
    alpha_loss,
    band_masks,
    composition_loss,
    gfm_loss,
    gfm_rim_loss,
    laplacian_loss,
    mode_targets,
    trimap_of,
)
from server.losses.terms import total

SIZE = 64


def soft_square() -> np.ndarray:
    """An opaque square with a soft rim of four pixels."""
    distance = np.maximum(*np.abs(np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2))
    return np.clip((24 - distance) / 4, 0, 1).astype(np.float32)


def targets() -> MattingTargets:
    alpha = soft_square()
    trimap, (eroded, dilated) = trimap_of(alpha, 9), band_masks(alpha, 11)
    a, t, e, d = (torch.from_numpy(x)[None, None] for x in (alpha, trimap, eroded, dilated))
    generator = torch.Generator().manual_seed(0)
    foreground, background = (255 * torch.rand(1, 3, SIZE, SIZE, generator=generator) for _ in range(2))
    image = a * foreground + (1 - a) * background
    return MattingTargets(image, foreground, background, a, t, e, d)


def fuse(mode: str, glance: torch.Tensor, focus: torch.Tensor) -> torch.Tensor:
    """The collaborative matting rule, from the class index."""
    index = glance.argmax(1, keepdim=True).float()
    if mode == "tt":
        return torch.where(index == 1, focus, index / 2)
    return (index + focus).clamp(max=1) if mode == "ft" else (index - focus).clamp(min=0)


def perfect(batch: MattingTargets, mode: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    labels, focus = mode_targets(batch, mode)
    glance = torch.nn.functional.one_hot(labels, 3 if mode == "tt" else 2).permute(0, 3, 1, 2).float()
    return glance, focus, fuse(mode, glance, focus)


@pytest.mark.parametrize("mode", MODES)
def test_the_targets_of_every_mode_fuse_to_alpha(mode: str) -> None:
    """The reason for the corrected FT and BT glance masks: a network that meets its targets is right."""
    batch = targets()
    np.testing.assert_allclose(perfect(batch, mode)[2].numpy(), batch.alpha.numpy(), atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_meeting_the_targets_leaves_the_cross_entropy_of_a_sigmoid_only(mode: str) -> None:
    batch = targets()
    terms = gfm_loss(perfect(batch, mode), batch, mode)
    classes = 3 if mode == "tt" else 2
    # CE of a one-hot map taken as logits: log(e + classes - 1) - 1
    assert float(terms["glance"]) == pytest.approx(0.25 * (math.log(math.e + classes - 1) - 1), rel=1e-5)
    for name in ("focus", "fusion_alpha", "fusion_composition"):
        assert float(terms[name]) == pytest.approx(0, abs=1e-5), name


def test_trimap_by_hand() -> None:
    alpha = np.zeros((21, 21), np.float32)
    alpha[5:16, 5:16] = 1
    alpha[10, 4] = 0.5
    trimap = trimap_of(alpha, 3)
    assert set(np.unique(trimap)) == {0, 0.5, 1}
    assert trimap[10, 10] == 1
    assert trimap[10, 5] == 0.5, "the opaque rim is eroded"
    assert trimap[10, 3] == 0.5, "beside a soft pixel"
    assert trimap[10, 2] == 0


def test_alpha_loss_by_hand() -> None:
    p, a = torch.tensor([[[[0.5, 0.0, 1.0, 0.25]]]]), torch.tensor([[[[0.0, 0.0, 0.0, 0.0]]]])
    assert float(alpha_loss(p, a)) == pytest.approx(1.75 / 4, abs=1e-6)
    region = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]]]])
    assert float(alpha_loss(p, a, region)) == pytest.approx(0.5 / 3, abs=3e-6)
    assert math.isfinite(float(alpha_loss(p, a, torch.zeros_like(region)))), "no transition area in the crop"


def test_composition_loss_by_hand() -> None:
    batch = targets()
    grey = torch.full((1, 3, SIZE, SIZE), 100.0)
    batch = MattingTargets(grey, grey + 51, grey, batch.alpha, batch.trimap, batch.eroded, batch.dilated)
    # everything taken as foreground: 51 grey levels too bright in three channels
    assert float(composition_loss(torch.ones(1, 1, SIZE, SIZE), batch)) == pytest.approx(3 * 0.2, rel=1e-5)


def test_laplacian_of_a_constant_shift_is_the_residual_alone() -> None:
    """Every level's differences cancel a constant; only the last, smoothed map keeps it."""
    a = torch.from_numpy(soft_square())[None, None] * 0.5
    assert float(laplacian_loss(a + 0.3, a)) == pytest.approx(0.3, abs=1e-5)


def test_laplacian_kernel_is_the_official_sum_of_profiles() -> None:
    """One level of an impulse: 1 - the kernel's centre, and the rest of the kernel, averaged."""
    profile = np.exp(-((np.arange(5) - 2.0) ** 2))
    kernel = profile[:, None] + profile[None, :]
    kernel /= kernel.sum()
    impulse = torch.zeros(1, 1, SIZE, SIZE)
    impulse[..., 32, 32] = 1
    expected, image = 0.0, np.zeros((SIZE, SIZE))
    image[32, 32] = 1
    for _ in range(5):
        padded = np.pad(image, 2, mode="edge")
        smooth = (np.lib.stride_tricks.sliding_window_view(padded, (5, 5)) * kernel).sum((2, 3))
        expected += np.abs(image - smooth).mean()
        image = smooth.reshape(len(smooth) // 2, 2, -1, 2).mean((1, 3))
    expected += np.abs(image).mean()
    assert float(laplacian_loss(impulse, torch.zeros_like(impulse))) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_every_output_gets_a_finite_gradient(mode: str) -> None:
    batch = targets()
    generator = torch.Generator().manual_seed(1)
    shapes = ((1, 3 if mode == "tt" else 2, SIZE, SIZE), (1, 1, SIZE, SIZE), (1, 1, SIZE, SIZE))
    glance, focus, fusion = (torch.rand(shape, generator=generator).requires_grad_() for shape in shapes)
    total(gfm_loss((glance, focus, fusion), batch, mode)).backward()
    for output in (glance, focus, fusion):
        assert output.grad is not None
        assert torch.isfinite(output.grad).all()
        assert output.grad.abs().sum() > 0


def test_rim_sums_the_modes_and_the_integrated_alpha_with_weight_one() -> None:
    batch = targets()
    branches = {mode: perfect(batch, mode) for mode in MODES}
    worse = dict(branches, bt=(branches["bt"][0], branches["bt"][1] * 0.5, branches["bt"][2]))
    terms, changed = (gfm_rim_loss(list(x.values()), batch.alpha, batch) for x in (branches, worse))
    assert float(terms["tt_glance"]) == pytest.approx(4 * float(gfm_loss(branches["tt"], batch, "tt")["glance"]))
    assert {name for name in terms if float(terms[name]) != float(changed[name])} == {"bt_focus"}
    assert float(terms["rim_alpha"]) == pytest.approx(0, abs=1e-5)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="tt, ft, bt"):
        mode_targets(targets(), "rim")
