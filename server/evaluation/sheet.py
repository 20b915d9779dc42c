"""A contact sheet of the best and the worst pictures: photo, truth, prediction."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from server.segmenter import RGB, Mask

CELL = 176
_CAPTION = 20
_GAP = 6
_MARGIN = 10
_BACKGROUND = 32


@dataclass(frozen=True)
class _Row:
    score: float
    stem: str
    cells: NDArray[np.uint8]


@dataclass
class ContactSheet:
    """Keeps thumbnails of the ``rows`` best and worst pictures while a dataset goes by."""

    metric: str
    rows: int = 8
    _best: list[_Row] = field(default_factory=list)
    _worst: list[_Row] = field(default_factory=list)

    def add(self, stem: str, score: float, image: RGB, truth: Mask, prediction: Mask) -> None:
        """uint8 HxWx3 RGB, two float HxW maps in [0, 1]."""
        grey = [np.repeat((map_ * 255).round().astype(np.uint8)[..., None], 3, 2) for map_ in (truth, prediction)]
        row = _Row(score, stem, np.hstack([_cell(image), *(_cell(map_) for map_ in grey)]))
        self._best = sorted([*self._best, row], key=lambda kept: -kept.score)[: self.rows]
        self._worst = sorted([*self._worst, row], key=lambda kept: kept.score)[: self.rows]

    def image(self) -> RGB:
        """The best on the left from the top down, the worst on the right; captions name the picture and its score."""
        columns = [self._column("best", self._best), self._column("worst", self._worst)]
        gutter = np.full((columns[0].shape[0], 2 * _MARGIN, 3), _BACKGROUND, np.uint8)
        return np.pad(
            np.hstack([columns[0], gutter, columns[1]]),
            ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)),
            constant_values=_BACKGROUND,
        )

    def _column(self, title: str, rows: list[_Row]) -> RGB:
        width = rows[0].cells.shape[1]
        parts = [_caption(f"{title} by {self.metric}: photo, truth, prediction", width)]
        for row in rows:
            parts += [row.cells, _caption(f"{row.stem}  {row.score:.3f}", width)]
        return np.vstack(parts)


def _cell(image: RGB) -> RGB:
    """Fitted into a square, centred."""
    height, width = image.shape[:2]
    scale = (CELL - _GAP) / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    cell = np.full((CELL, CELL, 3), _BACKGROUND, np.uint8)
    top, left = (CELL - small.shape[0]) // 2, (CELL - small.shape[1]) // 2
    cell[top : top + small.shape[0], left : left + small.shape[1]] = small
    return cell


def _caption(text: str, width: int) -> RGB:
    strip = np.full((_CAPTION, width, 3), _BACKGROUND, np.uint8)
    shown = text if len(text) <= width // 7 else f"{text[: width // 7 - 3]}..."
    cv2.putText(strip, shown, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (230, 230, 230), 1, cv2.LINE_AA)
    return strip
