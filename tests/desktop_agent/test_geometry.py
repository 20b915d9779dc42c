from __future__ import annotations

import math

import numpy as np
import pytest

from desktop_agent.geometry import (
    Homography,
    Placement,
    Point,
    Quad,
    Rect,
    bounding_rect,
    normalized_degrees,
    rectangle_quad,
)

TILTED = Homography(np.array([[1.1, 0.2, 30.0], [-0.1, 0.9, 50.0], [2e-4, 1e-4, 1.0]]))


def test_the_half_pixel_is_added_and_taken_away_in_one_place() -> None:
    assert Point.from_external(3, 4) == Point(3.5, 4.5)
    assert Point.from_external(3, 4).external() == (3, 4)


@pytest.mark.parametrize(
    ("point", "inside"), [((-1920, 0), True), ((-0.1, 5), True), ((0, 5), False), ((-1921, 5), False)]
)
def test_a_rect_holds_its_left_and_top_edge_only(point: tuple[float, float], inside: bool) -> None:
    assert Rect(-1920, 0, 1920, 1080).contains(Point(*point)) is inside


def test_intersections() -> None:
    assert Rect(0, 0, 10, 10).intersection(Rect(5, -5, 10, 10)) == Rect(5, 0, 5, 5)
    assert Rect(0, 0, 10, 10).intersection(Rect(10, 0, 5, 5)) is None


def test_quads_know_their_area_and_sense() -> None:
    square = rectangle_quad(4, 3)
    assert square.area == 12
    mirrored = Quad.from_array(square.array()[::-1])
    assert mirrored.area == -12


def test_apply_and_inverse_agree() -> None:
    points = np.random.default_rng(0).uniform(0, 500, (50, 2))
    assert np.allclose(TILTED.inverse().apply(TILTED.apply(points)), points)


def test_composition_applies_the_right_one_first() -> None:
    moved = Homography.translation(10, 0) @ Homography.scaling(2)
    assert moved.apply([(3, 4)]).tolist() == [[16, 8]]


def test_the_jacobian_is_the_derivative() -> None:
    at, step = Point(200, 120), 1e-4
    numeric = np.column_stack(
        [
            (
                TILTED.apply([(at.x + dx * step, at.y + dy * step)])
                - TILTED.apply([(at.x - dx * step, at.y - dy * step)])
            )[0]
            / (2 * step)
            for dx, dy in ((1, 0), (0, 1))
        ]
    )
    assert np.allclose(TILTED.jacobian(at), numeric, atol=1e-6)


@pytest.mark.parametrize("angle", [-150.0, -30.0, 0.0, 45.0, 90.0, 179.0])
def test_scale_and_rotation_of_a_similarity(angle: float) -> None:
    a = math.radians(angle)
    similarity = Homography(
        np.array([[2 * math.cos(a), -2 * math.sin(a), 7], [2 * math.sin(a), 2 * math.cos(a), 9], [0, 0, 1]])
    )
    assert similarity.scale_at(Point(3, 4)) == pytest.approx(2)
    assert similarity.rotation_at(Point(3, 4)) == pytest.approx(angle)


@pytest.mark.parametrize("matrix", [np.zeros((2, 2)), np.full((3, 3), np.nan)])
def test_a_homography_is_finite_and_3x3(matrix: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite 3x3"):
        Homography(matrix)


def test_a_placement_puts_the_raster_centre_at_its_point() -> None:
    placement = Placement(Point(100, 50), 2.0, 90.0)
    assert np.allclose(placement.matrix(30, 10) @ [15, 5, 1], [100, 50])
    assert placement.quad(30, 10).corners[0].distance(Point(110, 20)) < 1e-9
    assert placement.bounds(30, 10) == Rect(90, 20, 20, 60)


@pytest.mark.parametrize("values", [(math.nan, 0, 1, 0), (0, 0, 0, 0), (0, 0, -1, 0), (0, 0, 1, math.inf)])
def test_a_placement_is_finite_and_has_a_size(values: tuple[float, float, float, float]) -> None:
    x, y, scale, rotation = values
    with pytest.raises(ValueError, match="finite"):
        Placement(Point(x, y), scale, rotation)


def test_a_placement_through_a_homography_keeps_its_look() -> None:
    small = Placement(Point(200, 120), 0.01, 25.0)
    seen = small.through(TILTED)
    corners = TILTED.apply(small.quad(100, 100).array())
    assert seen.center.distance(TILTED.apply_point(small.center)) < 1e-9
    # an infinitesimal square's area follows the Jacobian exactly
    area = abs(Quad.from_array(corners).area)
    assert area == pytest.approx((seen.scale * 100) ** 2, rel=1e-3)


@pytest.mark.parametrize(("angle", "normal"), [(0, 0), (180, 180), (-180, 180), (181, -179), (720, 0), (-450, -90)])
def test_angles_are_normalised(angle: float, normal: float) -> None:
    assert normalized_degrees(angle) == normal


def test_bounding_rect() -> None:
    assert bounding_rect([Point(1.2, 3.9), Point(-0.5, 8)]) == Rect(-1, 3, 3, 5)
    with pytest.raises(ValueError, match="no points"):
        bounding_rect([])
