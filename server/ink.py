"""``--mode ink``: a drawing or schematic on paper becomes ink on transparency."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from server.cutout import Box, Cutout, Stopwatch, visible
from server.errors import NoObject
from server.looking import shrunk
from server.segmenter import RGB

PAPER_SIDE = 384
"""Long side in px at which the paper's shade is estimated: it varies slowly."""
STROKE = 0.06
"""Of the long side: wider dark areas count as shade on the paper, not as ink."""
FAINT = 0.06
"""Darkening below this is the paper's texture."""
GRAIN = 2.5
"""Deviations of the paper's own texture."""
FULL_QUANTILE = 0.9
"""Of the darkening of ink pixels: from there on ink covers."""
MOST_INK = 0.5
LEAST_INK = 2e-4


def cut_ink(image: RGB, clock: Stopwatch) -> Cutout:
    """uint8 HxWx3 -> ink in its own colour. Raises ``NoObject`` where the picture is no bright paper with marks on it.

    The paper's white is the upper envelope of the picture; what is darker than it in any channel is ink, as opaque as it is
    darker, and its colour is what the paper's share leaves of the photo's.
    """
    with clock.stage("paper"):
        paper = paper_white(image)
    with clock.stage("ink"):
        ratio = np.minimum(image.astype(np.float32) / np.maximum(paper, 1), 1)
        darkening = 1 - ratio.min(axis=2)
        faint = faintest(darkening)
        marks = darkening > 2 * faint
        share = float(marks.mean())
        if not LEAST_INK < share < MOST_INK:
            raise NoObject(
                "There is no ink on bright paper in the picture: fill it with the drawing, or use mode object."
            )
        full = max(float(np.quantile(darkening[marks][:: max(1, marks.sum() // 100_000)], FULL_QUANTILE)), 3 * faint)
        opacity = np.clip((darkening - faint) / (full - faint), 0, 1)
        alpha = visible(np.rint(opacity * 255).astype(np.uint8))
        left, top, width, height = cv2.boundingRect(alpha)
        inside = np.s_[top : top + height, left : left + width]
        rgba = _ink_colours(image[inside], paper[inside], opacity[inside], alpha[inside])
    return Cutout(
        rgba=rgba,
        box=Box(left, top, left + width, top + height),
        image_size=(image.shape[1], image.shape[0]),
        coverage=float(opacity.mean()),
        score=float(opacity[marks].mean()),
        model="ink",
        methods={"mode": "ink"},
        timings_ms=clock.timings_ms,
    )


def paper_white(image: RGB) -> NDArray[np.float32]:
    """The paper as it would look without ink, float32 HxWx3 in 0..255: closed over strokes, then smoothed."""
    small = cv2.medianBlur(shrunk(image, PAPER_SIDE), 3)
    side = 2 * max(2, round(STROKE * max(small.shape[:2]) / 2)) + 1
    closed = cv2.morphologyEx(small, cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
    smooth = cv2.GaussianBlur(closed.astype(np.float32), (0, 0), side / 2)
    return np.asarray(cv2.resize(smooth, image.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def faintest(darkening: NDArray[np.float32]) -> float:
    """Darkening up to which it is still paper: most of the picture is, so its median and spread are the paper's own."""
    sampled = darkening[:: max(1, darkening.shape[0] // 300), :: max(1, darkening.shape[1] // 300)]
    middle = float(np.median(sampled))
    spread = 1.4826 * float(np.median(np.abs(sampled - middle)))
    return max(FAINT, middle + GRAIN * spread)


def _ink_colours(
    image: RGB, paper: NDArray[np.float32], opacity: NDArray[np.float32], alpha: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    share = opacity[..., None]
    colours = (image - (1 - share) * paper) / np.maximum(share, 0.05)
    rgba = np.empty((*alpha.shape, 4), np.uint8)
    rgba[..., :3] = np.clip(colours * (255 / np.maximum(paper, 128)), 0, 255)
    rgba[..., 3] = alpha
    rgba[alpha == 0] = 0
    return rgba
