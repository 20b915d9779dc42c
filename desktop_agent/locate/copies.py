"""Places of a screen that look like other places of it: tiles, twins, thumbnails, rows of a list. A view of one fits them all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from desktop_agent.geometry import Homography
from desktop_agent.locate.features import Features
from desktop_agent.locate.matching import Matches, nearest
from desktop_agent.locate.voting import elected

Float = NDArray[np.float64]

ELSEWHERE = 0.02
"""Diagonals of the screen between a place and one that rivals it."""
NEIGHBOURS, LEAST_SIMILAR = 4, 0.85
LEAST_ALIKE = 12
MOST, SEEDS = 12, 150
TOLERANCE = 5.0
"""Pixels of the resized picture that was searched."""


@dataclass(frozen=True, eq=False)
class Copy:
    """``map`` takes each of ``places`` (Nx2 screen pixels) to where the screen looks like it again."""

    map: Homography
    places: Float


def within(places: ArrayLike, homography: Homography, view_size: tuple[int, int]) -> int:
    """How many of the screen's places (Nx2) lie in a view of that size (width, height) with that pose (view -> screen)."""
    view_xy = homography.inverse().apply(places)
    with np.errstate(invalid="ignore"):
        return int(((view_xy > 0) & (view_xy < view_size)).all(axis=1).sum())


def copies(features: Features, diagonal: float) -> list[Copy]:
    """About ``MOST`` of them at most, by one scale and one shift each; both directions of a pair.

    Each is looked for among what the ones before do not explain: of equal tiles some look more alike than others, by how they fall
    into pixels, and would take all votes.
    """
    tolerance = TOLERANCE * features.scale
    pairs, _ = nearest(features, features, NEIGHBOURS, LEAST_SIMILAR)
    here, there = features.xy[pairs.view].astype(np.float64), features.xy[pairs.screen].astype(np.float64)
    free = np.hypot(*(there - here).T) > ELSEWHERE * diagonal
    result: list[Copy] = []
    while len(result) < MOST:
        kept = np.flatnonzero(free)
        seeds = np.unique(np.linspace(0, max(len(kept) - 1, 0), SEEDS).astype(np.intp))
        left = Matches(pairs.view[kept], pairs.screen[kept])
        found = elected(left, features, features, tolerance=tolerance, seeds=seeds, wanted=1)
        if not found or found[0].score < LEAST_ALIKE:
            break
        vote = found[0]
        there_map = Homography(np.array([[vote.scale, 0, vote.shift[0]], [0, vote.scale, vote.shift[1]], [0, 0, 1.0]]))
        back_map = there_map.inverse()
        result.append(Copy(there_map, features.xy[vote.view].astype(np.float64)))
        if not any(_same(back_map, known.map, diagonal) for known in result):
            result.append(Copy(back_map, features.xy[vote.screen].astype(np.float64)))
        for known in (there_map, back_map):
            free &= np.hypot(*(known.apply(here) - there).T) > ELSEWHERE * diagonal
    return result


def _same(a: Homography, b: Homography, diagonal: float) -> bool:
    corners = np.array([(0.0, 0.0), (diagonal, diagonal)])
    return bool(np.abs(a.apply(corners) - b.apply(corners)).max() < ELSEWHERE * diagonal)
