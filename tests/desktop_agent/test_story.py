"""The agent's HTTP face: copy, aim, paste, and every way in which they can fail."""

from __future__ import annotations

import io
import json
import threading
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Placement
from desktop_agent.paste.driver import RGBA, Landing
from desktop_agent.virtual_desktop import draw_desktop
from desktop_agent.windows import Window
from mobile_client_stub.camera import Shot, SimulatedCamera
from tests.desktop_agent.conftest import World
from tests.server.conftest import png_bomb

AIM = (1246.0, 597.0)


@pytest.fixture(scope="module")
def shot(desktop_picture: NDArray[np.uint8]) -> Shot:
    return SimulatedCamera(5).shoot(desktop_picture, AIM)


def post(
    world: World, path: str, *, token: str | None = None, files: dict[str, bytes] | None = None, **fields: str
) -> Any:
    data: dict[str, Any] = {
        **fields,
        **{name: (io.BytesIO(body), f"{name}.jpg") for name, body in (files or {}).items()},
    }
    return world.client.post(path, data=data, headers=world.headers(token))


def copied(world: World, photo: bytes, token: str | None = None) -> dict[str, Any]:
    response = post(world, "/cut", files={"image": photo}, token=token, tap="300,200")
    assert response.status_code == 200, response.text
    return dict(response.get_json())


def test_copy_keeps_the_cutout_as_a_clip(world: World, coffee_photo: bytes) -> None:
    answer = copied(world, coffee_photo)
    assert set(answer) == {"clip", "box", "image_size", "score", "model", "server", "timings_ms"}
    assert answer["image_size"] == [600, 400]
    assert answer["server"] == "embedded"
    png = world.client.get(f"/clips/{answer['clip']}.png", headers=world.headers())
    left, top, right, bottom = answer["box"]
    assert Image.open(io.BytesIO(png.data)).size == (right - left, bottom - top)
    (listed,) = world.client.get("/clips", headers=world.headers()).get_json()["clips"]
    assert listed["clip"] == answer["clip"]


def test_paste_lands_where_the_phone_points_at_the_size_and_angle_seen(
    world: World, coffee_photo: bytes, shot: Shot
) -> None:
    clip = copied(world, coffee_photo)
    response = post(world, "/paste", files={"view": shot.jpeg}, clip=clip["clip"])
    assert response.status_code == 200, response.text
    answer = response.get_json()
    assert answer["status"] == "pasted"
    assert (answer["driver"], answer["application"], answer["anchor"]) == ("fake", "Editor", "point")
    assert answer["landing_error_px"] == 0.25
    assert answer["point"]["monitor"] == 1
    assert np.hypot(answer["point"]["x"] + 0.5 - shot.point[0], answer["point"]["y"] + 0.5 - shot.point[1]) < 2
    ((cutout, placement, window),) = world.driver.pasted
    assert cutout.shape[2] == 4
    assert window is not None
    expected_scale = shot.scale * max(shot.view.shape) / 600
    assert placement.scale == pytest.approx(expected_scale, rel=0.01)
    assert placement.scale == pytest.approx(answer["scale"], abs=1e-4)
    assert abs(placement.rotation - shot.rotation) < 0.5


def test_aim_answers_like_paste_but_touches_nothing(world: World, shot: Shot) -> None:
    answer = post(world, "/aim", files={"view": shot.jpeg}).get_json()
    assert set(answer) == {"locked", "point", "scale", "rotation", "confidence", "reason", "message"}
    assert answer["locked"]
    assert np.hypot(answer["point"]["x"] + 0.5 - shot.point[0], answer["point"]["y"] + 0.5 - shot.point[1]) < 2
    assert world.driver.pasted == []


