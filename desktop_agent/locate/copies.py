"""Places of a screen that look like other places of it: tiles, twins, thumbnails, rows of a list. A view of one fits them all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from desktop_agent.geometry import Homography
from desktop_agent.locate.features import Features
from desktop_agent.locate.voting import votes

Float = NDArray[np.float64]

ELSEWHERE = 0.02
"""Diagonals of the screen between a place and one that rivals it."""
LEAST_ALIKE = 12
MOST = 6
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
    """At most ``MOST`` of them, by one scale and one shift each; both directions of a pair."""
    apart = (features.xy.astype(np.float64), ELSEWHERE * diagonal)
    found = votes(
        features,
        features,
        tolerance=TOLERANCE * features.scale,
        apart=apart,
        least=0.85,
        neighbours=4,
        wanted=MOST,
    )
    result: list[Copy] = []
    for vote in found:
        if vote.score < LEAST_ALIKE:
            continue
        there = Homography(np.array([[vote.scale, 0, vote.shift[0]], [0, vote.scale, vote.shift[1]], [0, 0, 1.0]]))
        result.append(Copy(there, features.xy[vote.view].astype(np.float64)))
        back = there.inverse()
        if not any(_same(back, known.map, diagonal) for known in result):
            result.append(Copy(back, features.xy[vote.screen].astype(np.float64)))
    return result


def _same(a: Homography, b: Homography, diagonal: float) -> bool:
    corners = np.array([(0.0, 0.0), (diagonal, diagonal)])
    return bool(np.abs(a.apply(corners) - b.apply(corners)).max() < ELSEWHERE * diagonal)
