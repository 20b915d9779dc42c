"""Where the pointer goes for a picture that an application puts at its own pixels."""

from __future__ import annotations

import math

import pytest

from desktop_agent.geometry import Point
from desktop_agent.paste.calibrated import Calibration


def shown_at(pointer: Point, zoom: float, origin: Point) -> Point:
    """A program of ``zoom`` screen pixels per document pixel puts a picture's centre at the document pixel's corner."""
    return Point(
        origin.x + zoom * math.floor((pointer.x - origin.x) / zoom),
        origin.y + zoom * math.floor((pointer.y - origin.y) / zoom),
    )


@pytest.mark.parametrize("zoom", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("wanted", [Point(803.3, 401.9), Point(117.8, 640.2)])
def test_the_next_picture_comes_where_it_was_said(zoom: float, wanted: Point) -> None:
    origin = Point(33.4, 57.7)
    first, _ = Calibration().aim(Point(500.6, 300.2), max(1, zoom))
    learned = Calibration(zoom, first, shown_at(first, zoom, origin))
    pointer, center = learned.aim(wanted, max(1, zoom))
    assert center.distance(shown_at(pointer, zoom, origin)) < 1e-6
    assert center.distance(wanted) <= math.hypot(0.5, 0.5) * max(1, zoom)
