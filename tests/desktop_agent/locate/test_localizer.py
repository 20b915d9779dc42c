"""Views of composed screens are found to a fraction of a pixel; views of anything else are refused with the reason."""

from __future__ import annotations

import threading
import time

import cv2
import numpy as np
import pytest

from desktop_agent.geometry import Homography, normalized_degrees
from desktop_agent.locate import Localizer, Location, Refusal
from desktop_agent.locate.features import Detail
from desktop_agent.locate.location import MESSAGES
from mobile_client_stub.camera import Conditions, Pose, Shot, SimulatedCamera

from .conftest import as_screenshot, compose

POSES = [
    Pose(coverage=0.6),
    Pose(coverage=1.1, yaw=12, roll=-4),
    Pose(coverage=0.3, pitch=-20, roll=6),
    Pose(coverage=0.7, yaw=-30, pitch=15),
    Pose(coverage=0.6, roll=90),
    Pose(coverage=0.5, roll=-87, yaw=20),
    Pose(coverage=0.6, roll=178),
    Pose(coverage=0.7, yaw=46, pitch=-12),
]


def assert_right(location: Location, shot: Shot, pixels: float = 1.0) -> None:
    assert location.status == "located", (location.reason, location.stage)
    assert location.point is not None
    assert location.scale is not None
    assert location.rotation is not None
    assert np.hypot(location.point.x - shot.point[0], location.point.y - shot.point[1]) < pixels
    assert location.scale == pytest.approx(shot.scale, rel=0.01)
    assert abs(normalized_degrees(location.rotation - shot.rotation)) < 0.4
    assert 0.3 < location.confidence <= 1
    assert location.reason is None


@pytest.mark.parametrize("pose", POSES)
def test_views_from_many_sides(pose: Pose, desk: np.ndarray, localizer: Localizer) -> None:
    conditions = Conditions(pose, view_size=(720, 960), k1=0.01, noise=0.01, moire=0.2, jpeg_quality=80)
    shot = SimulatedCamera(11).shoot(desk, (700, 430), conditions=conditions)
    assert_right(localizer.locate(shot.view, [as_screenshot(desk)]), shot)


@pytest.mark.parametrize("size", [(1280, 720), (540, 720), (1080, 1440)])
def test_views_of_many_sizes(size: tuple[int, int], desk: np.ndarray, localizer: Localizer) -> None:
    shot = SimulatedCamera(2).shoot(desk, (900, 500), conditions=Conditions(Pose(coverage=0.7, yaw=10), view_size=size))
    assert_right(localizer.locate(shot.view, [as_screenshot(desk)]), shot)


def test_letters_close_up_behind_the_display_s_grid(desk: np.ndarray, localizer: Localizer) -> None:
    conditions = Conditions(Pose(coverage=0.16, yaw=24, roll=84), view_size=(720, 960), moire=0.6, noise=0.015)
    shot = SimulatedCamera(4).shoot(desk, (260, 620), conditions=conditions)
    found = localizer.locate(shot.view, [as_screenshot(desk)], patient=False)
    assert_right(found, shot)
    assert found.stage == "square"


def test_what_only_the_display_shows_does_not_matter(desk: np.ndarray, localizer: Localizer) -> None:
    conditions = Conditions(Pose(coverage=0.7), cursor=True, clock=True, popup=True)
    shot = SimulatedCamera(5).shoot(desk, (800, 400), conditions=conditions)
    assert_right(localizer.locate(shot.view, [as_screenshot(desk)]), shot)


def test_a_playing_video_does_not_matter(desk: np.ndarray, localizer: Localizer) -> None:
    later = desk.copy()
    later[80:480, 1090:1550] = later[80:480, 1090:1550][::-1, ::-1]
    shot = SimulatedCamera(5).shoot(desk, (800, 450), conditions=Conditions(Pose(coverage=0.9)))
    assert_right(localizer.locate(shot.view, [as_screenshot(later)]), shot)


def test_the_monitor_that_is_aimed_at_is_named(desk: np.ndarray, other_desk: np.ndarray, localizer: Localizer) -> None:
    shots = [as_screenshot(other_desk, 1), as_screenshot(desk, 2, left=1280)]
    shot = SimulatedCamera(3).shoot(desk, (600, 400), conditions=Conditions(Pose(coverage=0.6)))
    location = localizer.locate(shot.view, shots)
    assert_right(location, shot)
    assert location.monitor == 2


