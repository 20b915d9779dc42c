"""The aim of each phone is followed by the agent: cheap frames, a photo that starts where the last frame was, bounded memory."""

from __future__ import annotations

import ctypes
import gc
import io
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from desktop_agent.agent import Agent
from desktop_agent.aiming import Aims
from desktop_agent.clips import ClipStore
from desktop_agent.errors import NoDriver
from desktop_agent.locate import Localizer
from desktop_agent.segmentation import EmbeddedSegmentation
from desktop_agent.windows import Window
from mobile_client_stub.camera import Conditions, Pose, Shot, SimulatedCamera
from tests.desktop_agent.conftest import RGB, FakeScreen, FakeWindows, World

FRAME = Conditions(Pose(coverage=0.6), view_size=(480, 640), supersampling=1.5, noise=0.01)


@pytest.fixture(scope="module")
def film(desktop_picture: RGB) -> list[Shot]:
    return list(SimulatedCamera(3).film(desktop_picture, 4, conditions=FRAME))


def aim(world: World, shot: Shot, token: str | None = None) -> dict[str, Any]:
    data = {"view": (io.BytesIO(shot.jpeg), "view.jpg")}
    return dict(world.client.post("/aim", data=data, headers=world.headers(token)).get_json())


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each search of a whole screen."""
    made: list[int] = []
    search = Localizer.locate

    def counted(self: Localizer, *arguments: Any, **options: Any) -> Any:
        made.append(1)
        return search(self, *arguments, **options)

    monkeypatch.setattr(Localizer, "locate", counted)
    return made


def test_only_the_first_frame_is_searched_for(world: World, film: list[Shot], searches: list[int]) -> None:
    for shot in film:
        answer = aim(world, shot)
        assert answer["locked"]
        assert np.hypot(answer["point"]["x"] + 0.5 - shot.point[0], answer["point"]["y"] + 0.5 - shot.point[1]) < 3
    assert len(searches) == 1


def test_each_phone_has_its_own_aim(world: World, film: list[Shot], searches: list[int]) -> None:
    _, other = world.access.devices.add("second")
    for token in (None, other, None, other):
        assert aim(world, film[0], token)["locked"]
    assert len(searches) == 2


def test_the_photo_starts_from_the_aim(world: World, film: list[Shot]) -> None:
    aims = world.agent.aims
    screenshots = world.agent.look()
    assert aims.follow("phone", film[0].view, screenshots).stage == "fast"
    photo = cv2.resize(film[0].view, (960, 1280), interpolation=cv2.INTER_CUBIC)
    assert aims.photo("phone", photo, screenshots).stage == "prior"
    assert aims.photo("another phone", photo, screenshots).stage != "prior"
    aims.forget("phone")
    assert aims.photo("phone", photo, screenshots).stage != "prior"


def test_only_the_last_phones_are_followed(film: list[Shot]) -> None:
    aims = Aims(Localizer(), capacity=3)
    for number in range(10):
        aims.follow(f"phone {number}", np.zeros((4, 4, 3), np.uint8), [])
    assert len(aims) == 3


@pytest.fixture
def small_agent(tmp_path: Path, desktop_picture: RGB) -> Iterator[Agent]:
    def none(window: Window | None) -> Any:
        raise NoDriver("Nothing is pasted here.")

    picture = cv2.resize(desktop_picture, (960, 540), interpolation=cv2.INTER_AREA)
    agent = Agent(
        segmentation=EmbeddedSegmentation(),
        screen=FakeScreen([picture]),
        clips=ClipStore(tmp_path / "clips"),
        choose_driver=none,
        windows=FakeWindows([]),
    )
    yield agent
    agent.close()


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_memory_stays_bounded_over_ten_thousand_frames(small_agent: Agent) -> None:
    """Every frame comes with another screenshot; every hundredth is lost and every thousandth from a new phone."""
    screen = small_agent.screen.pictures[0]  # type: ignore[attr-defined]
    conditions = Conditions(Pose(coverage=0.6), view_size=(240, 320), supersampling=1.5)
    views = [shot.view for shot in SimulatedCamera(3).film(screen, 8, conditions=conditions)]
    locked, after_warm_up = 0, 0
    started = os.times()
    for number in range(10_000):
        screen[0, :2] = (number % 256, number // 256, 7), (number // 7 % 256, 3, 1)
        view = views[abs(number % 14 - 7)] if number % 100 else np.full_like(views[0], 90)
        locked += small_agent.aim(f"phone {number // 1000}", view, small_agent.look()).point is not None
        if number == 1000:
            gc.collect()
            after_warm_up = _resident()
    gc.collect()
    grown = _resident() - after_warm_up
    ended = os.times()
    milliseconds = (ended.user + ended.system - started.user - started.system) / 10
    print(f"\n{locked} of 10000 locked, {milliseconds:.1f} ms CPU a frame, resident memory +{grown / 1e6:.1f} MB")
    assert locked > 9800
    assert grown < 30e6


def _resident() -> int:
    """Bytes of this process that are in memory now; what it has freed is given back first, where glibc can."""
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