def test_a_placement_moves_sizes_and_turns_the_cutout(world: World, coffee_photo: bytes, shot: Shot) -> None:
    clip = copied(world, coffee_photo)["clip"]
    height, width = shot.view.shape[:2]
    placement = {"x": width * 0.6, "y": height * 0.45, "scale": 0.5, "rotation": 20}
    answer = post(world, "/paste", files={"view": shot.jpeg}, clip=clip, placement=json.dumps(placement)).get_json()
    truth = shot.projection.to_screen([(placement["x"] + 0.5, placement["y"] + 0.5)])[0]
    assert np.hypot(answer["point"]["x"] + 0.5 - truth[0], answer["point"]["y"] + 0.5 - truth[1]) < 3
    assert answer["scale"] == pytest.approx(0.5 * shot.scale, rel=0.05)
    assert abs(answer["rotation"] - shot.rotation - 20) < 2


def test_the_second_of_two_monitors_left_of_the_first(
    world: World, coffee_photo: bytes, desktop_picture: NDArray[np.uint8]
) -> None:
    other = draw_desktop()
    world.screen.pictures, world.screen.left = [other, desktop_picture], -1920
    world.windows.windows = []
    clip = copied(world, coffee_photo)["clip"]
    shot = SimulatedCamera(6).shoot(other, (900.0, 500.0))
    answer = post(world, "/paste", files={"view": shot.jpeg}, clip=clip).get_json()
    assert answer["point"]["monitor"] == 1
    assert abs(answer["point"]["x"] + 0.5 + 1920 - shot.point[0]) < 2
    assert answer["reason"] == "no_window"


@pytest.mark.parametrize("key", ["once", None])
def test_the_same_key_never_pastes_twice(world: World, coffee_photo: bytes, shot: Shot, key: str | None) -> None:
    clip = copied(world, coffee_photo)["clip"]
    fields = {"clip": clip} | ({"key": key} if key else {})
    answers = [post(world, "/paste", files={"view": shot.jpeg}, **fields).get_json() for _ in range(2)]
    assert len(world.driver.pasted) == (1 if key else 2)
    assert answers[0] == answers[1]


def test_two_requests_with_one_key_at_the_same_time_paste_once(world: World, coffee_photo: bytes, shot: Shot) -> None:
    clip = world.agent.clips.get(world.access.devices.all()[0].id, copied(world, coffee_photo)["clip"])
    capture = world.agent.capture()
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(world.agent.paste(clip, shot.view, capture, key="both")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(world.driver.pasted) == 1
    assert {result.status for result in results} == {"pasted"}


def test_two_phones_do_not_see_each_other(world: World, coffee_photo: bytes, shot: Shot) -> None:
    _, other = world.access.devices.add("second")
    mine = copied(world, coffee_photo)["clip"]
    assert world.client.get("/clips", headers=world.headers(other)).get_json() == {"clips": []}
    response = post(world, "/paste", files={"view": shot.jpeg}, token=other, clip=mine)
    assert response.status_code == 404
    assert world.client.get(f"/clips/{mine}.png", headers=world.headers(other)).status_code == 404
    assert world.client.delete(f"/clips/{mine}", headers=world.headers(other)).status_code == 404


def mirrored(shot: Shot) -> bytes:
    return bytes(cv2.imencode(".jpg", cv2.cvtColor(np.ascontiguousarray(shot.view[:, ::-1]), cv2.COLOR_RGB2BGR))[1])


def something_else(shot: Shot) -> bytes:
    from skimage import data

    return bytes(cv2.imencode(".jpg", cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR))[1])


@pytest.mark.parametrize(
    ("view", "reasons"),
    [
        (mirrored, {"mirrored", "no_consistent_plane"}),
        (something_else, {"no_consistent_plane", "too_few_features", "unstable"}),
        (lambda shot: b"", {"unreadable_image"}),
        (lambda shot: b"no picture at all", {"unreadable_image"}),
        (lambda shot: shot.jpeg[:2000], {"unreadable_image"}),
        (lambda shot: png_bomb(20_000, 10_000), {"unreadable_image"}),
    ],
)
def test_a_view_that_cannot_be_located_is_refused_and_the_clip_is_kept(
    world: World, coffee_photo: bytes, shot: Shot, view: Any, reasons: set[str]
) -> None:
    clip = copied(world, coffee_photo)["clip"]
    response = post(world, "/paste", files={"view": view(shot)}, clip=clip)
    assert response.status_code == 422
    answer = response.get_json()
    assert answer["status"] == "refused"
    assert answer["reason"] in reasons
    assert answer["message"].endswith(".")
    assert answer["point"] is None
    assert world.driver.pasted == []
    assert world.client.get("/clips", headers=world.headers()).get_json()["clips"][0]["clip"] == clip
    aimed = post(world, "/aim", files={"view": view(shot)})
    assert aimed.status_code == 200
    assert aimed.get_json()["locked"] is False


