"""Rendering at a placement: exact copies, centroids, area averages, clean edges."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from desktop_agent.geometry import Placement, Point, Rect
from desktop_agent.paste.raster import compose, coverage, premultiplied, render, resample, straight


def soft_square(side: int = 40) -> NDArray[np.uint8]:
    cutout = np.zeros((side, side, 4), np.uint8)
    cutout[8:-8, 8:-8] = (200, 40, 90, 255)
    cutout[4:8, 8:-8] = (200, 40, 90, 128)
    return cutout


def test_whole_pixels_at_scale_one_are_copied_exactly() -> None:
    cutout = soft_square()
    drawn = render(cutout, Placement(Point(120, 80)))
    assert drawn is not None
    raster, area = drawn
    assert area == Rect(100, 60, 40, 40)
    np.testing.assert_array_equal(raster, cutout)


@pytest.mark.parametrize("scale", [0.13, 0.5, 0.77, 1.0, 1.6, 3.2])
@pytest.mark.parametrize("rotation", [0.0, 17.0, -90.0])
def test_area_and_centroid_are_kept(scale: float, rotation: float) -> None:
    cutout = np.full((30, 50, 4), 255, np.uint8)
    center = Point(101.3, 99.7)
    alpha = resample(premultiplied(cutout), Placement(center, scale, rotation), Rect(0, 0, 200, 200))[..., 3]
    y, x = np.mgrid[:200, :200] + 0.5
    assert alpha.sum() == pytest.approx(30 * 50 * scale**2, rel=0.01)
    assert (alpha * x).sum() / alpha.sum() == pytest.approx(center.x, abs=0.05)
    assert (alpha * y).sum() / alpha.sum() == pytest.approx(center.y, abs=0.05)


def test_shrinking_averages_and_does_not_skip_lines() -> None:
    stripes = np.zeros((64, 64, 4), np.uint8)
    stripes[..., 3] = 255
    stripes[::2, :, :3] = 255
    drawn = render(stripes, Placement(Point(8, 8), 0.25))
    assert drawn is not None
    inner = drawn[0][2:-2, 2:-2, :3]
    assert inner.mean() == pytest.approx(127.5, abs=2)
    assert inner.std() < 8


def test_hidden_colour_does_not_bleed_into_the_edge() -> None:
    cutout = np.zeros((20, 20, 4), np.uint8)
    cutout[..., :3] = (0, 255, 0)
    cutout[5:15, 5:15] = (255, 0, 0, 255)
    drawn = render(cutout, Placement(Point(30.37, 30.61), 0.7, 33))
    assert drawn is not None
    seen = drawn[0][drawn[0][..., 3] > 8]
    assert seen[:, 1].max() < 12


def test_clipping_gives_the_same_pixels() -> None:
    placement = Placement(Point(10.2, 12.4), 1.3, 21)
    whole, clipped = render(soft_square(), placement), render(soft_square(), placement, Rect(0, 0, 15, 15))
    assert whole is not None
    assert clipped is not None
    area = clipped[1]
    rows = slice(area.top - whole[1].top, area.bottom - whole[1].top)
    columns = slice(area.left - whole[1].left, area.right - whole[1].left)
    assert np.abs(clipped[0].astype(int) - whole[0][rows, columns]).max() <= 1
    assert render(soft_square(), placement, Rect(500, 500, 10, 10)) is None


def test_blending_is_source_over() -> None:
    below = np.full((1, 1, 3), 100, np.uint8)
    over = premultiplied(np.array([[[200, 0, 50, 128]]], np.uint8))
    np.testing.assert_array_equal(compose(below, over)[0, 0], [150, 50, 75])
    np.testing.assert_array_equal(straight(over)[0, 0], [200, 0, 50, 128])


def test_coverage_of_an_upright_raster_is_exact() -> None:
    covered = coverage(Placement(Point(2.25, 1.5)), 2, 1, Rect(0, 0, 5, 3))
    np.testing.assert_allclose(covered[1], [0, 0.75, 1, 0.25, 0], atol=1e-6)
    assert covered[0].max() == covered[2].max() == 0
