"""The saliency metrics against the public implementation that papers of the field use."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from server.evaluation.saliency import f_curve, mae, weighted_f
from server.evaluation.structure import e_curve, s_measure
from tests.server.evaluation.cases import pair

py_sod_metrics = pytest.importorskip("py_sod_metrics")

SEEDS = range(8)


def reference(name: str, prediction: np.ndarray, truth: np.ndarray) -> dict[str, object]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metric = getattr(py_sod_metrics, name)()
        metric.step(prediction, truth, normalize=False)
        return dict(metric.get_results())


def cases() -> list[tuple[np.ndarray, np.ndarray]]:
    found = [pair(seed) for seed in SEEDS]
    rng = np.random.default_rng(0)
    for share in (0.0, 1.0):
        found.append((rng.integers(0, 256, (20, 24)) / 255, np.full((20, 24), bool(share))))
    one = np.zeros((20, 24), bool)
    one[7, 3] = True
    found.append((rng.integers(0, 256, (20, 24)) / 255, one))
    return found


@pytest.mark.parametrize("index", range(len(cases())))
def test_agrees(index: int) -> None:
    prediction, truth = cases()[index]
    assert mae(prediction, truth) == pytest.approx(reference("MAE", prediction, truth)["mae"], abs=1e-12)
    assert s_measure(prediction, truth) == pytest.approx(reference("Smeasure", prediction, truth)["sm"], abs=1e-12)
    assert weighted_f(prediction, truth) == pytest.approx(
        reference("WeightedFmeasure", prediction, truth)["wfm"], abs=1e-9
    )
    f = reference("Fmeasure", prediction, truth)["fm"]
    e = reference("Emeasure", prediction, truth)["em"]
    assert isinstance(f, dict)
    assert isinstance(e, dict)
    np.testing.assert_allclose(f_curve(prediction, truth), f["curve"], atol=1e-12)
    np.testing.assert_allclose(e_curve(prediction, truth), e["curve"], atol=1e-12)
