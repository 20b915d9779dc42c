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

INDIFFERENT = 0.4
"""A local correlation that speaks neither for a pose nor against it."""

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


def agreement(
    view: Grey, screen: PreparedScreen, homography: Homography, *, lens: float = 0.0, window: int = 13
) -> Agreement:
    """Compare in squares of ``window`` pixels at the resolution of ``view`` (HxW, about 480 pixels long).

    ``homography`` maps this view's pixels to the screen's after the radial coefficient ``lens`` (in half long sides) is undone.
    """
    height, width = view.shape
    view = _straightened(view, lens)
    drawn = render(screen, homography, (width, height))
    if not drawn.inside.any():
        return Agreement(0.0, 0.0, 0.0, 0.0)
    a = view.astype(np.float32)
    b = cv2.GaussianBlur(drawn.image, (0, 0), 0.7).astype(np.float32)
    inside = drawn.inside.astype(np.float32)
    area = np.maximum(cv2.blur(inside, (window, window)), 1e-3)

    def local(values: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.blur(values * inside, (window, window)) / area)

    mean_a, mean_b = local(a), local(b)
    var_a, var_b = np.maximum(local(a * a) - mean_a**2, 0), np.maximum(local(b * b) - mean_b**2, 0)
    correlation = (local(a * b) - mean_a * mean_b) / np.sqrt((var_a + 4) * (var_b + 4))
    gate = (inside > 0) & (area > 0.3)
    weight_b = np.where(gate, np.clip(np.sqrt(var_b) - 3, 0, 25), 0)
    deviation = np.sqrt(var_a)
    grain = _grain(deviation[gate & (weight_b == 0)])
    weight_a = np.where(gate, np.clip(deviation - grain, 0, 25), 0)
    # what poses are compared by has to weigh the view in the same way for each of them
    mean, square = cv2.blur(a, (window, window)), cv2.blur(a * a, (window, window))
    shown = np.clip(np.sqrt(np.maximum(square - mean**2, 0)) - LEAST_GRAIN, 0, 25)
    seen = np.where(gate, np.clip(deviation - LEAST_GRAIN, 0, 25), 0)
    gain = (correlation - INDIFFERENT) * np.maximum(seen, weight_b)
    return Agreement(
        correlation=float((correlation * weight_b).sum() / max(weight_b.sum(), 1e-6)),
        explained=float((correlation * weight_a).sum() / max(weight_a.sum(), 1e-6)),
        texture=float((weight_b > 0).mean()),
        support=float(gain.sum() / max(shown.sum(), 1e-6)),
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