def test_two_monitors_in_one_view(desk: np.ndarray, other_desk: np.ndarray, localizer: Localizer) -> None:
    shots = [as_screenshot(desk, 1), as_screenshot(other_desk, 2, left=1600)]
    conditions = Conditions(Pose(coverage=0.8))
    shot = SimulatedCamera(3).shoot(desk, (1450, 450), conditions=conditions, beside=other_desk)
    location = localizer.locate(shot.view, shots)
    assert_right(location, shot)
    assert location.monitor == 1


def test_the_homography_maps_the_whole_view(desk: np.ndarray, localizer: Localizer) -> None:
    shot = SimulatedCamera(4).shoot(desk, (800, 450), conditions=Conditions(Pose(coverage=0.6, yaw=20, roll=8)))
    location = localizer.locate(shot.view, [as_screenshot(desk)])
    assert location.homography is not None
    view_xy = np.array([(100, 100), (600, 100), (600, 860), (100, 860)])
    assert np.abs(location.homography.apply(view_xy) - shot.projection.to_screen(view_xy)).max() < 1


def test_a_prior_is_used(desk: np.ndarray, localizer: Localizer) -> None:
    shot = SimulatedCamera(4).shoot(desk, (800, 450), conditions=Conditions(Pose(coverage=0.6)))
    prior = Homography.translation(4, -3) @ Homography(shot.projection.ideal)
    location = localizer.locate(shot.view, [as_screenshot(desk)], prior=prior)
    assert_right(location, shot)
    assert location.stage == "prior"
    useless = localizer.locate(shot.view, [as_screenshot(desk)], prior=Homography.translation(500, 300))
    assert_right(useless, shot)
    assert useless.stage != "prior"


def assert_refused(location: Location, *reasons: Refusal) -> None:
    assert location.status == "refused"
    assert location.reason in reasons
    assert location.point is None
    assert location.homography is None
    assert location.message == MESSAGES[location.reason]


def test_another_screen_is_refused(desk: np.ndarray, other_desk: np.ndarray, localizer: Localizer) -> None:
    shot = SimulatedCamera(4).shoot(other_desk, (600, 500), conditions=Conditions(Pose(coverage=0.8)))
    assert_refused(localizer.locate(shot.view, [as_screenshot(desk)]), Refusal.NO_CONSISTENT_PLANE, Refusal.UNSTABLE)


def test_a_mirror_image_is_refused(desk: np.ndarray, localizer: Localizer) -> None:
    shot = SimulatedCamera(4).shoot(desk, (800, 400), conditions=Conditions(Pose(coverage=0.8)))
    assert_refused(localizer.locate(np.ascontiguousarray(shot.view[:, ::-1]), [as_screenshot(desk)]), Refusal.MIRRORED)


def test_a_point_beside_the_screen_is_refused(desk: np.ndarray, localizer: Localizer) -> None:
    shot = SimulatedCamera(4).shoot(desk, (-200, 400), conditions=Conditions(Pose(coverage=0.8)))
    assert_refused(localizer.locate(shot.view, [as_screenshot(desk)]), Refusal.OFF_SCREEN)


def test_the_inside_of_one_of_four_equal_tiles_is_refused(localizer: Localizer, desk: np.ndarray) -> None:
    tiled = np.ascontiguousarray(np.tile(desk[::2, ::2], (2, 2, 1)))
    shot = SimulatedCamera(4).shoot(tiled, (400, 200), conditions=Conditions(Pose(coverage=0.12)))
    assert_refused(localizer.locate(shot.view, [as_screenshot(tiled)]), Refusal.AMBIGUOUS, Refusal.UNSTABLE)


def test_the_surroundings_tell_equal_tiles_apart(localizer: Localizer, desk: np.ndarray) -> None:
    """The bezel on two sides, or a part of the next tiles, is what only one of the four has."""
    tiled = np.ascontiguousarray(np.tile(desk[::2, ::2], (2, 2, 1)))
    for aim in ((150.0, 150.0), (1450.0, 800.0)):
        shot = SimulatedCamera(4).shoot(tiled, aim, conditions=Conditions(Pose(coverage=0.3)))
        assert_right(localizer.locate(shot.view, [as_screenshot(tiled)]), shot)


def test_a_tile_that_is_seen_from_side_to_side_has_an_equal_beside_it(localizer: Localizer, desk: np.ndarray) -> None:
    tiled = np.ascontiguousarray(np.tile(desk[::2, ::2], (2, 2, 1)))
    shot = SimulatedCamera(4).shoot(tiled, (400, 200), conditions=Conditions(Pose(coverage=0.3)))
    assert_refused(localizer.locate(shot.view, [as_screenshot(tiled)]), Refusal.AMBIGUOUS)


