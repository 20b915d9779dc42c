"""Our bilinear resize is scikit-image's."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.transform import resize

from server.predictors.resizing import resize_bilinear


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((40, 56), (40, 56)),
        ((40, 56), (97, 131)),
        ((97, 131), (32, 64)),
        ((97, 131), (32, 200)),
        ((200, 31), (96, 96)),
        ((1, 9), (6, 4)),
        ((300, 400), (32, 32)),
    ],
)
@pytest.mark.parametrize("channels", [None, 3])
def test_equals_scikit_image(old: tuple[int, int], new: tuple[int, int], channels: int | None) -> None:
    shape = old if channels is None else (*old, channels)
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    ours = resize_bilinear(image, *new)
    theirs = resize(image.astype(np.float64), new, order=1)
    assert ours.shape == theirs.shape
    assert ours.dtype == np.float32
    assert float(np.abs(ours - theirs).max()) < 2e-6


@pytest.mark.parametrize("value", [0.0, 128 / 255, 1.0])
def test_constant_regions_stay_exact(value: float) -> None:
    image = np.full((13, 17), value, np.float32)
    assert (resize_bilinear(image, 100, 90) == np.float32(value)).all()
