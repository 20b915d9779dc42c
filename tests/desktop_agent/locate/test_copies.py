"""Places of a screen that look like other places of it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from desktop_agent.locate.copies import copies
from desktop_agent.locate.features import extract, to_grey
from desktop_agent.locate.screens import FAST_SCREEN


@pytest.mark.parametrize("size", [(801, 271), (800, 450)])
def test_every_shift_between_four_equal_tiles_is_found(desk: np.ndarray, size: tuple[int, int]) -> None:
    """Also where tiles one above the other fall differently into the pixels that are searched, and look less alike for it."""
    width, height = size
    tile = cv2.resize(desk, size, interpolation=cv2.INTER_AREA)
    screen = np.tile(tile, (2, 2, 1))
    diagonal = float(np.hypot(*screen.shape[:2]))
    shifts = {(x, y) for x in (-width, 0, width) for y in (-height, 0, height)} - {(0, 0)}
    found = [copy.map.apply([(0.0, 0.0)])[0] for copy in copies(extract(to_grey(screen), FAST_SCREEN), diagonal)]
    for shift in shifts:
        assert min(np.hypot(*(place - shift)) for place in found) < 4, shift
