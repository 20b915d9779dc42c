"""Does the view look like the screenshot under a pose? Local correlation where either of them has something to show."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from desktop_agent.geometry import Homography
from desktop_agent.locate.features import Grey
from desktop_agent.locate.refine import render
from desktop_agent.locate.screens import PreparedScreen

Light = NDArray[np.float32]

INDIFFERENT = 0.4
"""A local correlation that speaks neither for a pose nor against it."""

ALIKE_DRAWN = 0.6
"""Local correlation of two predictions below which they differ."""
LEAST_WEIGHT = 3.0
"""Grey levels of contrast, less than which no place tells one pose from another."""

LEAST_GRAIN, MOST_GRAIN = 5.0, 12.0


@dataclass(frozen=True)
class Agreement:
    """``correlation``: mean local ZNCC over the screenshot's texture in the view, ``explained``: the same over the view's texture,
    both in [-1, 1]; ``texture``: how much of the view the screenshot's texture fills, in [0, 1].

    ``support``, at most about 0.6, by which poses of one view are compared: what agrees counts for a pose, what it predicts and
    the view does not show against it, and what lies beside the screen for nothing, all relative to the texture of the whole view.
    """

    correlation: float
    explained: float
    texture: float
    support: float


@dataclass(frozen=True, eq=False)
class Seen:
    """A pose of a view: ``homography`` maps its pixels to the screen's after the radial coefficient ``lens`` is undone."""

    screen: PreparedScreen
    homography: Homography
    lens: float


def agreement(
    view: Grey, screen: PreparedScreen, homography: Homography, *, lens: float = 0.0, window: int = 13
) -> Agreement:
    """Compare in squares of ``window`` pixels at the resolution of ``view`` (HxW, about 480 pixels long).

    ``homography`` maps this view's pixels to the screen's after the radial coefficient ``lens`` (in half long sides) is undone.
    """
    seen = _look(view, screen, homography, lens, window)
    if seen is None:
        return Agreement(0.0, 0.0, 0.0, 0.0)
    grain = _grain(seen.deviation[seen.gate & (seen.predicted == 0)])
    shown = np.where(seen.gate, np.clip(seen.deviation - grain, 0, 25), 0)
    return Agreement(
        correlation=float((seen.correlation * seen.predicted).sum() / max(seen.predicted.sum(), 1e-6)),
        explained=float((seen.correlation * shown).sum() / max(shown.sum(), 1e-6)),
        texture=float((seen.predicted > 0).mean()),
        support=float(seen.gain.sum() / max(seen.texture.sum(), 1e-6)),
    )


def preference(view: Grey, one: Seen, other: Seen, *, window: int = 13) -> tuple[float, float]:
    """Which of two poses of one ``view`` is right, by the places alone where they predict different pictures.

    The mean difference of the local correlations there, in [-2, 2], positive for ``one``; and how many windows such places fill.
    """
    a, b = (_look(view, seen.screen, seen.homography, seen.lens, window) for seen in (one, other))
    if a is None or b is None:
        return 0.0, 0.0
    differs = _correlation(a.drawn, b.drawn, window) < ALIKE_DRAWN
    differs = np.where(a.gate & b.gate, differs, a.gate | b.gate)
    weight = np.where(differs, np.maximum(np.maximum(a.predicted, b.predicted), a.texture), 0)
    weight[weight < LEAST_WEIGHT] = 0
    gain = np.where(a.gate, a.correlation, INDIFFERENT) - np.where(b.gate, b.correlation, INDIFFERENT)
    return float((gain * weight).sum() / max(weight.sum(), 1e-6)), float((weight > 0).sum() / window**2)


def _correlation(a: Light, b: Light, window: int) -> Light:
    def local(values: Light) -> Light:
        return np.asarray(cv2.blur(values, (window, window)))

    mean_a, mean_b = local(a), local(b)
    var_a, var_b = np.maximum(local(a * a) - mean_a**2, 0), np.maximum(local(b * b) - mean_b**2, 0)
    return np.asarray((local(a * b) - mean_a * mean_b) / np.sqrt((var_a + 4) * (var_b + 4)))


@dataclass(frozen=True, eq=False)
class _Look:
    """Maps of a view (HxW each) under one pose: ``drawn`` is what it predicts, ``inside`` (0 or 1) where it predicts anything,
    ``gate`` where that can be compared; ``deviation`` the view's contrast, ``predicted`` the weight of the prediction's, and
    ``texture`` the weight of the view's, whatever the pose."""

    drawn: Light
    inside: Light
    gate: NDArray[np.bool_]
    correlation: Light
    deviation: Light
    predicted: Light
    texture: Light

    @property
    def gain(self) -> Light:
        """What speaks for the pose (positive) and against it, in the units of ``texture``; nothing beside the screen."""
        seen = np.where(self.gate, np.clip(self.deviation - LEAST_GRAIN, 0, 25), 0)
        return np.asarray((self.correlation - INDIFFERENT) * np.maximum(seen, self.predicted), dtype=np.float32)


def _look(view: Grey, screen: PreparedScreen, homography: Homography, lens: float, window: int) -> _Look | None:
    """None where the pose shows nothing of the screen."""
    height, width = view.shape
    view = _straightened(view, lens)
    rendering = render(screen, homography, (width, height))
    if not rendering.inside.any():
        return None
    a = view.astype(np.float32)
    b = cv2.GaussianBlur(rendering.image, (0, 0), 0.7).astype(np.float32)
    inside = rendering.inside.astype(np.float32)
    area = np.maximum(cv2.blur(inside, (window, window)), 1e-3)

    def local(values: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.blur(values * inside, (window, window)) / area)

    mean_a, mean_b = local(a), local(b)
    var_a, var_b = np.maximum(local(a * a) - mean_a**2, 0), np.maximum(local(b * b) - mean_b**2, 0)
    correlation = (local(a * b) - mean_a * mean_b) / np.sqrt((var_a + 4) * (var_b + 4))
    gate = (inside > 0) & (area > 0.3)
    # what poses are compared by has to weigh the view in the same way for each of them
    mean, square = cv2.blur(a, (window, window)), cv2.blur(a * a, (window, window))
    return _Look(
        b,
        inside,
        gate,
        correlation,
        deviation=np.sqrt(var_a),
        predicted=np.where(gate, np.clip(np.sqrt(var_b) - 3, 0, 25), 0),
        texture=np.clip(np.sqrt(np.maximum(square - mean**2, 0)) - LEAST_GRAIN, 0, 25),
    )


def _grain(deviation: NDArray[np.float32]) -> float:
    """The local deviation, in grey levels, that noise, moire and glare have where the screen is flat; letters have more."""
    if len(deviation) < 200:
        return LEAST_GRAIN
    return float(np.clip(1.6 * np.median(deviation), LEAST_GRAIN, MOST_GRAIN))


def _straightened(view: Grey, lens: float) -> Grey:
    """The view without its lens' bend: a point p of the result is seen at s with s (1 + lens |s|^2) = p, to second order."""
    height, width = view.shape
    unit = max(height, width) / 2
    if abs(lens) * (height**2 + width**2) / (2 * unit) ** 2 * unit < 0.5:
        return view
    x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2)[None, :] / unit
    y = (np.arange(height, dtype=np.float32) + 0.5 - height / 2)[:, None] / unit
    bend = lens * (x * x + y * y)
    inward = (1 - bend + 3 * bend * bend) * unit
    map_x, map_y = x * inward + (width / 2 - 0.5), y * inward + (height / 2 - 0.5)
    return np.asarray(cv2.remap(view, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8)
