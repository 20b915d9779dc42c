"""What the model sees: the map of the picture, a second look at a crop where that shows more, and the object that is meant."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from server.segmenter import RGB, Mask, Segmenter, Tap
from server.selection import Window, fill_holes, select_object, tapped, window_to_look_again

SMALL_OBJECT = 0.45
"""Without being asked to refine, the model looks again only where the crop has less than this share of the picture."""
AGREEMENT = 0.5
"""IoU of two looks at one object under which the second one is of something else."""
TRUST = np.float32(2 / 3)
"""In the second look, which sees the object larger."""


@dataclass(frozen=True, eq=False)
class View:
    """``picture`` uint8 hxwx3 at the model's resolution, its ``probability`` and the object's ``region``, None: no object."""

    picture: RGB
    probability: Mask
    region: NDArray[np.bool_] | None

    @property
    def mask(self) -> Mask:
        """The object's map, 0 elsewhere."""
        return np.where(self.region, self.probability, np.float32(0)) if self.region is not None else self.probability


def look(image: RGB, segmenter: Segmenter, tap: Tap | None, *, refine: bool = False) -> View:
    """The object in ``image`` (uint8 HxWx3) that is meant; ``refine`` spends a second look on large objects too.

    A model that names its ``resolution`` gets the picture shrunken to it; others work on all of its pixels, once.
    """
    resolution: int | None = getattr(segmenter, "resolution", None)
    if resolution is None:
        return _selected(image, segmenter.predict(image, tap), tap)
    picture = shrunk(image, resolution)
    small_tap = None if tap is None else _scaled(tap, image, picture)
    first = _selected(picture, segmenter.predict(picture, small_tap), small_tap)
    window = window_to_look_again(first.probability, first.region, small_tap)
    if window is None or (tap is None and not refine and window.share(picture.shape) > SMALL_OBJECT):
        return first
    crop = np.ascontiguousarray(image[_enlarged(window, picture, image).slices])
    seen = segmenter.predict(shrunk(crop, resolution), None)
    size = window.right - window.left, window.bottom - window.top
    seen = cv2.resize(seen, size, interpolation=cv2.INTER_AREA if seen.shape[1] > size[0] else cv2.INTER_LINEAR)
    second = _with_second_look(first, np.asarray(seen, np.float32), window, small_tap)
    return first if second is None else second


def shrunk(image: RGB, side: int) -> RGB:
    """The picture with a long side of at most ``side``.

    Large photos are halved first: exact halves are averaged ten times faster than any other ratio.
    """
    height, width = image.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return image
    size = max(1, round(width * factor)), max(1, round(height * factor))
    while max(image.shape[:2]) >= 3 * side:
        half = max(1, image.shape[1] // 2), max(1, image.shape[0] // 2)
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _selected(picture: RGB, probability: Mask, tap: Tap | None) -> View:
    filled = fill_holes(picture, probability)
    return View(picture, filled, select_object(filled, tap))


def _with_second_look(first: View, seen: Mask, window: Window, tap: Tap | None) -> View | None:
    """Both looks in one; None where the second one shows nothing or another object than the first.

    Of an object that both saw the map is a mean; what only the second saw, under a tap, is its own.
    """
    inside = window.slices
    if tap is not None and (first.region is None or not tapped(first.probability, tap)):
        if not tapped(seen, window.within(tap)):
            return None
        probability = np.zeros_like(first.probability)
        probability[inside] = seen
    else:
        expected = first.mask[inside] > 0.5
        overlap = np.count_nonzero(expected & (seen > 0.5))
        if overlap < AGREEMENT * np.count_nonzero(expected | (seen > 0.5)):
            return None
        probability = first.probability.copy()
        probability[inside] += TRUST * (seen - probability[inside])
    view = _selected(first.picture, probability, tap)
    return None if view.region is None else view


def _scaled(tap: Tap, image: RGB, picture: RGB) -> Tap:
    x, y = (
        (value + 0.5) * new / old - 0.5
        for value, new, old in zip(tap, picture.shape[1::-1], image.shape[1::-1], strict=True)
    )
    return x, y


def _enlarged(window: Window, picture: RGB, image: RGB) -> Window:
    """The window in pixels of the large image."""
    across, down = image.shape[1] / picture.shape[1], image.shape[0] / picture.shape[0]
    return Window(
        int(window.left * across),
        int(window.top * down),
        min(image.shape[1], round(window.right * across)),
        min(image.shape[0], round(window.bottom * down)),
    )