def test_no_window_under_the_point(world: World, coffee_photo: bytes, shot: Shot) -> None:
    world.windows.windows = []
    clip = copied(world, coffee_photo)["clip"]
    response = post(world, "/paste", files={"view": shot.jpeg}, clip=clip)
    assert response.status_code == 502
    assert (response.get_json()["status"], response.get_json()["reason"]) == ("failed", "no_window")


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (PasteFailed("A dialog 'Save changes?' is in the way: close it and tap again.", code="dialog"), "dialog"),
        (ZeroDivisionError(), "internal_error"),
    ],
)
def test_an_application_that_refuses_is_reported_truly(
    world: World, coffee_photo: bytes, shot: Shot, failure: Exception, reason: str
) -> None:
    world.driver.failure = failure
    clip = copied(world, coffee_photo)["clip"]
    response = post(world, "/paste", files={"view": shot.jpeg}, clip=clip, key="k")
    assert response.status_code == 502
    answer = response.get_json()
    assert (answer["status"], answer["reason"]) == ("failed", reason)
    assert answer["point"] is not None
    assert world.client.get("/clips", headers=world.headers()).get_json()["clips"][0]["clip"] == clip


def test_a_placement_beyond_the_screen_is_refused(world: World, coffee_photo: bytes, shot: Shot) -> None:
    clip = copied(world, coffee_photo)["clip"]
    far = json.dumps({"x": -20 * shot.view.shape[1], "y": 0, "scale": 1})
    answer = post(world, "/paste", files={"view": shot.jpeg}, clip=clip, placement=far).get_json()
    assert (answer["status"], answer["reason"]) == ("refused", "off_screen")


def test_a_locked_screen_is_a_failed_paste(world: World, coffee_photo: bytes, shot: Shot) -> None:
    clip = copied(world, coffee_photo)["clip"]
    world.screen.broken = True
    response = post(world, "/paste", files={"view": shot.jpeg}, clip=clip)
    assert response.status_code == 502
    assert response.get_json()["reason"] == "screen_unavailable"
    assert "unlock" in response.get_json()["message"]


@pytest.mark.parametrize(
    ("path", "files", "fields", "status", "code"),
    [
        ("/cut", {}, {}, 400, "missing_field"),
        ("/cut", {"photo": b"x"}, {}, 400, "missing_field"),
        ("/cut", {"image": b""}, {}, 400, "unreadable_image"),
        ("/cut", {"image": b"hello"}, {}, 400, "unreadable_image"),
        ("/cut", {"image": png_bomb(20_000, 10_000)}, {}, 413, "image_too_large"),
        ("/cut", {"image": "coffee"}, {"tap": "middle"}, 400, "bad_tap"),
        ("/cut", {"image": "coffee"}, {"tap": "5000,5"}, 400, "tap_outside"),
        ("/cut", {"image": "coffee"}, {"model": "nope"}, 400, "unknown_model"),
        ("/cut", {"image": "coffee"}, {"mode": "magic"}, 400, "bad_option"),
        ("/cut", {"image": "black"}, {}, 422, "no_object"),
        ("/paste", {}, {"clip": "x"}, 400, "missing_field"),
        ("/paste", {"view": b"x"}, {}, 400, "missing_field"),
        ("/paste", {"view": b"x"}, {"clip": "../../etc/passwd"}, 404, "no_such_clip"),
        ("/paste", {"view": b"x"}, {"clip": "CLIP", "placement": "{"}, 400, "bad_placement"),
        (
            "/paste",
            {"view": b"x"},
            {"clip": "CLIP", "placement": '{"x": 1, "y": 2, "scale": -1}'},
            400,
            "bad_placement",
        ),
        ("/paste", {"view": b"x"}, {"clip": "CLIP", "placement": '{"x": "NaN", "y": 2}'}, 400, "bad_placement"),
        ("/paste", {"view": b"x"}, {"clip": "CLIP", "placement": "[1]"}, 400, "bad_placement"),
        ("/paste", {"view": b"x"}, {"clip": "CLIP", "key": "k" * 300}, 400, "bad_request"),
        ("/aim", {}, {}, 400, "missing_field"),
        ("/clips", {"image": b"x"}, {}, 400, "unreadable_image"),
    ],
)
def test_a_request_that_makes_no_sense(
    world: World, coffee_photo: bytes, path: str, files: dict[str, Any], fields: dict[str, str], status: int, code: str
) -> None:
    black = io.BytesIO()
    Image.new("RGB", (400, 300)).save(black, "PNG")
    pictures = {"coffee": coffee_photo, "black": black.getvalue()}
    if fields.get("clip") == "CLIP":
        fields = fields | {"clip": copied(world, coffee_photo)["clip"]}
    bodies = {name: pictures[body] if isinstance(body, str) else body for name, body in files.items()}
    response = post(world, path, files=bodies, **fields)
    assert response.status_code == status, response.text
    (error,) = response.get_json()["errors"]
    assert error["code"] == code
    assert error["title"]
    assert error["detail"].endswith((".", "it."))


