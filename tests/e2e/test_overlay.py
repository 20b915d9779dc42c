"""The agent's layers on a real X server: on top, let clicks through, gone in time, never recognised as the screen's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from desktop_agent.clips import ClipStore
from desktop_agent.geometry import Placement, Point
from desktop_agent.locate import Localizer, MarkerGrid, Refusal, Tracker
from desktop_agent.on_screen import OnScreen
from desktop_agent.overlay import Overlay, Patch, open_overlay
from desktop_agent.overlay.x11 import X11Canvas
from desktop_agent.screen import RGB, MssScreen
from desktop_agent.x11 import connection
from mobile_client_stub.camera import Conditions, Pose, SimulatedCamera
from server.images import encode_png
from tests.e2e.desktop import VirtualDesktop, missing_programs, on_desktop

pytestmark = [
    pytest.mark.app,
    pytest.mark.skipif(bool(missing_programs()), reason="apt-get install xvfb openbox dbus-x11"),
]

FRAME = Conditions(Pose(coverage=0.6), view_size=(480, 640), supersampling=1.5, noise=0.01)


@pytest.fixture(scope="module")
def split() -> Iterator[VirtualDesktop]:
    """Two monitors of 800 x 600."""
    with VirtualDesktop((1600, 600), two_monitors=True) as desktop, on_desktop(desktop):
        yield desktop


@pytest.fixture
def overlay(split: VirtualDesktop) -> Iterator[Overlay]:
    opened = open_overlay(MssScreen())
    assert opened is not None
    yield opened
    opened.close()


@pytest.fixture
def content(split: VirtualDesktop) -> Iterator[RGB]:
    """Both monitors show a picture, uint8 600x1600x3."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (60, 160, 3)).astype(np.uint8)
    picture = cv2.resize(coarse, (1600, 600), interpolation=cv2.INTER_CUBIC)
    canvas = X11Canvas()
    canvas.draw("content", [Patch(0, 0, np.dstack([picture, np.full((600, 1600), 255, np.uint8)]))])
    yield picture
    canvas.close()


def block(left: int, top: int, side: int = 60) -> Patch:
    picture = np.zeros((side, side, 4), np.uint8)
    picture[...] = (250, 20, 200, 255)
    picture[side // 2 :, side // 2 :, 3] = 0
    return Patch(left, top, picture)


def whole() -> RGB:
    return np.hstack([shot.image for shot in MssScreen().grab()])


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_a_layer_has_its_shape_on_top_of_everything(content: RGB, overlay: Overlay) -> None:
    patches = [block(770, 100), block(-20, 560)]
    assert overlay.show("a", patches, 60)
    expected = content.copy()
    for left, top in ((770, 100), (-20, 560)):
        expected[top : top + 30, max(0, left) : left + 60] = (250, 20, 200)
        expected[top + 30 : top + 60, max(0, left) : left + 30] = (250, 20, 200)
    assert np.array_equal(whole(), expected)
    for shot in MssScreen().grab():
        covered = overlay.covered(shot.monitor.rect)
        assert covered is not None
        differs = (shot.image != content[:, shot.monitor.rect.left : shot.monitor.rect.right]).any(axis=2)
        assert differs.any()
        assert not (differs & ~covered).any()
    overlay.hide("a")
    assert np.array_equal(whole(), content)


def test_clicks_go_through(split: VirtualDesktop, overlay: Overlay) -> None:
    with connection() as display:
        root = display.screen().root
        below = root.query_pointer().child
        assert overlay.show("a", [block(0, 0, 600), block(600, 0, 600), block(1200, 0, 600)], 60)
        assert root.query_pointer().child == below
    overlay.hide("a")


def test_the_grid_goes_by_itself(content: RGB, overlay: Overlay) -> None:
    monitors = MssScreen().monitors()
    assert len(monitors) == 2
    grids = [Patch(m.rect.left, m.rect.top, MarkerGrid(m).overlay()) for m in monitors]
    overlay.show("markers", grids, 0.3)
    assert eventually(lambda: bool(np.array_equal(whole(), content)))
    assert not overlay.shows("markers")


def test_what_an_ended_agent_showed_is_gone(content: RGB) -> None:
    left_behind = X11Canvas()
    left_behind.draw("a", [block(0, 0)])
    assert not np.array_equal(whole(), content)
    left_behind.close()
    assert eventually(lambda: bool(np.array_equal(whole(), content)))


def test_the_aim_stays_locked_on_the_screen_and_never_on_the_preview(
    content: RGB, overlay: Overlay, tmp_path: Path
) -> None:

    cutout = np.zeros((300, 200, 4), np.uint8)
    cv2.ellipse(cutout, (100, 150), (80, 130), 0, 0, 360, (240, 200, 30, 255), -1)
    clips = ClipStore(tmp_path)
    clip = clips.add("phone-1", encode_png(cutout), size=(200, 300), photo_size=(480, 640), box=(0, 0, 200, 300))
    shown = OnScreen(MssScreen(), clips, overlay)
    tracker = Tracker(Localizer(), clock=lambda: 0.0)
    stages = []
    for step in range(4):
        target = Placement(Point(400.0 + 6 * step, 300.0), 0.8, 5.0 * step)
        view = SimulatedCamera(step).shoot(whole()[:, :800], (target.center.x, target.center.y), conditions=FRAME).view
        location = tracker.update(view, shown.look())
        assert location.point is not None
        assert location.point.distance(target.center) < 1.5
        stages.append(location.stage)
        shown.preview(clip, target, MssScreen().monitors())
        assert not np.array_equal(whole(), content)
    assert stages[1:] == ["track"] * 3
    with shown.quiet():
        assert np.array_equal(whole(), content)


def test_a_blank_screen_is_found_by_its_markers(split: VirtualDesktop, overlay: Overlay, tmp_path: Path) -> None:

    shown = OnScreen(MssScreen(), ClipStore(tmp_path), overlay)
    assert shown.show_markers("phone", Refusal.TOO_FEW_FEATURES, shown.look())
    aim = (1200.0, 250.0)
    view = SimulatedCamera(1).shoot(whole()[:, 800:], (aim[0] - 800, aim[1]), conditions=FRAME).view
    answer = shown.marked("phone", view)
    assert answer is not None
    location, screenshots = answer
    assert location.point is not None
    assert location.monitor == 2
    assert np.hypot(location.point.x + 800 - aim[0], location.point.y - aim[1]) < 1
    assert all(shot.image.std() < 1 for shot in screenshots)
    assert whole().std() < 1
    assert shown.marked("phone", view) is None
