"""The aim is followed from frame to frame, lost when it leaves, found again; markers make a blank screen locatable."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

from desktop_agent.geometry import Homography, Rect
from desktop_agent.locate import Localizer, MarkerGrid, Refusal, Tracker, locate_by_markers
from desktop_agent.locate.tracker import LOCK_SECONDS
from desktop_agent.screen import Monitor
from mobile_client_stub.camera import Conditions, Pose, SimulatedCamera

from .conftest import as_screenshot

FRAME = Conditions(Pose(coverage=0.6), view_size=(480, 640), supersampling=1.5, noise=0.01)


def tracker_of(localizer: Localizer) -> Tracker:
    """A tracker whose clock stands still, however slow this machine draws the frames."""
    return Tracker(localizer, clock=lambda: 0.0)


def test_a_wandering_aim_stays_locked(desk: np.ndarray, localizer: Localizer) -> None:
    tracker = tracker_of(localizer)
    stages, errors = [], []
    for shot in SimulatedCamera(3).film(desk, 20, conditions=FRAME):
        location = tracker.update(shot.view, [as_screenshot(desk)])
        assert location.point is not None
        stages.append(location.stage)
        errors.append(np.hypot(location.point.x - shot.point[0], location.point.y - shot.point[1]))
    assert stages[0] != "track"
    assert set(stages[1:]) == {"track"}
    assert np.median(errors) < 0.5
    assert max(errors) < 4


def test_a_lost_aim_is_found_again(desk: np.ndarray, localizer: Localizer) -> None:
    tracker = tracker_of(localizer)
    shot = SimulatedCamera(3).shoot(desk, (700, 400), conditions=FRAME)
    screens = [as_screenshot(desk)]
    assert tracker.update(shot.view, screens).status == "located"
    assert tracker.locked
    assert tracker.update(np.full_like(shot.view, 90), screens).status == "refused"
    assert not tracker.locked
    far = SimulatedCamera(4).shoot(desk, (1200, 600), conditions=FRAME)
    assert tracker.update(far.view, screens).status == "located"
    tracker.forget()
    assert not tracker.locked


def test_a_jump_is_not_taken_for_the_old_place(desk: np.ndarray, localizer: Localizer) -> None:
    tracker = tracker_of(localizer)
    for aim in ((400.0, 400.0), (1300.0, 500.0), (800.0, 300.0)):
        shot = SimulatedCamera(3).shoot(desk, aim, conditions=FRAME)
        location = tracker.update(shot.view, [as_screenshot(desk)])
        assert location.point is not None
        assert np.hypot(location.point.x - aim[0], location.point.y - aim[1]) < 3


def test_the_photo_starts_from_the_tracked_pose(desk: np.ndarray, localizer: Localizer) -> None:
    tracker = tracker_of(localizer)
    frame = SimulatedCamera(3).shoot(desk, (700, 400), conditions=FRAME)
    assert tracker.prior(frame.view) is None
    tracker.update(frame.view, [as_screenshot(desk)])
    photo = SimulatedCamera(4).shoot(desk, (706, 396), conditions=Conditions(Pose(coverage=0.6), view_size=(960, 1280)))
    location = localizer.locate(photo.view, [as_screenshot(desk)], prior=tracker.prior(photo.view))
    assert location.stage == "prior"
    assert location.point is not None
    assert np.hypot(location.point.x - 706, location.point.y - 396) < 1


def test_after_a_long_pause_the_old_place_is_not_assumed(desk: np.ndarray, localizer: Localizer) -> None:
    now = [0.0]
    tracker = Tracker(localizer, clock=lambda: now[0])
    frame = SimulatedCamera(3).shoot(desk, (700, 400), conditions=FRAME)
    tracker.update(frame.view, [as_screenshot(desk)])
    assert tracker.monitor == 1
    now[0] = LOCK_SECONDS + 1
    assert not tracker.locked
    assert tracker.prior(frame.view) is None
    assert tracker.monitor is None
    assert tracker.update(frame.view, [as_screenshot(desk)]).stage != "track"


def test_a_prior_is_tried_on_its_monitor_alone(desk: np.ndarray, localizer: Localizer) -> None:
    twins = [as_screenshot(desk, 1), as_screenshot(desk, 2, left=1600)]
    shot = SimulatedCamera(3).shoot(desk, (700, 400), conditions=FRAME)
    assert localizer.locate(shot.view, twins).reason is Refusal.AMBIGUOUS
    prior = Homography(shot.projection.ideal)
    assert localizer.locate(shot.view, twins, prior=prior, monitor=2).monitor == 2


def test_memory_stays_bounded_over_many_frames(desk: np.ndarray) -> None:
    localizer = Localizer()
    tracker = tracker_of(localizer)
    view = SimulatedCamera(3).shoot(desk, (700, 400), conditions=FRAME).view[::2, ::2]

    def frames(first: int, count: int) -> None:
        for i in range(first, first + count):
            image = desk.copy()
            image[0, 0] = (i % 256, i // 256, 7)  # every frame comes with another screenshot
            tracker.update(view, [as_screenshot(image)])

    frames(0, 12)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    frames(12, 40)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20 * desk.shape[0] * desk.shape[1]


@pytest.mark.parametrize("size", [(1920, 1080), (1080, 1920), (1024, 768)])
@pytest.mark.parametrize("pose", [Pose(coverage=0.18, yaw=25), Pose(coverage=1.1, pitch=-20, roll=90)])
def test_markers_make_a_blank_screen_locatable(size: tuple[int, int], pose: Pose) -> None:
    blank = np.full((size[1], size[0], 3), 250, np.uint8)
    screenshot = as_screenshot(blank)
    shown = MarkerGrid(screenshot.monitor).over(blank)
    aim = (0.3 * size[0], 0.6 * size[1])
    shot = SimulatedCamera(6).shoot(shown, aim, conditions=Conditions(pose, view_size=(720, 960), noise=0.01))
    location = locate_by_markers(shot.view, [screenshot])
    assert location.point is not None
    assert location.stage == "markers"
    assert np.hypot(location.point.x - aim[0], location.point.y - aim[1]) < 1
    assert location.scale == pytest.approx(shot.scale, rel=0.01)


def test_without_markers_nothing_is_claimed(desk: np.ndarray) -> None:
    shot = SimulatedCamera(6).shoot(desk, conditions=FRAME)
    location = locate_by_markers(shot.view, [as_screenshot(desk)])
    assert location.reason is Refusal.TOO_FEW_FEATURES
    assert locate_by_markers(np.zeros((0, 0, 3), np.uint8), [as_screenshot(desk)]).status == "refused"


def test_the_grid_names_the_monitor() -> None:
    grids = [MarkerGrid(Monitor(index, Rect(0, 0, 1280, 720))) for index in (1, 2)]
    assert not grids[0].corners().keys() & grids[1].corners().keys()
    blank = np.full((720, 1280, 3), 200, np.uint8)
    shown = grids[1].over(blank)
    shot = SimulatedCamera(1).shoot(shown, (640, 360), conditions=Conditions(Pose(coverage=0.7)))
    location = locate_by_markers(shot.view, [as_screenshot(blank, 1), as_screenshot(blank, 2, left=1280)])
    assert location.monitor == 2


def test_the_overlay_covers_little_and_leaves_the_rest_transparent() -> None:
    overlay = MarkerGrid(Monitor(1, Rect(0, 0, 1920, 1080))).overlay()
    opaque = overlay[..., 3] > 0
    assert overlay.shape == (1080, 1920, 4)
    assert 0.05 < opaque.mean() < 0.45
    assert set(np.unique(overlay[..., 3])) == {0, 255}
