"""Previews while a phone aims, and markers where nothing else helps: over a picture that stands for a screen."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from desktop_agent import on_screen
from desktop_agent.access import Access
from desktop_agent.agent import Agent
from desktop_agent.app import create_app
from desktop_agent.clips import ClipStore
from desktop_agent.devices import DeviceStore, PairingWindow
from desktop_agent.geometry import Placement, Point, Rect
from desktop_agent.listener import listening
from desktop_agent.locate import Localizer
from desktop_agent.on_screen import OnScreen
from desktop_agent.overlay import open_overlay
from desktop_agent.overlay.ghost import ghost, preview
from desktop_agent.paste.driver import Landing
from desktop_agent.paste.virtual import VirtualDriver
from desktop_agent.screen import RGB, PictureScreen
from desktop_agent.segmentation import EmbeddedSegmentation
from desktop_agent.windows import Window
from desktop_agent.windows.null import NullProbe
from mobile_client_stub.camera import Conditions, Pose, Shot, SimulatedCamera
from mobile_client_stub.client import AgentClient, Pairing

BLANK = np.full((720, 1280, 3), 244, np.uint8)
AIM = (500.0, 300.0)
CLOSE = Conditions(Pose(coverage=0.5, yaw=12), view_size=(480, 640), supersampling=1.5, noise=0.01)


class Desk:
    """An agent whose screen is a picture. ``seen`` is what the camera sees at each paste, before the driver draws."""

    def __init__(self, folder: Path, picture: RGB, *, markers: bool = True) -> None:
        self.screen = PictureScreen(picture)
        self.clips = ClipStore(folder / "clips")
        self.overlay = open_overlay(self.screen)
        assert self.overlay is not None
        self.driver = VirtualDriver(self.screen)
        self.seen: list[RGB] = []
        self.agent = Agent(
            segmentation=EmbeddedSegmentation(),
            screen=self.screen,
            clips=self.clips,
            choose_driver=lambda window: self,
            windows=NullProbe(),
            on_screen=OnScreen(self.screen, self.clips, self.overlay, markers=markers),
        )
        access = Access(DeviceStore(folder / "devices.json"), PairingWindow(), "local-token")
        self.app = create_app(self.agent, access)
        self.token = access.devices.add("phone")[1]

    def can_handle(self, window: Window | None) -> bool:
        return True

    def paste(self, cutout: Any, placement: Placement, window: Window | None) -> Landing:
        self.seen.append(self.screen.shown)
        return self.driver.paste(cutout, placement, window)

    def post(self, path: str, view: bytes, clip: str, **fields: str) -> tuple[int, dict[str, Any]]:
        data: dict[str, Any] = {"view": (io.BytesIO(view), "view.jpg"), "clip": clip, **fields}
        answer = self.app.test_client().post(path, data=data, headers={"Authorization": f"Bearer {self.token}"})
        return answer.status_code, answer.get_json()

    def shoot(self, seed: int = 1, aim: tuple[float, float] = AIM) -> Shot:
        return SimulatedCamera(seed).shoot(self.screen.shown, aim, conditions=CLOSE)


@pytest.fixture
def blank(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path, BLANK)
    yield desk
    desk.agent.close()


@pytest.fixture
def busy(tmp_path: Path, desktop_picture: RGB) -> Iterator[Desk]:
    desk = Desk(tmp_path, cv2.resize(desktop_picture, (1280, 720), interpolation=cv2.INTER_AREA))
    yield desk
    desk.agent.close()


def cutout() -> bytes:
    picture = np.zeros((120, 90, 4), np.uint8)
    cv2.ellipse(picture, (45, 60), (35, 50), 10, 0, 360, (200, 60, 30, 255), -1)
    sink = io.BytesIO()
    Image.fromarray(picture).save(sink, "PNG")
    return sink.getvalue()


def a_clip(desk: Desk) -> str:
    data = {"image": (io.BytesIO(cutout()), "cutout.png"), "image_size": "480,640"}
    answer = desk.app.test_client().post("/clips", data=data, headers={"Authorization": f"Bearer {desk.token}"})
    return str(answer.get_json()["clip"])


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_a_blank_screen_takes_a_second_photo_with_markers(blank: Desk) -> None:
    clip, shot = a_clip(blank), blank.shoot()
    status, answer = blank.post("/paste", shot.jpeg, clip, markers="1", key="a")
    assert (status, answer["status"]) == (409, "retry_after_markers")
    assert answer["reason"] == "too_few_features"
    assert "take the photo again" in answer["message"]
    assert (blank.screen.shown != BLANK).mean() > 0.05
    marked = blank.shoot(2)
    status, answer = blank.post("/paste", marked.jpeg, clip, markers="1", key="b")
    assert (status, answer["status"]) == (200, "pasted")
    assert np.hypot(answer["point"]["x"] + 0.5 - AIM[0], answer["point"]["y"] + 0.5 - AIM[1]) < 1
    assert np.array_equal(blank.seen[0], BLANK)  # the grid was gone before the driver looked
    assert np.array_equal(blank.screen.shown, blank.screen.picture)


def test_the_python_phone_does_this_by_itself(blank: Desk) -> None:
    photos: list[Shot] = []

    def again() -> bytes:
        photos.append(blank.shoot(3))
        return photos[0].jpeg

    with (
        listening(blank.app, "127.0.0.1", 0) as port,
        AgentClient(Pairing(f"http://127.0.0.1:{port}", blank.token)) as phone,
    ):
        clip = phone.add_clip(cutout())
        refused = phone.paste(blank.shoot().jpeg, clip)
        pasted = phone.paste(blank.shoot().jpeg, clip, key="k", again=again)
        assert phone.status()["markers"]
    assert refused["status"] == "refused"
    assert pasted["status"] == "pasted"
    assert len(photos) == 1


def test_markers_vanish_when_no_second_photo_comes(blank: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_screen, "MARKER_SECONDS", 0.1)
    clip, shot = a_clip(blank), blank.shoot()
    assert blank.post("/paste", shot.jpeg, clip, markers="1")[0] == 409
    assert eventually(lambda: bool(np.array_equal(blank.screen.shown, BLANK)))
    assert blank.post("/paste", shot.jpeg, clip)[0] == 422


def test_markers_are_shown_only_where_that_is_allowed_and_asked_for(blank: Desk, tmp_path: Path) -> None:
    clip, shot = a_clip(blank), blank.shoot()
    assert blank.post("/paste", shot.jpeg, clip)[0] == 422
    assert blank.post("/paste", b"no picture", clip, markers="1")[0] == 422
    assert np.array_equal(blank.screen.shown, BLANK)
    forbidding = Desk(tmp_path / "other", BLANK, markers=False)
    try:
        assert forbidding.post("/paste", shot.jpeg, a_clip(forbidding), markers="1")[0] == 422
        assert np.array_equal(forbidding.screen.shown, BLANK)
    finally:
        forbidding.agent.close()


def test_a_mirror_image_gets_no_markers(busy: Desk) -> None:
    mirrored = np.ascontiguousarray(busy.shoot().view[:, ::-1])
    jpeg = bytes(cv2.imencode(".jpg", mirrored[..., ::-1])[1])
    status, answer = busy.post("/paste", jpeg, a_clip(busy), markers="1")
    assert (status, answer["reason"]) == (422, "mirrored")


def test_the_preview_shows_where_the_cutout_would_land(busy: Desk) -> None:
    clip, before = a_clip(busy), busy.screen.shown
    for seed in range(3):  # the second and third frame see the preview on the screen, and so does the screenshot
        shot = busy.shoot(seed)
        _, answer = busy.post("/aim", shot.jpeg, clip)
        assert answer["locked"]
        assert np.hypot(answer["point"]["x"] + 0.5 - AIM[0], answer["point"]["y"] + 0.5 - AIM[1]) < 2
    rows, columns = np.nonzero((busy.screen.shown != before).any(axis=2))
    assert abs(columns.mean() - AIM[0]) < 4
    assert abs(rows.mean() - AIM[1]) < 4
    assert rows.max() - rows.min() == pytest.approx(100 * answer["scale"], rel=0.15)
    assert eventually(lambda: bool(np.array_equal(busy.screen.shown, before)))
    assert np.array_equal(busy.screen.picture, before)


def test_the_preview_is_gone_before_the_paste(busy: Desk) -> None:
    clip, before = a_clip(busy), busy.screen.shown
    shot = busy.shoot()
    busy.post("/aim", shot.jpeg, clip)
    assert not np.array_equal(busy.screen.shown, before)
    assert busy.post("/paste", busy.shoot(2).jpeg, clip)[1]["status"] == "pasted"
    assert np.array_equal(busy.seen[0], before)


def test_what_the_agent_drew_is_never_recognised(desktop_picture: RGB) -> None:
    """A screen on which everything that can be recognised is the agent's own."""
    drawn = cv2.resize(desktop_picture, (1280, 720), interpolation=cv2.INTER_AREA)
    screen = PictureScreen(BLANK)
    shown = np.dstack([drawn, np.full(drawn.shape[:2], 255, np.uint8)])
    screen.lay_over("own", [(Rect(0, 0, 1280, 720), shown)])
    (shot,) = screen.grab()
    view = SimulatedCamera(1).shoot(drawn, AIM, conditions=CLOSE).view
    assert Localizer().locate(view, [shot]).status == "located"
    own = replace(shot, covered=np.ones(shot.image.shape[:2], bool))
    assert Localizer().locate(view, [own]).status == "refused"
    half = replace(shot, covered=np.arange(1280)[None, :] < np.full((720, 1), 500))
    location = Localizer().locate(view, [half])
    assert location.point is not None
    assert location.evidence is not None
    assert location.evidence.screen_xy[:, 0].min() > 490


@pytest.mark.parametrize("translucent", [True, False])
def test_a_preview_on_two_monitors_is_in_one_piece(translucent: bool) -> None:
    solid = np.full((400, 1000, 4), 255, np.uint8)
    monitors = [Rect(-640, 0, 640, 480), Rect(0, 0, 640, 480), Rect(0, 480, 640, 480)]
    placement = Placement(Point(0, 200), 0.2, 0)
    patches = ghost(preview(solid), (1000, 400), placement, monitors, translucent=translucent)
    assert len(patches) == 2
    assert {patch.rect.right for patch in patches if patch.left < 0} == {0}
    assert min(patch.left for patch in patches) == pytest.approx(-100, abs=8)
    assert max(patch.rect.right for patch in patches) == pytest.approx(100, abs=8)
    inside = [patch.picture[200 - patch.top, abs(patch.left) // 2 if patch.left < 0 else 40] for patch in patches]
    assert all(0 < pixel[3] < 255 if translucent else pixel[3] == 0 for pixel in inside)
