"""What the pipeline asks of every model: a picture in, a soft map out."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

RGB = NDArray[np.uint8]
Mask = NDArray[np.float32]
Tap = tuple[float, float]


class Segmenter(Protocol):
    """A loaded model. ``name`` is its registry name."""

    name: str

    def predict(self, image: RGB, tap: Tap | None = None) -> Mask:
        """uint8 HxWx3 RGB -> float32 HxW in [0, 1], not stretched: a picture without an object gives a low map.

        ``tap`` is a position in pixels of the image (pixel centres at integers), a hint that most models ignore.
        """
        ...
