"""The measures and gates, on maps made up for it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from export import parity


def maps(*values: float) -> list[NDArray[np.float32]]:
    return [np.array(values, np.float32)]


def test_measures() -> None:
    measured = parity.compare(maps(0.5, 0.2, 0.49, 1.0), maps(0.5, 0.2, 0.51, 1.0))
    assert measured.largest == pytest.approx(0.02, rel=1e-4)
    assert measured.mean == pytest.approx(0.005, rel=1e-4)
    assert (measured.beyond, measured.flipped) == (0.25, 0.25)
    assert parity.compare(maps(0.3, 0.7), maps(0.3, 0.7)).logits == 0


def test_a_map_that_is_not_finite_never_passes() -> None:
    measured = parity.compare(maps(np.nan, 0.5), maps(0.5, 0.5))
    for precision in ("fp32", "fp16", "int8"):
        for selects in (True, False):
            for trained in (True, False):
                assert parity.failure(measured, precision, selects=selects, trained=trained)


@pytest.mark.parametrize(
    ("precision", "selects", "trained", "off", "passes"),
    [
        ("fp32", False, True, 1.9e-5, True),
        ("fp32", False, True, 3e-5, False),
        ("fp32", False, False, 3e-5, False),
        ("fp32", True, True, 9e-5, True),
        ("fp32", True, True, 2e-4, False),
        ("fp16", False, True, 1.9e-3, True),
        ("fp16", False, True, 3e-3, False),
        ("fp16", False, False, 1e-3, True),
        ("fp16", False, False, 5e-2, False),
    ],
)
def test_gates(precision: str, selects: bool, trained: bool, off: float, passes: bool) -> None:
    expected = np.linspace(0.1, 0.45, 100, dtype=np.float32)
    measured = parity.compare([expected + np.float32(off)], [expected])
    assert (parity.failure(measured, precision, selects=selects, trained=trained) == "") is passes


def test_pixels_that_change_sides_fail_half_precision() -> None:
    expected = np.full(1000, 0.4999, np.float32)
    ours = expected.copy()
    ours[:3] = 0.5001
    measured = parity.compare([ours], [expected])
    assert "flipped" in parity.failure(measured, "fp16", selects=False, trained=True)


def test_made_up_weights_are_allowed_what_rounding_them_does() -> None:
    expected = np.linspace(0.1, 0.45, 100, dtype=np.float32)
    measured = parity.compare([expected + np.float32(0.05)], [expected])
    assert parity.failure(measured, "fp16", selects=True, trained=False, rounded=0.0)
    assert not parity.failure(measured, "fp16", selects=True, trained=False, rounded=measured.logits)


@pytest.mark.parametrize(
    ("off", "own", "trained", "passes"),
    [
        (5e-4, 3e-4, False, True),  # twice what torch's own float32 is off
        (7e-4, 3e-4, False, False),
        (5e-4, 3e-4, True, False),  # trained weights have no such excuse
        (9e-5, 0.0, False, True),  # within the first bounds torch is not asked
    ],
)
def test_a_selection_of_made_up_weights_is_held_to_torchs_own_float32(
    off: float, own: float, trained: bool, passes: bool
) -> None:
    expected = np.linspace(0.1, 0.45, 100, dtype=np.float32)
    asked: list[bool] = []

    def torchs() -> parity.Parity:
        asked.append(True)
        return parity.compare([expected + np.float32(own)], [expected])

    measured = parity.compare([expected + np.float32(off)], [expected])
    failure = parity.failure(measured, "fp32", selects=True, trained=trained, own=torchs)
    assert (failure == "") is passes
    assert bool(asked) is (not trained and off > parity.SELECTED_MEAN)
