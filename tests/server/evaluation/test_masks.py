from __future__ import annotations

import numpy as np
import pytest
from skimage.morphology import binary_erosion, disk
from skimage.segmentation import find_boundaries

from server.evaluation.masks import ber, boundary, iou, mean_boundary_accuracy, meticulosity_quality, relaxed_boundary_f
from tests.server.evaluation.cases import pair

METRICS = [iou, ber, relaxed_boundary_f, mean_boundary_accuracy, meticulosity_quality]


def square(shift: int = 0, side: int = 40, size: int = 100) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[30 : 30 + side, 30 + shift : 30 + side + shift] = True
    return mask


def masks(seed: int) -> tuple[np.ndarray, np.ndarray]:
    prediction, truth = pair(seed)
    return prediction > 0.5, truth


def test_iou_and_ber_by_hand() -> None:
    truth, prediction = square(), square(shift=10)
    assert iou(prediction, truth) == pytest.approx(30 / 50)
    assert ber(prediction, truth) == pytest.approx((400 / 1600 + 400 / 8400) / 2)


def test_nothing_found_where_nothing_is() -> None:
    empty, full = np.zeros((5, 5), bool), np.ones((5, 5), bool)
    assert iou(empty, empty) == 1
    assert ber(empty, empty) == 0
    assert relaxed_boundary_f(empty, empty) == 1
    assert meticulosity_quality(empty, empty) == 1
    assert iou(full, empty) == 0
    assert ber(full, empty) == 0.5
    assert relaxed_boundary_f(square(), np.zeros((100, 100), bool)) == 0


@pytest.mark.parametrize("seed", range(4))
def test_a_perfect_mask_is_perfect(seed: int) -> None:
    _, truth = masks(seed)
    assert meticulosity_quality(truth, truth) == 1
    assert mean_boundary_accuracy(truth, truth) == 1
    assert relaxed_boundary_f(truth, truth) == 1
    assert iou(truth, truth) == 1
    assert ber(truth, truth) == 0


@pytest.mark.parametrize("metric", METRICS)
def test_transposing_flipping_and_padding_with_agreement(metric: object) -> None:
    assert callable(metric)
    for seed in range(3):
        prediction, truth = masks(seed)
        expected = metric(prediction, truth)
        assert metric(prediction.T, truth.T) == pytest.approx(expected)
        assert metric(prediction[::-1], truth[::-1]) == pytest.approx(expected)


def test_iou_is_symmetric_and_ber_is_blind_to_which_class_is_the_object() -> None:
    prediction, truth = masks(3)
    assert iou(prediction, truth) == iou(truth, prediction)
    assert ber(~prediction, ~truth) == pytest.approx(ber(prediction, truth))


def test_boundary_is_the_inner_line_of_a_second_implementation() -> None:
    for seed in range(4):
        _, truth = masks(seed)
        np.testing.assert_array_equal(boundary(truth), find_boundaries(truth, connectivity=1, mode="inner"))
        inner = np.pad(truth, 1, mode="edge")  # the picture's edge is no boundary
        np.testing.assert_array_equal(boundary(truth), truth & ~binary_erosion(inner, disk(1))[1:-1, 1:-1])


@pytest.mark.parametrize(("shift", "expected"), [(1, 1.0), (3, 1.0), (10, None)])
def test_relaxed_boundary_forgives_three_pixels(shift: int, expected: float | None) -> None:
    score = relaxed_boundary_f(square(shift), square())
    if expected is None:
        # of 156 boundary pixels: each horizontal side but the 10 - 3 at its end, and 3 at each end of one vertical side
        assert score == pytest.approx((2 * (40 - 7) + 2 * 3) / 156)
    else:
        assert score == expected


def test_boundary_accuracy_by_hand() -> None:
    """A 600 x 600 picture has radii up to 4: 1, 1, 2, 2, 3. The whole picture shifted by one pixel is wrong along two sides."""
    truth = np.zeros((600, 600), bool)
    truth[200:400, 200:400] = True
    prediction = np.roll(truth, 1, 1)
    wrong = 2 * 200
    scores = []
    for radius in (1, 1, 2, 2, 3):
        scores.append(1 - wrong / band_area(radius, 200))
    assert mean_boundary_accuracy(prediction, truth) == pytest.approx(sum(scores) / 5, abs=2e-4)


def band_area(radius: int, side: int) -> float:
    """Pixels within ``radius`` of a square's edge, corners rounded off outside."""
    return 4 * side * radius - 4 * radius * radius + 4 * side * radius + 4 * {1: 0, 2: 3, 3: 5}[radius]


def test_quality_needs_both_coverage_and_boundary() -> None:
    truth = square()
    hole = truth.copy()
    hole[40:60, 40:60] = False  # boundary right, coverage wrong
    ragged = np.roll(truth, 2, 1)  # coverage nearly right, boundary wrong
    for worse in (hole, ragged):
        assert meticulosity_quality(worse, truth) < 0.9
    assert mean_boundary_accuracy(hole, truth) == 1
    assert iou(ragged, truth) > 0.9
    assert meticulosity_quality(hole, truth) == pytest.approx(iou(hole, truth))
