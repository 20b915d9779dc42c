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


def test_a_small_picture_whose_size_was_rounded_does_not_change_a_zoom_that_a_large_one_showed() -> None:
    learned = Calibration().seen(2.0, 400)
    assert learned.seen(1.005, 130).zoom == 2.0
    assert learned.seen(1.005, 500).zoom == pytest.approx(2.01)
    assert learned.seen(1.05, 130).zoom == pytest.approx(2.1)  # somebody turned the zoom


@pytest.mark.parametrize(("went", "own_place"), [(Point(0.3, -0.2), True), (Point(29.7, 10.2), False)])
def test_a_program_that_ignores_the_pointer_is_told_by_moving_it(went: Point, own_place: bool) -> None:
    first, center = Point(400.5, 300.5), Point(420.0, 310.0)
    before = Calibration(0.5).then(first, center, Calibration())
    after = before.then(first.shifted(30, 10), center.shifted(went.x, went.y), before)
    assert (before.own_place, after.own_place) == (False, own_place)


@pytest.mark.parametrize("zoom", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("wanted", [Point(803.3, 401.9), Point(117.8, 640.2)])
def test_the_next_picture_comes_where_it_was_said(zoom: float, wanted: Point) -> None:
    origin = Point(33.4, 57.7)
    first, _ = Calibration().aim(Point(500.6, 300.2), max(1, zoom))
    learned = Calibration(zoom, first, shown_at(first, zoom, origin))
    pointer, center = learned.aim(wanted, max(1, zoom))
    assert center.distance(shown_at(pointer, zoom, origin)) < 1e-6
    assert center.distance(wanted) <= math.hypot(0.5, 0.5) * max(1, zoom)
