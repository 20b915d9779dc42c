"""Correspondences between a view's and a screenshot's key points, by exact search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from desktop_agent.locate.features import Features

Ints = NDArray[np.intp]
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Matches:
    """``view`` and ``screen`` index the key points of the two feature sets, N each, best first."""

    view: Ints
    screen: Ints

    def __len__(self) -> int:
        return len(self.view)


NONE = Matches(np.zeros(0, np.intp), np.zeros(0, np.intp))


def similarities(view: Features, screen: Features) -> Floats:
    """The cosine of every pair of descriptors, view x screen."""
    return np.asarray(view.descriptors @ screen.descriptors.T, dtype=np.float32)


def match(similarity: Floats, ratio: float) -> Matches:
    """Mutual nearest neighbours that pass Lowe's ratio test."""
    if min(similarity.shape) < 2:
        return NONE
    rows = np.arange(len(similarity))
    best = similarity.argmax(axis=1)
    mutual = similarity.argmax(axis=0)[best] == rows
    first = similarity[rows, best]
    similarity[rows, best] = -1
    second = similarity.max(axis=1)
    similarity[rows, best] = first
    near, next_near = np.sqrt(np.maximum(2 - 2 * first, 0)), np.sqrt(np.maximum(2 - 2 * second, 1e-9))
    kept = np.flatnonzero(mutual & (near < ratio * next_near))
    kept = kept[np.argsort(near[kept] / next_near[kept])]
    return Matches(kept, best[kept])


def nearest(view: Features, screen: Features, neighbours: int, least: float) -> tuple[Matches, NDArray[np.float32]]:
    """The ``neighbours`` most similar screen key points of every view key point, similarity (a cosine) at least ``least``.

    Returned with the similarities; for voting, which bears many wrong pairs.
    """
    if not len(view) or not len(screen):
        return NONE, np.zeros(0, np.float32)
    similarity = similarities(view, screen)
    rows = np.arange(len(view))
    found = []
    for _ in range(min(neighbours, len(screen))):
        best = similarity.argmax(axis=1)
        value = similarity[rows, best]
        kept = value >= least
        found.append((rows[kept], best[kept], value[kept]))
        similarity[rows, best] = -1
    view_index, screen_index, values = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.argsort(-values, kind="stable")
    return Matches(view_index[order], screen_index[order]), values[order]
