"""The simulated camera's truth is checked against what its pictures show."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from mobile_client_stub.camera import Conditions, Pose, SimulatedCamera

POSES = [
    Pose(coverage=0.8),
    Pose(coverage=0.5, yaw=25, pitch=-10, roll=7),
    Pose(coverage=0.9, yaw=-35, pitch=20, roll=91, fov=56),
    Pose(coverage=0.3, pitch=40, roll=-150, fov=74),
]


def dotted_screen(width: int = 1280, height: int = 800) -> tuple[np.ndarray, np.ndarray]:
    """White discs on black with their centres (Nx2, pixel centres at integers + 0.5)."""
    screen = np.zeros((height, width, 3), np.uint8)
    centers = np.array([(x, y) for x in range(80, width, 160) for y in range(80, height, 160)], np.float64)
    for x, y in centers:
        cv2.circle(screen, (int(x * 16 - 8), int(y * 16 - 8)), 12 * 16, (255, 255, 255), -1, cv2.LINE_AA, shift=4)
    return screen, centers


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("k1", [0.0, 0.02, -0.02])
def test_the_picture_agrees_with_the_mapping(pose: Pose, k1: float) -> None:
    screen, centers = dotted_screen()
    camera = SimulatedCamera(3)
    shot = camera.shoot(screen, (600, 420), conditions=Conditions(pose, view_size=(720, 960), k1=k1, jpeg_quality=95))
    seen = shot.projection.to_view(centers)
    inside = (seen > 40).all(axis=1) & (seen < np.array([720, 960]) - 40).all(axis=1)
    assert inside.sum() >= 3
    ys, xs = np.mgrid[-30:30, -30:30] + 0.5
    for x, y in centers[inside]:
        grid = np.stack([x + xs, y + ys], axis=-1).reshape(-1, 2)
        view_xy = (shot.projection.to_view(grid) - 0.5).astype(np.float32).reshape(60, 60, 2)
        disc = cv2.remap(shot.view, view_xy, None, cv2.INTER_LINEAR).mean(axis=2)
        disc[disc < 40] = 0
        offset = np.array([(disc * xs).sum(), (disc * ys).sum()]) / disc.sum()
        assert np.abs(offset).max() < 0.15


@pytest.mark.parametrize("pose", POSES)
def test_point_scale_and_rotation_are_those_of_the_mapping(pose: Pose) -> None:
    screen, _ = dotted_screen()
    shot = SimulatedCamera(1).shoot(screen, (333.25, 222.5), conditions=Conditions(pose, k1=0.02))
    cx, cy = shot.projection.view_center
    assert (cx, cy) == (360, 480)
    np.testing.assert_allclose(shot.projection.to_screen([(cx, cy)])[0], shot.point, atol=1e-6)
    left, right, up, down = shot.projection.to_screen(
        [(cx - 1e-2, cy), (cx + 1e-2, cy), (cx, cy - 1e-2), (cx, cy + 1e-2)]
    )
    jacobian = np.column_stack([right - left, down - up]) / 2e-2
    assert shot.scale == pytest.approx(np.sqrt(np.linalg.det(jacobian)), rel=1e-4)
    angle = np.degrees(np.arctan2(jacobian[1, 0] - jacobian[0, 1], jacobian[0, 0] + jacobian[1, 1]))
    assert shot.rotation == pytest.approx(angle, abs=1e-3)


def test_coverage_is_the_part_of_the_width_that_the_view_spans() -> None:
    screen, _ = dotted_screen()
    shot = SimulatedCamera(1).shoot(screen, (640, 400), conditions=Conditions(Pose(coverage=0.6)))
    left, right = shot.projection.to_screen([(0, 480), (720, 480)])
    assert right[0] - left[0] == pytest.approx(0.6 * 1280, rel=1e-9)


def test_roll_of_the_phone_turns_what_is_pasted_the_same_way() -> None:
    screen, _ = dotted_screen()
    shot = SimulatedCamera(1).shoot(screen, conditions=Conditions(Pose(coverage=0.6, roll=20)))
    assert shot.rotation == pytest.approx(20)


def test_the_mapping_inverts_itself() -> None:
    screen, _ = dotted_screen()
    shot = SimulatedCamera(5).shoot(screen, conditions=Conditions(POSES[1], k1=-0.02))
    view_xy = np.random.default_rng(0).uniform(0, 700, (50, 2))
    np.testing.assert_allclose(shot.projection.to_view(shot.projection.to_screen(view_xy)), view_xy, atol=1e-6)


def test_rays_past_the_horizon_meet_no_screen() -> None:
    screen, _ = dotted_screen()
    shot = SimulatedCamera(5).shoot(screen, conditions=Conditions(Pose(coverage=0.5, pitch=70, fov=75)))
    mapped = shot.projection.to_screen([(360, 0), (360, 480), (360, 960)])
    assert np.isnan(mapped).any(axis=1).sum() == 1
    assert np.isfinite(mapped[1]).all()


def test_the_same_seed_gives_the_same_shots() -> None:
    screen, _ = dotted_screen()
    first, second, other = (SimulatedCamera(seed).shoot(screen, difficulty="hard") for seed in (7, 7, 8))
    assert first.jpeg == second.jpeg
    assert first.point == second.point
    assert first.jpeg != other.jpeg


def test_the_view_is_the_decoded_jpeg_and_the_screen_is_left_alone() -> None:
    screen, _ = dotted_screen()
    kept = screen.copy()
    conditions = Conditions(Pose(coverage=1.1), cursor=True, clock=True, popup=True)
    shot = SimulatedCamera(2).shoot(screen, conditions=conditions)
    decoded = cv2.imdecode(np.frombuffer(shot.jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert (shot.view == decoded).all()
    assert (screen == kept).all()


def test_hard_conditions_keep_to_the_benchmarks_ranges() -> None:
    rng = np.random.default_rng(0)
    drawn = [Conditions.sample(rng, "hard") for _ in range(400)]
    assert all(c.pose.tilt <= 52 for c in drawn)
    assert all(0.15 <= c.pose.coverage <= 1.2 and 55 <= c.pose.fov <= 75 for c in drawn)
    assert {max(c.view_size) for c in drawn} == {700, 960, 1280, 1920}
    assert 0.13 < np.mean([c.view_size[0] > c.view_size[1] for c in drawn]) < 0.27
    assert 0.57 < np.mean([c.moire > 0 for c in drawn]) < 0.73


def test_what_the_sensor_does_is_visible() -> None:
    rng = np.random.default_rng(0)
    screen = np.repeat(np.repeat(rng.integers(0, 256, (100, 160, 3), np.uint8), 8, axis=0), 8, axis=1)
    clean = Conditions(Pose(coverage=0.7))
    sharp = SimulatedCamera(1).shoot(screen, (640, 400), conditions=clean).view.astype(float)
    blurred = SimulatedCamera(1).shoot(screen, (640, 400), conditions=replace(clean, defocus=0.004)).view.astype(float)
    dark = SimulatedCamera(1).shoot(screen, (640, 400), conditions=replace(clean, exposure=0.45)).view.astype(float)
    assert np.abs(np.diff(blurred, axis=1)).mean() < 0.9 * np.abs(np.diff(sharp, axis=1)).mean()
    assert dark.mean() < 0.85 * sharp.mean()


def test_a_second_monitor_stands_to_the_right() -> None:
    red, blue = np.zeros((2, 800, 1280, 3), np.uint8)
    red[..., 0] = blue[..., 2] = 220
    view = SimulatedCamera(2).shoot(red, (1300, 400), conditions=Conditions(Pose(coverage=0.9)), beside=blue).view
    left, right = view[400:560, :200].mean(axis=(0, 1)), view[400:560, -200:].mean(axis=(0, 1))
    assert left[0] > 150 > left[2]
    assert right[2] > 150 > right[0]


def test_a_film_moves_smoothly() -> None:
    screen, _ = dotted_screen()
    conditions = Conditions(Pose(coverage=0.6), view_size=(240, 320), noise=0.01)
    shots = list(SimulatedCamera(4).film(screen, 8, conditions=conditions))
    points = np.array([shot.point for shot in shots])
    steps = np.hypot(*np.diff(points, axis=0).T)
    assert len(shots) == 8
    assert 0 < steps.max() < 200
    assert len({shot.jpeg for shot in shots}) == 8
