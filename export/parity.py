"""Does a file compute what the network computes? The measures, and how far they may go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FP32_MAX = 2e-5
SELECTED_MEAN, SELECTED_FLIPPED = 1e-4, 1e-3
"""For a network that selects: float32 and float64 runs of torch itself rank near ties differently, and single pixels with them."""
OWN_FLOAT32 = 2.0
"""With made-up weights each selection may enlarge that: then at most so many times what torch's own float32 is off."""
FP16_MEAN, FP16_FLIPPED = 2e-3, 1e-3
FP16_LOGITS, FP16_AGAINST_WEIGHTS = 0.05, 2.0
"""For made-up weights, whose networks may enlarge any rounding: the logits, of their spread, or against what rounding the weights
alone does to torch's own map."""
_EDGE = 1e-6


@dataclass(frozen=True)
class Parity:
    """Over all pictures: the largest and the mean difference of the maps, the share of pixels off by more than ``FP32_MAX``,
    the share that changes sides at 0.5, and the mean difference of the logits over their spread."""

    largest: float
    mean: float
    beyond: float
    flipped: float
    logits: float

    def __str__(self) -> str:
        return f"max {self.largest:.1e}, mean {self.mean:.1e}, {100 * self.flipped:.3f} % flipped"


def compare(maps: list[NDArray[np.float32]], expected: list[NDArray[np.float32]]) -> Parity:
    """Maps in [0, 1], in pairs of one shape. A value that is not finite makes every measure infinite."""
    ours, truth = np.stack(maps).astype(np.float64), np.stack(expected).astype(np.float64)
    if not np.isfinite(ours).all():
        return Parity(*[float("inf")] * 5)
    difference = np.abs(ours - truth)
    logits = np.abs(_logit(ours) - _logit(truth)).mean() / max(float(_logit(truth).std()), 1e-9)
    return Parity(
        float(difference.max()),
        float(difference.mean()),
        float((difference > FP32_MAX).mean()),
        float(((ours > 0.5) != (truth > 0.5)).mean()),
        float(logits),
    )


def failure(
    parity: Parity,
    precision: str,
    *,
    selects: bool,
    trained: bool,
    rounded: float = 0.0,
    own: Callable[[], Parity] | None = None,
) -> str:
    """Why the file is not good enough, or an empty string. Compressed weights are judged by their pictures, not here.

    ``rounded``: the logits' difference when torch computes in float32 with the weights rounded to half precision. ``own``: what
    torch's own float32 is off, measured only where a selecting network with made-up weights misses the first bounds.
    """
    if precision == "fp32" and selects:
        mean, flipped = SELECTED_MEAN, SELECTED_FLIPPED
        if not (parity.mean <= mean and parity.flipped <= flipped) and own and not trained:
            torchs = own()
            mean, flipped = max(mean, OWN_FLOAT32 * torchs.mean), max(flipped, OWN_FLOAT32 * torchs.flipped)
        wrong = not (parity.mean <= mean and parity.flipped <= flipped)
        return f"{parity}; allowed: mean {mean:.1g}, {100 * flipped:.2g} % flipped" if wrong else ""
    if precision == "fp32":
        return f"{parity}; allowed: max {FP32_MAX:g}" if not parity.largest <= FP32_MAX else ""
    if precision == "fp16" and trained:
        wrong = not (parity.mean <= FP16_MEAN and parity.flipped <= FP16_FLIPPED)
        return f"{parity}; allowed: mean {FP16_MEAN:g}, {100 * FP16_FLIPPED:g} % flipped" if wrong else ""
    if precision == "fp16":
        allowed = max(FP16_LOGITS, FP16_AGAINST_WEIGHTS * rounded)
        wrong = not parity.logits <= allowed
        return f"logits {parity.logits:.3f} of their spread off; allowed: {allowed:.3f}" if wrong else ""
    return "the map is not finite" if not np.isfinite(parity.mean) else ""


def _logit(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = probability.clip(_EDGE, 1 - _EDGE)
    return np.asarray(np.log(inside / (1 - inside)))
