"""Views with hardly a key point: the whole picture, its edges and the screen's bezel have to place them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from desktop_agent.geometry import Homography, Point
from desktop_agent.locate.candidate import SOUGHT_LEVELS, Candidate, View, grow
from desktop_agent.locate.rectify import Upright
from desktop_agent.locate.screens import PreparedScreen
from desktop_agent.locate.stages import LevelSweep, Sweep
from desktop_agent.locate.sweep import sweep
from mobile_client_stub.camera import Conditions, Pose, SimulatedCamera
from tests.desktop_agent.locate.conftest import as_screenshot

RGB = np.ndarray


def squarely(grey: np.ndarray) -> Upright:
    return Upright(grey, Homography.identity(), np.ones(grey.shape, np.bool_))


@pytest.mark.parametrize(("scale", "quarters"), [(2.4, 0), (0.6, 3)])
def test_a_square_view_is_found_at_its_scale_and_turn(dialog: RGB, scale: float, quarters: int) -> None:
    width, height = 360, 270
    there = np.array([[scale, 0, 400 - scale * width / 2], [0, scale, 230 - scale * height / 2]])
    view = cv2.warpAffine(
        dialog, there, (width, height), flags=cv2.INTER_AREA | cv2.WARP_INVERSE_MAP, borderValue=(20,) * 3
    )
    view = cv2.GaussianBlur(cv2.cvtColor(view, cv2.COLOR_RGB2GRAY), (0, 0), 4)
    turned = np.ascontiguousarray(np.rot90(view, quarters))
    center = Point(turned.shape[1] / 2, turned.shape[0] / 2)
    best = sweep(squarely(turned), center, PreparedScreen(as_screenshot(dialog)), 1)[0]
    assert best.quarters == quarters
    assert best.spot.distance(Point(400, 230)) < 0.03 * width * scale
    assert best.homography.scale_at(center) == pytest.approx(scale, rel=0.06)


def test_a_blank_view_fits_nowhere(dialog: RGB) -> None:
    blank = squarely(np.full((270, 360), 130, np.uint8))
    assert sweep(blank, Point(180, 135), PreparedScreen(as_screenshot(dialog)), 4) == []


@pytest.mark.parametrize(
    ("stage", "pose"),
    [(Sweep, Pose(coverage=0.8, yaw=36, pitch=-16, roll=5)), (LevelSweep, Pose(coverage=0.3, yaw=8, roll=90))],
)
def test_a_blurred_view_is_placed_without_key_points(dialog: RGB, stage: type[Sweep], pose: Pose) -> None:
    aim = (420.0, 240.0)
    conditions = Conditions(pose, view_size=(540, 720), defocus=0.003, noise=0.01)
    view = View(SimulatedCamera(5).shoot(dialog, aim, conditions=conditions).view)
    screen = PreparedScreen(as_screenshot(dialog))
    if stage is LevelSweep:
        view.axes = []
    guess = next(iter(stage(view).guesses(screen)))
    found = grow(view, screen, guess.homography, levels=SOUGHT_LEVELS)
    assert isinstance(found, Candidate)
    assert found.sure
    assert found.homography.apply_point(view.center).distance(Point(*aim)) < 3


def test_the_row_beside_the_right_one_is_not_believed() -> None:
    """Equal buttons in a column: a pose that is off by one of them looks right for the most part."""
    screen = np.full((720, 1280, 3), 225, np.uint8)
    for k, label in enumerate((">>", ">", "<", "<<")):
        cv2.rectangle(screen, (600, 200 + 70 * k), (760, 250 + 70 * k), (150, 155, 160), 2)
        cv2.putText(screen, label, (665, 233 + 70 * k), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (60, 60, 60), 2, cv2.LINE_AA)
    cv2.rectangle(screen, (120, 100), (560, 620), (150, 150, 150), 2)
    there = np.array([[0.5, 0, 560], [0, 0.5, 150.0]])
    view = View(cv2.warpAffine(screen, there, (560, 720), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP))
    prepared = PreparedScreen(as_screenshot(screen))
    right = Homography(np.vstack([there, [0, 0, 1]]))
    assert isinstance(best := grow(view, prepared, right), Candidate)
    assert best.sure
    for off in (-70, 70):
        beside = grow(view, prepared, Homography.translation(0, off) @ right, levels=SOUGHT_LEVELS)
        assert not (isinstance(beside, Candidate) and beside.sure)
