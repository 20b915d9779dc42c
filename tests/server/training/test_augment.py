from __future__ import annotations

import numpy as np
import pytest

from server.training.augment import Augment, augment
from server.training.perturb import perturbed
from tests.server.training.pictures import ellipse

STILL = Augment(
    area=(1.0, 1.0), aspect=1.0, flip=False, rotate_chance=0, photometric=0, grey=0, blur=0, noise=0, jpeg=0
)


def block(seed: int = 0) -> np.ndarray:
    picture, mask = ellipse(seed)
    return np.dstack([picture, mask])


def test_without_changes_the_picture_is_only_stretched() -> None:
    source = np.ascontiguousarray(block()[:, :64])
    np.testing.assert_array_equal(augment(source, 64, STILL, np.random.default_rng(0)), source)


def test_the_same_numbers_give_the_same_crop_and_others_another() -> None:
    first, same, other = (augment(block(), 64, Augment(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


@pytest.mark.parametrize("settings", [Augment(), Augment(crops=(40,), keep=0.0)], ids=["area", "crops"])
def test_picture_and_mask_stay_together(settings: Augment) -> None:
    """The ellipse is brighter than all else, whatever the crop: its mask must lie on the bright pixels."""
    calm = Augment(
        **{**vars(settings), "photometric": 0, "grey": 0, "blur": 0, "noise": 0, "jpeg": 0}  # type: ignore[arg-type]
    )
    for seed in range(20):
        out = augment(block(seed), 64, calm, np.random.default_rng(seed))
        assert out.shape == (64, 64, 4)
        assert out.dtype == np.uint8
        inside, outside = out[..., 3] > 250, out[..., 3] < 5
        if inside.any():
            assert out[..., :3][inside].min() > 90
        assert out[..., :3][outside].max() < 120


def test_crops_keep_most_of_the_object() -> None:
    settings = Augment(area=(0.3, 0.6), keep=0.75, rotate_chance=0)
    source = block(3)
    total = (source[..., 3] > 127).mean()
    for seed in range(20):
        out = augment(source, 64, settings, np.random.default_rng(seed))
        assert (out[..., 3] > 127).mean() >= 0.75 * total * 0.95  # in a crop the object fills more, never less


def test_a_teachers_plane_moves_with_the_mask() -> None:
    source = np.dstack([block(), block()[..., 3]])
    out = augment(source, 64, Augment(), np.random.default_rng(4))
    assert out.shape == (64, 64, 5)
    np.testing.assert_array_equal(out[..., 4], out[..., 3])


@pytest.mark.parametrize("iou", [0.8, 0.9, 0.97])
def test_spoilt_masks_have_about_the_iou_asked_for(iou: float) -> None:
    mask = (ellipse(2, 224, 224)[1] > 0).astype(np.float32)
    for seed in range(5):
        spoilt = perturbed(mask, iou, np.random.default_rng(seed)) > 0
        reached = (spoilt & (mask > 0)).sum() / (spoilt | (mask > 0)).sum()
        assert iou - 0.03 <= reached <= iou + 0.01


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_mask_without_boundary_cannot_be_spoilt(value: float) -> None:
    mask = np.full((32, 32), value, np.float32)
    np.testing.assert_array_equal(perturbed(mask, 0.8, np.random.default_rng(0)), mask)
