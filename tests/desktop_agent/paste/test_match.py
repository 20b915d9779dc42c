"""Finding what was pasted: on a busy desktop, with handles around it, beside a thumbnail, and not at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from desktop_agent.geometry import Placement, Point
from desktop_agent.paste.match import find, looks_placed
from desktop_agent.screen import PictureScreen
from desktop_agent.virtual_desktop import draw_desktop
from tests.e2e.coffee import coffee


@pytest.mark.parametrize(
    ("placement", "guess"),
    [
        (Placement(Point(600.3, 400.8), 0.5, 12), Placement(Point(630, 380), 1.0, 10)),
        (Placement(Point(1400.6, 500.2), 1.4, -28), Placement(Point(1390, 520), 0.7, -30)),
        (Placement(Point(300.5, 900.5), 0.2, 0), Placement(Point(300, 900), 0.25, 0)),
        (Placement(Point(1890.2, 300.4), 0.8, 5), Placement(Point(1880, 300), 0.8, 5)),
    ],
)
def test_finds_scale_angle_and_place_to_a_fraction_of_a_pixel(placement: Placement, guess: Placement) -> None:
    cutout, screen = coffee(240), PictureScreen(draw_desktop())
    before = screen.picture
    screen.paste(cutout, placement)
    after = screen.picture
    bounds = placement.bounds(240, cutout.shape[0])
    after[bounds.top : bounds.bottom, max(0, bounds.left - 1)] = 0  # a selection's line, and a thumbnail
    small = PictureScreen(after)
    small.paste(cutout, Placement(Point(60, 60), 0.1))
    match = find(cutout, before, small.picture, guess)
    assert match is not None
    assert match.placement.center.distance(placement.center) < 0.1
    assert match.placement.scale == pytest.approx(placement.scale, rel=0.003)
    assert match.placement.rotation == pytest.approx(placement.rotation, abs=0.2)


def test_finds_nothing_where_nothing_or_something_else_changed() -> None:
    cutout, before = coffee(240), draw_desktop()
    expected = Placement(Point(600, 400))
    assert find(cutout, before, before, expected) is None
    dialog = before.copy()
    dialog[300:560, 400:800] = 235
    dialog[320:330, 420:700] = 20
    assert find(cutout, before, dialog, expected) is None


def test_an_equal_cut_out_that_was_there_already_is_recognised() -> None:
    cutout, screen = coffee(200), PictureScreen(draw_desktop())
    placement = Placement(Point(500.5, 500.5), 0.9, 8)
    empty = screen.picture
    screen.paste(cutout, placement)
    shown = screen.picture
    screen.paste(cutout, placement)
    assert looks_placed(cutout, shown, screen.picture, placement)
    assert not looks_placed(cutout, empty, empty, placement)
    assert not looks_placed(cutout, empty, shown, replace(placement, center=Point(540.5, 500.5)))


def test_pictures_are_left_alone() -> None:
    cutout, before = coffee(100), draw_desktop()
    after = before.copy()
    after[100:200, 100:200] = 9
    kept = (cutout.copy(), before.copy(), after.copy())
    find(cutout, before, after, Placement(Point(150, 150)))
    for was, now in zip(kept, (cutout, before, after), strict=True):
        np.testing.assert_array_equal(was, now)