def test_a_cutout_made_elsewhere_becomes_a_clip(world: World, shot: Shot) -> None:
    sink = io.BytesIO()
    Image.new("RGBA", (90, 60), (200, 40, 40, 128)).save(sink, "PNG")
    clip = post(world, "/clips", files={"image": sink.getvalue()}, image_size="900,600").get_json()
    assert clip["image_size"] == [900, 600]
    assert post(world, "/paste", files={"view": shot.jpeg}, clip=clip["clip"]).status_code == 200
    ((cutout, placement, _),) = world.driver.pasted
    assert cutout[0, 0].tolist() == [200, 40, 40, 128]
    assert placement.scale == pytest.approx(shot.scale * max(shot.view.shape) / 900, rel=0.01)


def test_deleting_a_clip(world: World, coffee_photo: bytes) -> None:
    clip = copied(world, coffee_photo)["clip"]
    assert world.client.delete(f"/clips/{clip}", headers=world.headers()).get_json() == {"deleted": clip}
    assert world.client.get("/clips", headers=world.headers()).get_json() == {"clips": []}


def test_status_names_screen_and_server(world: World) -> None:
    status = world.client.get("/status", headers=world.headers()).get_json()
    assert status["monitors"] == [{"index": 1, "left": 0, "top": 0, "width": 1920, "height": 1080}]
    assert status["server"] == "embedded"


@pytest.mark.parametrize(
    ("method", "path"),
    [("post", "/cut"), ("post", "/aim"), ("post", "/paste"), ("get", "/clips"), ("post", "/clips"), ("get", "/status")],
)
@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}])
def test_nobody_else_gets_in(world: World, method: str, path: str, header: dict[str, str]) -> None:
    response = getattr(world.client, method)(path, headers=header)
    assert response.status_code == 401
    assert response.get_json()["errors"][0]["code"] == "unauthorized"


def test_pastes_take_turns(world: World, coffee_photo: bytes, shot: Shot) -> None:
    """Two phones share one pointer and one clipboard."""
    busy, overlapped = threading.Event(), []

    def slow(cutout: RGBA, placement: Placement, window: Window | None) -> Landing:
        overlapped.append(busy.is_set())
        busy.set()
        threading.Event().wait(0.2)
        busy.clear()
        return Landing("fake", "Editor")

    world.driver.paste = slow  # type: ignore[method-assign]
    clip = world.agent.clips.get(world.access.devices.all()[0].id, copied(world, coffee_photo)["clip"])
    capture = world.agent.capture()
    threads = [threading.Thread(target=world.agent.paste, args=(clip, shot.view, capture)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert overlapped == [False, False, False]
