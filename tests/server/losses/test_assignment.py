from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.losses.assignment import assign


def test_by_hand() -> None:
    # greedy would give row 0 its cheapest column 1 and pay 9 + 1 afterwards
    assert assign(np.array([[2.0, 1.0, 9.0], [9.0, 1.0, 9.0]])).tolist() == [0, 1]


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 5), st.integers(0, 3), st.integers(0, 2**32 - 1), st.booleans())
def test_is_the_cheapest_of_all_permutations(rows: int, extra: int, seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    cost = rng.integers(-3, 4, (rows, rows + extra)).astype(float) if ties else rng.normal(size=(rows, rows + extra))
    chosen = assign(cost)
    assert len(set(chosen.tolist())) == rows
    best = min(cost[np.arange(rows), list(order)].sum() for order in permutations(range(rows + extra), rows))
    assert cost[np.arange(rows), chosen].sum() == pytest.approx(best)


def test_agrees_with_scipy_at_the_size_of_a_real_matching() -> None:
    from scipy.optimize import linear_sum_assignment

    rng = np.random.default_rng(0)
    for rows in (2, 20, 60):
        cost = rng.normal(size=(rows, 100))
        expected_rows, expected = linear_sum_assignment(cost)
        assert expected_rows.tolist() == list(range(rows))
        assert assign(cost).tolist() == expected.tolist()


def test_shifting_a_row_or_a_column_of_a_square_matrix_changes_nothing() -> None:
    cost = np.random.default_rng(1).normal(size=(6, 6))
    shifted = cost + np.arange(6)[:, None] * 3 - np.arange(6)[None, :] * 2
    assert assign(shifted).tolist() == assign(cost).tolist()


def test_no_rows_is_no_assignment() -> None:
    assert assign(np.zeros((0, 5))).tolist() == []


@pytest.mark.parametrize(("cost", "message"), [(np.zeros((3, 2)), "3 rows"), (np.array([[np.nan, 1.0]]), "not finite")])
def test_what_cannot_be_assigned_is_refused(cost: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        assign(cost)
