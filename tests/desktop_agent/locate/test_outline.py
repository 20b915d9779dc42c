"""Views whose best feature is the screen's own outline: little content, and a desk that is full of key points."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from desktop_agent.geometry import Homography, Point
from desktop_agent.locate.candidate import SOUGHT_LEVELS, Candidate, View, grow
from desktop_agent.locate.outline import framed, outlines
from desktop_agent.locate.rectify import Upright
from desktop_agent.locate.refine import refine
from desktop_agent.locate.screens import PreparedScreen
from desktop_agent.locate.stages import Outlined
from mobile_client_stub.camera import Conditions, Pose, SimulatedCamera
from tests.desktop_agent.locate.conftest import as_screenshot

RGB = np.ndarray
AIM = (980.0, 300.0)


def on_a_busy_desk(screen: RGB, pose: Pose) -> View:
    """The screen in a photo whose surroundings are noise of all sizes."""
    shot = SimulatedCamera(5).shoot(screen, AIM, conditions=Conditions(pose, view_size=(540, 720), defocus=0.002))
    height, width = screen.shape[:2]
    bezel = np.array([(-20, -20), (width + 20, -20), (width + 20, height + 20), (-20, height + 20)], np.float64)
    inside = np.zeros(shot.view.shape[:2], np.uint8)
    cv2.fillPoly(inside, [shot.projection.to_view(bezel).round().astype(np.int32)], 1)
    rng = np.random.default_rng(1)
    noise = sum(cv2.resize(rng.random((720 // n, 540 // n), np.float32), (540, 720)) for n in (4, 9, 30))
    desk = np.repeat((60 + 50 * noise).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    return View(np.where(inside[..., None] > 0, shot.view, desk))


@pytest.mark.parametrize("pose", [Pose(coverage=0.8, yaw=36, pitch=-16, roll=5), Pose(coverage=1.0, yaw=-20, roll=93)])
def test_the_outline_places_a_screen_that_shows_little(dialog: RGB, pose: Pose) -> None:
    view, screen = on_a_busy_desk(dialog, pose), PreparedScreen(as_screenshot(dialog))
    guesses = list(Outlined(view).guesses(screen))
    assert guesses
    assert all(guess.sought for guess in guesses)
    found = [grow(view, screen, guess.homography, levels=SOUGHT_LEVELS) for guess in guesses]
    believed = [one for one in found if isinstance(one, Candidate) and one.framed(view)]
    assert believed
    for one in believed:
        assert one.homography.apply_point(view.center).distance(Point(*AIM)) < 3


def test_edges_beside_those_of_the_view_frame_nothing(dialog: RGB) -> None:
    view = on_a_busy_desk(dialog, Pose(coverage=0.9, yaw=18, pitch=9, roll=3))
    screen = PreparedScreen(as_screenshot(dialog))
    guess = next(iter(Outlined(view).guesses(screen)))
    right = grow(view, screen, guess.homography, levels=SOUGHT_LEVELS)
    assert isinstance(right, Candidate)
    pose, size = right.homography @ view.from_smaller(view.fine), (view.fine.shape[1], view.fine.shape[0])
    assert framed(view.lines[0], size, screen, pose)
    for off in (-60, 60):
        assert not framed(view.lines[0], size, screen, Homography.translation(off, 0) @ pose)
    assert not framed(np.zeros((0, 4)), size, screen, pose)


def test_a_view_without_lines_has_no_outline(dialog: RGB) -> None:
    blank = Upright(np.full((270, 360), 130, np.uint8), Homography.identity(), np.ones((270, 360), np.bool_))
    assert outlines(blank, np.zeros((0, 4)), Point(180, 135), PreparedScreen(as_screenshot(dialog)), 4) == []


@pytest.mark.parametrize("seed", [5, 6])
@pytest.mark.parametrize(
    "pose", [Pose(coverage=1.0, yaw=14, pitch=6, roll=3), Pose(coverage=1.0, yaw=-24, pitch=-6, roll=8)]
)
def test_the_corners_of_the_screen_hold_a_pose_far_from_the_little_it_shows(pose: Pose, seed: int) -> None:
    """Two desks and bezels; what is tracked inside lies close together and leaves the corners open by ten pixels."""
    screen = np.full((720, 1280, 3), 205, np.uint8)
    cv2.putText(screen, "SYSTEM", (560, 330), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (40, 40, 40), 3, cv2.LINE_AA)
    cv2.rectangle(screen, (560, 380), (720, 430), (90, 120, 190), -1)
    conditions = Conditions(pose, view_size=(720, 960), defocus=0.001, noise=0.004)
    shot = SimulatedCamera(seed).shoot(screen, (700.0, 360.0), conditions=conditions)
    view, prepared = View(shot.view), PreparedScreen(as_screenshot(screen))
    ends = np.array([(20.0, 20.0), (1260.0, 20.0), (1260.0, 700.0), (20.0, 700.0)])
    seen = shot.projection.to_view(ends)
    truth = cv2.getPerspectiveTransform(seen.astype(np.float32), ends.astype(np.float32)).astype(np.float64)
    to_fine = view.from_smaller(view.fine)
    rough = Homography(truth) @ to_fine @ Homography.translation(4, -3) @ Homography.scaling(1.004)

    def off(*, bezel: bool) -> float:
        found = refine(view.fine, prepared, rough, bezel=bezel)
        assert found is not None
        return float(np.hypot(*(found.homography.apply(to_fine.inverse().apply(seen)) - ends).T).max())

    assert off(bezel=True) < 4
    assert off(bezel=False) > 8


def test_a_view_inside_the_screen_sees_no_bezel(dialog: RGB) -> None:
    there = Homography(np.array([[1.5, 0, 150], [0, 1.5, 80], [0, 0, 1.0]]))
    view = cv2.warpPerspective(dialog, there.matrix, (480, 360), flags=cv2.INTER_AREA | cv2.WARP_INVERSE_MAP)
    prepared = PreparedScreen(as_screenshot(dialog))
    assert refine(View(view).fine, prepared, there) is not None
    assert refine(View(view).fine, prepared, there, bezel=True) is None