def test_an_image_is_not_taken_for_its_thumbnail(localizer: Localizer, desk: np.ndarray) -> None:
    doubled = desk.copy()
    doubled[560:740, 60:380] = cv2.resize(desk[72:486, 32:501], (320, 180), interpolation=cv2.INTER_AREA)
    for aim in ((250.0, 260.0), (220.0, 650.0)):
        shot = SimulatedCamera(4).shoot(doubled, aim, conditions=Conditions(Pose(coverage=0.35)))
        location = localizer.locate(shot.view, [as_screenshot(doubled)])
        if location.status == "located":
            assert_right(location, shot)


@pytest.mark.parametrize(
    "view",
    [
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((0, 0, 3), np.uint8),
        np.full((960, 720, 3), 128, np.uint8),
        np.full((20, 4000, 3), 90, np.uint8),
        np.random.default_rng(0).integers(0, 256, (640, 480, 3), np.uint8),
        np.random.default_rng(0).integers(0, 256, (40, 3000, 3), np.uint8),
    ],
    ids=["1x1", "empty", "grey", "panorama", "noise", "noisy panorama"],
)
def test_garbage_is_refused(view: np.ndarray, desk: np.ndarray, localizer: Localizer) -> None:
    location = localizer.locate(view, [as_screenshot(desk)])
    assert_refused(location, Refusal.TOO_FEW_FEATURES, Refusal.NO_CONSISTENT_PLANE, Refusal.UNSTABLE)


@pytest.mark.parametrize("shape", [(0, 0, 3), (1, 1, 3), (5, 4000, 3), (600, 800, 3)])
def test_screens_without_content_are_refused(shape: tuple[int, int, int], desk: np.ndarray) -> None:
    view = SimulatedCamera(4).shoot(desk, conditions=Conditions(Pose(coverage=0.8))).view
    screenshot = as_screenshot(np.zeros(shape, np.uint8))
    empty = Localizer()
    empty.prepare(screenshot)
    assert_refused(empty.locate(view, [screenshot]), Refusal.TOO_FEW_FEATURES, Refusal.NO_CONSISTENT_PLANE)
    assert_refused(empty.locate(view, []), Refusal.TOO_FEW_FEATURES)


def test_a_screen_is_prepared_once_and_only_the_last_few_are_kept(desk: np.ndarray) -> None:
    local = Localizer()
    first = local.screens([as_screenshot(desk)])[0]
    assert local.screens([as_screenshot(desk.copy())])[0] is first
    changed = [desk.copy() for _ in range(8)]
    for i, image in enumerate(changed):
        image[0, 0] = i
        local.screens([as_screenshot(image)])
    assert local.screens([as_screenshot(desk)])[0] is not first


def test_a_ticking_clock_costs_no_search_of_the_screen(desk: np.ndarray, other_desk: np.ndarray) -> None:
    local = Localizer()
    first = local.screens([as_screenshot(desk)])[0]
    ticked = desk.copy()
    ticked[870:890, 1500:1590] = 255
    second, other = (local.screens([as_screenshot(image)])[0] for image in (ticked, other_desk))
    detail = Detail(480, 200)
    assert second is not first
    assert second.borrows
    assert not other.borrows
    assert second.features(detail) is first.features(detail)
    second.renew()
    assert second.features(detail) is not first.features(detail)


def test_a_new_window_is_found_though_little_of_the_screen_changed(desk: np.ndarray, other_desk: np.ndarray) -> None:
    local = Localizer()
    local.prepare(as_screenshot(desk))
    opened = desk.copy()
    opened[500:700, 100:400] = other_desk[80:280, 60:360]
    shot = SimulatedCamera(4).shoot(opened, (250, 600), conditions=Conditions(Pose(coverage=0.15)))
    assert local.screens([as_screenshot(opened)])[0].borrows
    assert_right(local.locate(shot.view, [as_screenshot(opened)]), shot)


def test_threads_share_one_preparation() -> None:
    image = compose(640, 480, [np.random.default_rng(1).integers(0, 256, (90, 120, 3), np.uint8)], seed=3)
    local, screenshot = Localizer(), as_screenshot(image)
    threads = [threading.Thread(target=local.prepare, args=(screenshot,), name=f"arcp-prepare-{i}") for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    started = time.process_time()
    local.prepare(screenshot)
    assert time.process_time() - started < 0.05
