"""Poses of a squarely drawn view: one scale, one shift, a number of quarter turns, on which many weak matches agree.

Letters repeat, so a text's key points have no single best match; taken with several neighbours each and asked for one common
scale and shift, they still vote for the right place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from desktop_agent.geometry import Homography
from desktop_agent.locate.features import Features
from desktop_agent.locate.matching import Matches, nearest

Float = NDArray[np.float64]

NEIGHBOURS, LEAST_SIMILAR = 3, 0.75
SEEDS = 500


@dataclass(frozen=True, eq=False)
class Vote:
    """``scale`` screen pixels per view pixel and ``shift`` (screen = scale * view + shift) of the turned view; the pairs that agree
    (indices into the two feature sets) and ``score``, how many different places they are."""

    scale: float
    shift: Float
    view: NDArray[np.intp]
    screen: NDArray[np.intp]
    score: int


def turned(features: Features, quarters: int, size: tuple[float, float]) -> Features:
    """The features of the picture (width, height) turned by ``quarters`` * 90 degrees clockwise, without searching it again."""
    xy, descriptors = features.xy, features.descriptors
    for i in range(quarters % 4):
        side = size[1] if i % 2 == 0 else size[0]
        xy = np.column_stack([side - xy[:, 1], xy[:, 0]])
        descriptors = descriptors[:, _QUARTER]
    return replace(features, xy=np.ascontiguousarray(xy), descriptors=np.ascontiguousarray(descriptors))


def mirrored(features: Features, width: float) -> Features:
    """The features of the picture of that width seen in a mirror, without searching it again."""
    return replace(
        features,
        xy=np.column_stack([width - features.xy[:, 0], features.xy[:, 1]]).astype(np.float32),
        descriptors=np.ascontiguousarray(features.descriptors[:, _MIRRORED]),
        angle=(180 - features.angle) % 360,
    )


def quarter_turn(quarters: int, size: tuple[float, float]) -> Homography:
    """The map of a picture (width, height) onto itself turned by ``quarters`` * 90 degrees clockwise, as in ``turned``."""
    pose = Homography.identity()
    for i in range(quarters % 4):
        side = size[1] if i % 2 == 0 else size[0]
        pose = Homography(np.array([[0, -1.0, side], [1.0, 0, 0], [0, 0, 1.0]])) @ pose
    return pose


def _turned_bins() -> NDArray[np.intp]:
    """Where each of the 4 x 4 x 8 bins (row, column, direction) of a descriptor comes from when its picture turns clockwise."""
    index = np.arange(128).reshape(4, 4, 8)
    return np.roll(np.rot90(index, -1), -2, axis=2).ravel()


def _mirrored_bins() -> NDArray[np.intp]:
    """The same for a picture that is seen in a mirror, left and right exchanged."""
    index = np.arange(128).reshape(4, 4, 8)[::-1]
    return np.asarray(index[..., -np.arange(8) % 8].ravel(), dtype=np.intp)


_QUARTER, _MIRRORED = _turned_bins(), _mirrored_bins()


def likely_turns(view: Features, screen: Features, size: tuple[float, float]) -> list[int]:
    """The quarter turns in the order of how similar the turned view's key points are to the screen's."""
    merit = []
    for quarters in range(4):
        best = (turned(view, quarters, size).descriptors @ screen.descriptors.T).max(axis=1, initial=0)
        merit.append(float(np.maximum(best - 0.8, 0).sum()))
    return sorted(range(4), key=lambda quarters: -merit[quarters])


def votes(view: Features, screen: Features, *, tolerance: float) -> list[Vote]:
    """The two best supported poses, best first, different from each other; ``tolerance`` in view pixels."""
    pairs, _ = nearest(view, screen, NEIGHBOURS, LEAST_SIMILAR)
    return elected(pairs, view, screen, tolerance=tolerance, seeds=np.arange(min(SEEDS, len(pairs))), wanted=2)


def elected(
    pairs: Matches, view: Features, screen: Features, *, tolerance: float, seeds: NDArray[np.intp], wanted: int
) -> list[Vote]:
    """The ``wanted`` poses that most of the pairs agree on, of those that the pairs with the indices ``seeds`` propose."""
    if len(pairs) < 4:
        return []
    view_xy = view.xy[pairs.view].astype(np.float64)
    screen_xy = screen.xy[pairs.screen].astype(np.float64)
    scale = screen.size[pairs.screen].astype(np.float64) / view.size[pairs.view]
    support = _support(view_xy, screen_xy, scale, seeds, tolerance)
    found: list[Vote] = []
    for _ in range(wanted * 4):
        best = int(support.argmax())
        if support[best] < 4 or len(found) == wanted:
            break
        support[best] = -1
        seed = int(seeds[best])
        shift = screen_xy[seed] - scale[seed] * view_xy[seed]
        vote = _settled(pairs, view_xy, screen_xy, scale[seed], shift, seed, tolerance)
        if vote is None:
            continue
        off = np.abs(screen_xy[seeds] - vote.scale * view_xy[seeds] - vote.shift).max(axis=1) / vote.scale
        support[off < 4 * tolerance + 0.1 * np.abs(view_xy[seeds] - view_xy[seed]).max(axis=1)] = -1
        found.append(vote)
    return sorted(found, key=lambda v: -v.score)


def _support(view_xy: Float, screen_xy: Float, scale: Float, seeds: NDArray[np.intp], tolerance: float) -> Float:
    """For each pair of ``seeds``, how many view places have a pair that its scale and shift predict; more loosely far away."""
    counts = np.zeros(len(seeds))
    place = np.unique(np.floor(view_xy / (2 * tolerance)).astype(np.int64) @ (1, 100003), return_inverse=True)[1]
    x, y = view_xy.T.astype(np.float32)
    sx, sy = screen_xy.T.astype(np.float32)
    size = np.log(scale).astype(np.float32)
    for k, i in enumerate(seeds):
        ahead_x, ahead_y = x - x[i], y - y[i]
        factor = np.float32(scale[i])
        off = np.maximum(np.abs((sx - sx[i]) / factor - ahead_x), np.abs((sy - sy[i]) / factor - ahead_y))
        reach = np.maximum(np.abs(ahead_x), np.abs(ahead_y))
        near = (off < tolerance + 0.12 * reach) & (np.abs(size - size[i]) < 0.35)
        counts[k] = len(np.unique(place[near]))
    return counts


def _settled(
    pairs: Matches, view_xy: Float, screen_xy: Float, scale: float, shift: Float, seed: int, tolerance: float
) -> Vote | None:
    """Least squares over what agrees, from loose to tight."""
    for slack in (0.12, 0.06, 0.03, 0.03):
        far = np.abs(view_xy - view_xy[seed]).max(axis=1)
        off = np.abs(screen_xy - scale * view_xy - shift).max(axis=1) / scale
        inside = off < tolerance + slack * far
        if inside.sum() < 4:
            return None
        a, b = view_xy[inside], screen_xy[inside]
        middle_a, middle_b = np.median(a, axis=0), np.median(b, axis=0)
        ca, cb = a - middle_a, b - middle_b
        weight = 1 / (1 + (off[inside] / tolerance) ** 2)
        spread = (weight[:, None] * ca**2).sum()
        if spread < 1e-6:
            return None
        scale = float((weight[:, None] * ca * cb).sum() / spread)
        if scale <= 0:
            return None
        shift = middle_b - scale * middle_a
    off = np.abs(screen_xy - scale * view_xy - shift).max(axis=1) / scale
    inside = off < tolerance + 0.03 * np.abs(view_xy - view_xy[seed]).max(axis=1)
    cells = np.unique(np.floor(view_xy[inside] / (2 * tolerance)).astype(np.int64), axis=0)
    return Vote(scale, shift, pairs.view[inside], pairs.screen[inside], len(cells))
