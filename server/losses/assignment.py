"""The linear assignment problem, exactly, in numpy: a handful of objects against a hundred queries needs no scipy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def assign(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """float RxC with R <= C -> for each row its own column, with the least total cost. Shape (R,).

    Shortest augmenting paths with dual variables (Jonker and Volgenant, Computing 38, 1987), O(R^2 C). Raises ``ValueError``
    for more rows than columns or a cost that is not finite.
    """
    cost = np.asarray(cost, np.float64)
    rows, columns = cost.shape
    if rows > columns:
        raise ValueError(f"{rows} rows cannot each have their own of {columns} columns")
    if not np.isfinite(cost).all():
        raise ValueError("the cost matrix holds values that are not finite: the predictions have diverged")
    row_dual, column_dual = np.zeros(rows), np.zeros(columns)
    row_of = np.full(columns, -1, np.int64)
    for start in range(rows):
        end, before = _shortest_path(cost, start, row_of, row_dual, column_dual)
        while end != -1:  # shift the columns along the path, back to the row that had none
            previous = before[end]
            row_of[end] = start if previous == -1 else row_of[previous]
            end = previous
    result = np.empty(rows, np.int64)
    taken = np.flatnonzero(row_of >= 0)
    result[row_of[taken]] = taken
    return result


def _shortest_path(
    cost: NDArray[np.float64],
    start: int,
    row_of: NDArray[np.int64],
    row_dual: NDArray[np.float64],
    column_dual: NDArray[np.float64],
) -> tuple[int, NDArray[np.int64]]:
    """Dijkstra over reduced costs from row ``start`` to the nearest free column; updates the duals in place.

    Returns that column and, for each column, the one before it on the path (-1: reached from ``start`` itself).
    """
    columns = cost.shape[1]
    distance = np.full(columns, np.inf)
    before = np.full(columns, -1, np.int64)
    done = np.zeros(columns, bool)
    row, last, reached = start, -1, 0.0
    while True:
        through = reached + cost[row] - row_dual[row] - column_dual
        nearer = ~done & (through < distance)
        distance[nearer], before[nearer] = through[nearer], last
        last = int(np.where(done, np.inf, distance).argmin())
        reached = float(distance[last])
        if row_of[last] == -1:
            break
        done[last] = True
        row = int(row_of[last])
    row_dual[start] += reached
    row_dual[row_of[done]] += reached - distance[done]
    column_dual[done] -= reached - distance[done]
    return last, before
