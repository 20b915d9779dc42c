"""What the pipeline asks of every model: a picture in, a soft map out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

RGB = NDArray[np.uint8]
Mask = NDArray[np.float32]
Tap = tuple[float, float]


class Segmenter(Protocol):
    """A loaded model. ``name`` is its registry name.

    A model may also have ``resolution``, the long side in px beyond which a larger picture adds nothing to its map: it then
    gets pictures of that size, and a second look at a crop where the object is small. And ``least_score``, the mean probability
    over an object below which, without a tap, it is none.
    """

    name: str

    def predict(self, image: RGB, tap: Tap | None = None) -> Mask:
        """uint8 HxWx3 RGB -> float32 HxW in [0, 1], not stretched: a picture without an object gives a low map.

        ``tap`` is a position in pixels of the image (pixel centres at integers), a hint that most models ignore.
        """
        ...


@dataclass(frozen=True)
class Stages:
    """``predict`` in three steps, so that the device works on several pictures at once and on nothing else.

    ``prepare(image, tap)`` and ``finish(output, image)`` run in the caller's thread, ``infer(items)`` where the device is
    owned: it takes what ``prepare`` gave for 1..N pictures and returns one output for each. A model whose work can be split so
    has a method ``stages()``, which returns them, or None; see ``server.engine``.
    """

    prepare: Callable[[RGB, Tap | None], Any]
    infer: Callable[[Sequence[Any]], Sequence[Any]]
    finish: Callable[[Any, RGB], Mask]
