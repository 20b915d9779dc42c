"""The matting metrics by hand and against plain reference implementations on scipy and scikit-image."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import label, regionprops

from server.evaluation.mattes import connectivity_error, gradient_error, mad, mse, sad

METRICS = [sad, mse, mad, gradient_error, connectivity_error]


def mattes(seed: int, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    field = cv2.GaussianBlur(rng.random((60, 72)), (0, 0), 6)
    truth = np.clip((field - np.quantile(field, 0.45)) * 40, 0, 1)
    alpha = np.clip(cv2.GaussianBlur(truth, (0, 0), 1.5) + 0.1 * rng.standard_normal(truth.shape), 0, 1)
    return np.round(alpha, 2).astype(dtype), np.round(truth, 2).astype(dtype)


def test_sums_by_hand() -> None:
    alpha, truth = np.array([[0.5, 0.0], [1.0, 0.25]]), np.array([[0.0, 0.0], [1.0, 0.5]])
    assert sad(alpha, truth) == pytest.approx(0.75 / 1000)
    assert mad(alpha, truth) == pytest.approx(0.75 / 4)
    assert mse(alpha, truth) == pytest.approx((0.25 + 0.0625) / 4)


@pytest.mark.parametrize("metric", METRICS)
def test_equal_mattes_have_no_error_and_flips_do_not_matter(metric: object) -> None:
    assert callable(metric)
    alpha, truth = mattes(0)
    assert metric(truth, truth) == 0
    assert metric(alpha, truth) > 0
    for view in (np.fliplr, np.flipud, np.transpose):
        assert metric(view(alpha), view(truth)) == pytest.approx(metric(alpha, truth))
    assert metric(truth, alpha) == pytest.approx(metric(alpha, truth)), "all of them are symmetric"


@pytest.mark.parametrize("seed", range(4))
def test_gradient_agrees_with_scipy(seed: int) -> None:
    """Up to the kernel's scale: scipy's derivative of a Gaussian, made of unit energy."""
    alpha, truth = mattes(seed)
    impulse = np.zeros((31, 31))
    impulse[15, 15] = 1
    options = {"sigma": 1.4, "mode": "nearest", "truncate": 4 / 1.4}  # the same 9 pixels
    kernel = ndimage.gaussian_filter(impulse, order=(0, 1), **options)
    scale = np.sqrt((kernel**2).sum())

    def magnitude(image: np.ndarray) -> np.ndarray:
        x, y = (ndimage.gaussian_filter(image, order=order, **options) / scale for order in ((0, 1), (1, 0)))
        return np.hypot(x, y)

    expected = ((magnitude(alpha) - magnitude(truth)) ** 2).sum() / 1000
    assert gradient_error(alpha, truth) == pytest.approx(expected, rel=2e-2)


def test_gradient_of_a_constant_shift_is_zero() -> None:
    _, truth = mattes(1)
    assert gradient_error(truth * 0.5 + 0.25, truth * 0.5) == pytest.approx(0, abs=1e-12)


def connectivity_reference(alpha: np.ndarray, truth: np.ndarray) -> float:
    level = np.full(alpha.shape, -1.0)
    for step in range(1, 11):
        regions = regionprops(label((alpha >= step / 10) & (truth >= step / 10), connectivity=1))
        largest = np.zeros(alpha.shape, bool)
        if regions:
            coordinates = max(regions, key=lambda region: region.area).coords
            largest[coordinates[:, 0], coordinates[:, 1]] = True
        level[(level == -1) & ~largest] = (step - 1) / 10
    level[level == -1] = 1
    phi = [1 - (map_ - level) * ((map_ - level) >= 0.15) for map_ in (alpha, truth)]
    return float(np.abs(phi[0] - phi[1]).sum() / 1000)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_connectivity_agrees_with_scikit_image(seed: int, dtype: type) -> None:
    alpha, truth = mattes(seed, dtype)
    assert connectivity_error(alpha, truth) == pytest.approx(connectivity_reference(alpha, truth), rel=1e-6)


def test_connectivity_by_hand() -> None:
    """An island of 9 pixels that the truth lacks: its degree falls to 0, so each counts 1."""
    truth = np.zeros((20, 20))
    truth[2:12, 2:12] = 1
    alpha = truth.copy()
    alpha[15:18, 15:18] = 1
    assert connectivity_error(alpha, truth) == pytest.approx(9 / 1000)
    attached = truth.copy()
    attached[2:12, 12] = 0.1  # less than the slack above 0: still fully connected
    assert connectivity_error(attached, truth) == 0


def test_a_pale_matte_is_not_free() -> None:
    """No pixel reaches the high thresholds: the shared region is empty there, not everything."""
    truth = np.ones((10, 10))
    assert connectivity_error(truth * 0.5, truth) == pytest.approx(100 * 0.5 / 1000)
