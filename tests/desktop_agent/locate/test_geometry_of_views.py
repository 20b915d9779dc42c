"""The parts below the localiser: axes from lines, quarter turns of descriptors, plane and lens fitting, impossible poses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from desktop_agent.geometry import Homography
from desktop_agent.locate.features import Detail, extract, to_grey
from desktop_agent.locate.hypothesis import fit, flaw
from desktop_agent.locate.location import Refusal
from desktop_agent.locate.matching import match, nearest, similarities
from desktop_agent.locate.rectify import FOCALS, line_segments, screen_axes, upright
from desktop_agent.locate.refine import fit_plane_and_lens
from desktop_agent.locate.voting import mirrored, quarter_turn, turned, votes
from mobile_client_stub.camera import Conditions, Pose, SimulatedCamera


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(0, 0, 0), (25, -10, 4), (-35, 20, 0), (10, 30, 90)])
def test_lines_give_the_screens_axes(yaw: float, pitch: float, roll: float, desk: np.ndarray) -> None:
    pose = Pose(coverage=0.8, yaw=yaw, pitch=pitch, roll=roll, fov=65)
    view = SimulatedCamera(2).shoot(desk, (800, 450), conditions=Conditions(pose, view_size=(600, 800))).view
    axes = screen_axes(line_segments(to_grey(view)), view.shape[:2])[0]
    assert axes.tilt == pytest.approx(pose.tilt, abs=4)
    assert np.linalg.det(axes.rotation) == pytest.approx(1)
    squared = upright(to_grey(view), axes, 700)
    height, width = squared.image.shape
    assert max(height, width) <= 700
    corners = squared.to_view.apply([(0, 0), (width, 0), (width, height), (0, height)])
    assert np.isfinite(corners).all()


def test_nothing_straight_gives_no_axes() -> None:
    blank = np.full((300, 400), 90, np.uint8)
    assert screen_axes(line_segments(blank), blank.shape) == []


def test_axes_that_suit_the_lines_differ_and_come_best_first(desk: np.ndarray) -> None:
    pose = Pose(coverage=0.5, yaw=34, pitch=12, roll=4, fov=65)
    view = SimulatedCamera(2).shoot(desk, (300, 700), conditions=Conditions(pose, view_size=(600, 800))).view
    found = screen_axes(line_segments(to_grey(view)), view.shape[:2])
    assert len(found) > 1
    merit = [axes.support * FOCALS[axes.focal] for axes in found]
    assert merit == sorted(merit, reverse=True)
    assert not any(a.alike(b) for a, b in itertools.combinations(found, 2))


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_turned_features_are_those_of_the_turned_picture(quarters: int, desk: np.ndarray) -> None:
    picture = to_grey(desk)[::2, ::2].copy()
    height, width = picture.shape
    detail = Detail(2000, 400, upright=True)
    found = turned(extract(picture, detail), quarters, (width, height))
    expected = extract(np.ascontiguousarray(np.rot90(picture, -quarters)), detail)
    pairs, similarity = nearest(found, expected, 1, 0.9)
    same = np.hypot(*(found.xy[pairs.view] - expected.xy[pairs.screen]).T) < 1
    assert same.mean() > 0.8
    assert np.median(similarity[same]) > 0.98
    corner = quarter_turn(quarters, (width, height)).apply([(0, 0)])[0]
    assert tuple(corner) == {1: (height, 0), 2: (width, height), 3: (0, width)}[quarters]


def test_mirrored_features_are_those_of_the_mirrored_picture(desk: np.ndarray) -> None:
    picture = to_grey(desk)[::2, ::2].copy()
    detail = Detail(2000, 400)
    found = mirrored(extract(picture, detail), picture.shape[1])
    expected = extract(np.ascontiguousarray(picture[:, ::-1]), detail)
    pairs, similarity = nearest(found, expected, 1, 0.9)
    same = np.hypot(*(found.xy[pairs.view] - expected.xy[pairs.screen]).T) < 1
    assert same.mean() > 0.8
    assert np.median(similarity[same]) > 0.98
    turn = (found.angle[pairs.view] - expected.angle[pairs.screen] + 180) % 360 - 180
    assert np.median(np.abs(turn[same])) < 1


def test_votes_find_scale_and_shift(desk: np.ndarray) -> None:
    grey = to_grey(desk)
    part = np.ascontiguousarray(grey[100:600, 500:1100])
    detail = Detail(1600, 800, 0.02, upright=True)
    best = votes(extract(part, detail), extract(grey, detail), tolerance=6)[0]
    assert best.scale == pytest.approx(1, abs=0.01)
    assert np.abs(best.shift - (500, 100)).max() < 3


def test_matches_of_a_picture_with_itself_are_the_identity(desk: np.ndarray) -> None:
    features = extract(to_grey(desk), Detail(800, 300))
    pairs = match(similarities(features, features), 0.9)
    assert (pairs.view == pairs.screen).all()
    found = fit(features.xy[pairs.view].astype(float), features.xy[pairs.screen].astype(float), 3)
    assert found is not None
    matrix = found.homography.matrix / found.homography.matrix[2, 2]
    np.testing.assert_allclose(matrix, np.eye(3), atol=1e-2)


@pytest.mark.parametrize("k1", [0.0, 0.02, -0.02])
def test_plane_and_lens_are_fitted_together(k1: float, desk: np.ndarray) -> None:
    conditions = Conditions(Pose(coverage=0.7, yaw=20, pitch=-8), view_size=(720, 960), k1=k1)
    projection = SimulatedCamera(2).shoot(desk, (800, 450), conditions=conditions).projection
    rng = np.random.default_rng(0)
    view_xy = rng.uniform((0, 0), (720, 960), (200, 2))
    screen_xy = projection.to_screen(view_xy)
    screen_xy[:30] += rng.normal(0, 40, (30, 2))
    fitted = fit_plane_and_lens(Homography(projection.ideal), view_xy, screen_xy, (720, 960))
    assert fitted is not None
    found = fitted.homography.apply([(360, 480)])[0]
    assert np.hypot(*(found - projection.to_screen([(360, 480)])[0])) < 0.05
    assert fitted.lens == pytest.approx(k1 * 480**2 / projection.focal**2, abs=2e-3)
    assert not fitted.inlier[:30].all()
    assert fitted.inlier[30:].all()


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        (np.diag([2.0, 2.0, 1.0]), None),
        (np.array([[-2.0, 0, 1600], [0, 2.0, 0], [0, 0, 1]]), Refusal.MIRRORED),
        (np.array([[2.0, 0, 5000], [0, 2.0, 0], [0, 0, 1]]), Refusal.OFF_SCREEN),
        (np.array([[2.0, 0, 0], [0, 0.1, 400], [0, 0, 1]]), Refusal.NO_CONSISTENT_PLANE),
        (np.array([[2.0, 0, 0], [0, 2.0, 0], [0.004, 0, -1]]), Refusal.NO_CONSISTENT_PLANE),
        (np.diag([0.001, 0.001, 1.0]), Refusal.NO_CONSISTENT_PLANE),
    ],
)
def test_what_no_camera_sees(matrix: np.ndarray, reason: Refusal | None) -> None:
    assert flaw(Homography(matrix), (600, 400), (1600, 900)) is reason
