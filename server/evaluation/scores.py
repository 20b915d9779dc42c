"""One picture's scores, and a dataset's figures with bootstrap confidence intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.evaluation import mattes
from server.evaluation.arrays import stretched
from server.evaluation.masks import ber, iou, mean_boundary_accuracy, meticulosity_quality, relaxed_boundary_f
from server.evaluation.saliency import f_curve, mae, weighted_f
from server.evaluation.structure import e_curve, s_measure
from server.segmenter import Mask

THRESHOLD = 0.5
_RESAMPLES = 1000
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Scores:
    """``values`` by metric; ``f`` and ``e`` are the curves over 256 thresholds, whose means over a dataset have a maximum."""

    stem: str
    values: dict[str, float]
    f: NDArray[np.float64]
    e: NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """A dataset's figure with its 95 % bootstrap interval over the pictures."""

    value: float
    low: float
    high: float


def score(stem: str, prediction: Mask, truth: Mask, *, matte: bool = False) -> Scores:
    """All metrics of one picture; with ``matte`` those of alpha mattes too.

    Saliency metrics see the map min-max stretched, as the field's toolboxes do; hard-mask metrics the map cut at 0.5 and
    matting metrics the map as it is. The truth is cut at 0.5 but for matting. Raises ``ValueError`` for a map that leaves [0, 1].
    """
    if not (prediction.min() >= 0 and prediction.max() <= 1):  # also refuses NaN
        raise ValueError(f"the map of {stem} is not in [0, 1] everywhere: {prediction.min()} to {prediction.max()}")
    shown, binary, hard = stretched(prediction.astype(np.float64)), truth > THRESHOLD, prediction > THRESHOLD
    f, e = f_curve(shown, binary), e_curve(shown, binary)
    values = {
        "weighted_f": weighted_f(shown, binary),
        "max_f": float(f.max()),
        "mean_f": float(f.mean()),
        "mae": mae(shown, binary),
        "s_measure": s_measure(shown, binary),
        "max_e": float(e.max()),
        "mean_e": float(e.mean()),
        "iou": iou(hard, binary),
        "ber": ber(hard, binary),
        "boundary_f": relaxed_boundary_f(hard, binary),
        "mba": mean_boundary_accuracy(hard, binary),
        "mq": meticulosity_quality(hard, binary),
    }
    if matte:
        values |= {
            "sad": mattes.sad(prediction, truth),
            "mse": mattes.mse(prediction, truth),
            "mad": mattes.mad(prediction, truth),
            "grad": mattes.gradient_error(prediction, truth),
            "conn": mattes.connectivity_error(prediction, truth),
        }
    return Scores(stem, values, f, e)


def summarise(scores: list[Scores], seed: int = 0) -> dict[str, Figure]:
    """The figures of a dataset: means over the pictures; max F and max E are the maxima of the mean curves.

    The intervals resample the pictures a thousand times with ``seed``; of one picture they are its value.
    """
    count = len(scores)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(count, np.full(count, 1 / count), size=_RESAMPLES) / count
    weights = np.vstack([np.full(count, 1 / count), weights])  # the first row is the dataset itself
    curves = {"max_f": np.stack([item.f for item in scores]), "max_e": np.stack([item.e for item in scores])}
    figures = {}
    for name in scores[0].values:
        if name in curves:
            drawn = (weights @ curves[name]).max(1)
        else:
            drawn = weights @ np.array([item.values[name] for item in scores])
        low, high = np.quantile(drawn[1:], [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
        figures[name] = Figure(float(drawn[0]), float(low), float(high))
    return figures
