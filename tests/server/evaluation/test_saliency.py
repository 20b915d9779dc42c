"""MAE, F, weighted F, S and E by hand and by what must not change them."""

from __future__ import annotations

import numpy as np
import pytest

from server.evaluation.arrays import stretched
from server.evaluation.saliency import f_curve, mae, threshold_counts, weighted_f
from server.evaluation.structure import e_curve, s_measure
from tests.server.evaluation.cases import pair

METRICS = [
    mae,
    weighted_f,
    s_measure,
    lambda p, t: float(f_curve(p, t).max()),
    lambda p, t: float(e_curve(p, t).mean()),
]
TRUTH = np.zeros((6, 8), bool)
TRUTH[1:5, 2:6] = True


def test_mae_by_hand() -> None:
    assert mae(np.full((6, 8), 0.25), TRUTH) == pytest.approx((16 * 0.75 + 32 * 0.25) / 48)


def test_f_by_hand() -> None:
    """Half the object and as many wrong pixels at 0.6: precision 1/2, recall 1/2 between 0.6 and 0."""
    prediction = np.zeros((6, 8))
    prediction[1:3, 2:6] = prediction[5, :] = 0.6
    curve = f_curve(prediction, TRUTH)
    assert curve[255 - 153] == pytest.approx(0.5)
    assert curve[255 - 154] == 0, "above 0.6 nothing is found"
    everything = 1.3 * (16 / 48) / (0.3 * (16 / 48) + 1)
    assert curve[255] == pytest.approx(everything)


def test_threshold_counts_grow_to_everything() -> None:
    prediction, truth = pair(1)
    hits, false_alarms = threshold_counts(prediction, truth)
    assert (np.diff(hits) >= 0).all()
    assert (hits[-1], false_alarms[-1]) == (truth.sum(), (~truth).sum())


def test_perfect_and_inverted_maps() -> None:
    perfect, inverted = TRUTH.astype(np.float64), 1.0 - TRUTH
    size = TRUTH.size
    assert mae(perfect, TRUTH) == 0
    assert weighted_f(perfect, TRUTH) == pytest.approx(1)
    assert s_measure(perfect, TRUTH) == pytest.approx(1)
    # all but threshold 0 are perfect; there everything is object
    np.testing.assert_allclose(f_curve(perfect, TRUTH)[:-1], 1)
    np.testing.assert_allclose(e_curve(perfect, TRUTH)[:-1], size / (size - 1))
    assert mae(inverted, TRUTH) == 1
    centred = np.pad(TRUTH, 8)  # at the picture's edge the toolboxes' window sees zeros
    assert weighted_f(1.0 - centred, centred) == pytest.approx(0, abs=1e-9)
    assert s_measure(inverted, TRUTH) < 0.1


def test_weighted_f_forgives_false_alarms_beside_the_object_more_than_far_ones() -> None:
    near, far = np.zeros((40, 40), bool), np.zeros((40, 40), bool)
    truth = np.zeros((40, 40), bool)
    truth[10:20, 10:20] = True
    near[10:20, 20:22] = far[10:20, 37:39] = True
    assert weighted_f((truth | near).astype(np.float64), truth) > weighted_f((truth | far).astype(np.float64), truth)


def test_weighted_f_by_hand() -> None:
    """One false pixel at distance 5: its weight is 2 - 1/2. The object is right."""
    truth = np.zeros((11, 21), bool)
    truth[3:8, 3:8] = True
    prediction = truth.astype(np.float64)
    prediction[5, 12] = 1
    precision = 25 / (25 + 1.5)
    assert weighted_f(prediction, truth) == pytest.approx(2 * precision / (1 + precision), abs=1e-7)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("flip", [(0,), (1,), (0, 1)])
def test_flipping_both_maps_changes_nothing_that_matters(metric: object, flip: tuple[int, ...]) -> None:
    """S rounds the centroid and weighted F breaks ties by direction, hence not to the last digit."""
    assert callable(metric)
    for seed in range(4):
        prediction, truth = pair(seed)
        assert metric(np.flip(prediction, flip), np.flip(truth, flip)) == pytest.approx(
            metric(prediction, truth), abs=6e-3
        )


@pytest.mark.parametrize("metric", METRICS[1:])
def test_a_better_map_scores_higher(metric: object) -> None:
    assert callable(metric)
    prediction, truth = pair(2)
    better = 0.5 * prediction + 0.5 * truth
    assert metric(better, truth) > metric(prediction, truth)


@pytest.mark.parametrize("metric", METRICS)
def test_extreme_truths_give_finite_scores(metric: object) -> None:
    assert callable(metric)
    prediction = np.linspace(0, 1, 48).reshape(6, 8)
    corner = np.zeros((6, 8), bool)
    corner[5, 7] = True  # its centroid leaves empty blocks
    for truth in (np.zeros((6, 8), bool), np.ones((6, 8), bool), corner):
        for map_ in (prediction, np.zeros((6, 8)), np.ones((6, 8))):
            assert np.isfinite(metric(map_, truth))


@pytest.mark.parametrize("metric", METRICS)
def test_maps_of_other_sizes_are_refused(metric: object) -> None:
    assert callable(metric)
    with pytest.raises(ValueError, match=r"\(6, 8\).*\(8, 6\)"):
        metric(np.zeros((6, 8)), np.zeros((8, 6), bool))


def test_stretching() -> None:
    assert stretched(np.array([[0.2, 0.4, 0.6]])).tolist() == [pytest.approx([0, 0.5, 1])]
    assert stretched(np.full((2, 2), 0.3)).tolist() == [[0.3, 0.3], [0.3, 0.3]]
