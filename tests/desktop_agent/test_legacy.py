"""The 2020 prototype's app: requests shaped as it sends them, and exactly the answers that it knows."""

from __future__ import annotations

import http.client
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from desktop_agent.clips import Clip
from desktop_agent.errors import AgentError, PasteFailed
from desktop_agent.geometry import Placement, Point
from desktop_agent.legacy import as_it_floats, legacy_listening
from desktop_agent.runtime import Options, running
from mobile_client_stub.camera import Conditions, SimulatedCamera
from tests.desktop_agent.conftest import World

AIM = (1246.0, 597.0)
CAMERA = (640, 1280)  # the app asks for ratio 2:1
Answer = tuple[int, str, bytes]


@contextmanager
def old_app(world: World, client: str = "127.0.0.1") -> Iterator[int]:
    with legacy_listening(world.agent, world.access, client, 0) as port:
        yield port


@pytest.fixture
def port(world: World) -> Iterator[int]:
    with old_app(world) as opened:
        yield opened


def sent(port: int, method: str, path: str, data: bytes | None = None, field: str = "data") -> Answer:
    """A request as React Native's fetch makes it on Android: okhttp's boundary and part headers, no Origin."""
    headers, body = {"User-Agent": "okhttp/3.12.1", "Accept-Encoding": "gzip"}, None
    if data is not None:
        boundary = "29f4f8cb-07f6-4a42-a0b2-25ae3d7b0f5a"
        head = (
            f'--{boundary}\r\ncontent-disposition: form-data; name="{field}"; filename="photo"\r\n'
            f"Content-Type: image/jpg\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
        headers["Content-Type"] = f"multipart/form-data; boundary={boundary}"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()
    finally:
        connection.close()


def squeezed(photo: np.ndarray, size: tuple[int, int]) -> bytes:
    """What expo-image-manipulator makes of a photo: resized without regard to its shape, as JPEG."""
    out = io.BytesIO()
    Image.fromarray(photo).resize(size).save(out, "JPEG", quality=92)
    return out.getvalue()


@pytest.fixture
def photo(coffee_photo: bytes) -> bytes:
    """The middle 256 x 256 of a photo of 256 x 512."""
    pixels = cv2.cvtColor(cv2.imdecode(np.frombuffer(coffee_photo, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return squeezed(pixels, (256, 256))


@pytest.fixture(scope="module")
def view(desktop_picture: np.ndarray) -> tuple[bytes, np.ndarray]:
    """The view as the app sends it (350 x 700), and the screen pixel under its middle."""
    conditions = replace(Conditions.sample(np.random.default_rng(1)), view_size=CAMERA)
    shot = SimulatedCamera(1).shoot(desktop_picture, AIM, conditions=conditions)
    return squeezed(shot.view, (350, 700)), shot.projection.to_screen([[CAMERA[0] / 2, CAMERA[1] / 2]])[0]


def test_ping(port: int) -> None:
    status, kind, body = sent(port, "GET", "/ping")
    assert (status, body) == (200, b"pong")
    assert kind.startswith("text/html")


def test_cut_answers_the_whole_photo_with_transparent_surroundings(port: int, photo: bytes) -> None:
    status, kind, body = sent(port, "POST", "/cut", photo)
    assert (status, kind) == (200, "image/png")
    picture = Image.open(io.BytesIO(body))
    assert (picture.mode, picture.size) == ("RGBA", (256, 256))
    alpha = np.asarray(picture)[..., 3]
    assert alpha.max() == 255
    assert alpha.min() == 0


def test_the_last_cut_lands_where_and_as_large_as_the_app_showed_it(
    world: World, port: int, photo: bytes, view: tuple[bytes, np.ndarray]
) -> None:
    sent(port, "POST", "/cut", squeezed(np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8), (256, 256)))
    sent(port, "POST", "/cut", photo)
    picture, middle = view
    status, kind, body = sent(port, "POST", "/paste", picture)
    assert (status, kind, json.loads(body)) == (200, "application/json", {"status": "ok"})
    ((cutout, placement, _),) = world.driver.pasted
    (clip,) = world.agent.clips.all()
    assert cutout.shape[:2] == clip.size[::-1]
    # the photo's middle is shown over the view's middle: the object lies as far from it as in the photo
    left, top = clip.box[:2]
    matrix = placement.matrix(*clip.size)
    shown = matrix[:, :2] @ (128 - left, 128 - top) + matrix[:, 2]
    assert np.hypot(*(shown - middle)) < 12


def test_a_view_of_something_else_is_not_found(world: World, port: int, photo: bytes) -> None:
    sent(port, "POST", "/cut", photo)
    wall = squeezed(np.full((700, 350, 3), 128, np.uint8), (350, 700))
    status, _, body = sent(port, "POST", "/paste", wall)
    assert (status, json.loads(body)) == (200, {"status": "screen not found"})
    assert world.driver.pasted == []


def test_a_failed_paste_has_no_other_sentence_and_is_logged(
    world: World, port: int, photo: bytes, view: tuple[bytes, np.ndarray], caplog: pytest.LogCaptureFixture
) -> None:
    sent(port, "POST", "/cut", photo)
    world.driver.failure = PasteFailed("The application is busy: close its dialog.")
    status, _, body = sent(port, "POST", "/paste", view[0])
    assert (status, json.loads(body)) == (200, {"status": "screen not found"})
    assert "close its dialog" in caplog.text


def test_nothing_was_cut_yet(port: int, view: tuple[bytes, np.ndarray]) -> None:
    assert json.loads(sent(port, "POST", "/paste", view[0])[2]) == {"status": "screen not found"}


def test_a_photo_without_an_object_is_all_transparent_and_is_not_pasted(
    world: World, port: int, photo: bytes, view: tuple[bytes, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent(port, "POST", "/cut", photo)

    def nothing(*_: object, **__: object) -> None:
        raise AgentError("No object was found.", code="no_object", status=422)

    monkeypatch.setattr(world.agent.segmentation, "cut", nothing)
    status, kind, body = sent(port, "POST", "/cut", photo)
    assert (status, kind) == (200, "image/png")
    assert np.asarray(Image.open(io.BytesIO(body)).convert("RGBA"))[..., 3].max() == 0
    assert json.loads(sent(port, "POST", "/paste", view[0])[2]) == {"status": "screen not found"}


@pytest.mark.parametrize("path", ["/cut", "/paste"])
def test_what_the_prototype_refused(port: int, path: str) -> None:
    status, _, body = sent(port, "POST", path, b"x", field="image")
    assert (status, json.loads(body)) == (400, {"status": "error", "error": "missing file param `data`"})
    status, _, body = sent(port, "POST", path, b"")
    assert (status, json.loads(body)["error"]) == (400, "empty image")


def test_another_address_gets_nothing(world: World, photo: bytes) -> None:
    with old_app(world, "192.0.2.7") as port:
        for method, path, data in (("GET", "/ping", None), ("POST", "/cut", photo), ("POST", "/paste", photo)):
            assert sent(port, method, path, data)[0] == 403
    assert world.agent.clips.all() == []


def test_no_other_route_is_there(port: int) -> None:
    for path in ("/", "/status", "/clips", "/pair", "/desk"):
        assert sent(port, "GET", path)[0] == 404


def test_a_page_on_that_phone_cannot_use_it(world: World, port: int, photo: bytes) -> None:
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/ping", headers=headers)
        assert connection.getresponse().status == 403
        connection.close()


def test_what_is_no_address_is_refused(world: World) -> None:
    with pytest.raises(AgentError, match="Wi-Fi settings"), old_app(world, "my-phone"):
        pass
    with (
        pytest.raises(AgentError, match="no-lan"),
        legacy_listening(world.agent, world.access, "192.0.2.7", 0, lan=False),
    ):
        pass


def test_where_the_app_shows_it() -> None:
    clip = Clip("abcdef", "legacy", 0.0, (64, 32), (256, 256), (64, 160, 128, 192))
    view = np.zeros((700, 350, 3), np.uint8)
    scale = 350 / 256
    assert as_it_floats(view, clip) == Placement(Point(175 - 32 * scale, 350 + 48 * scale), scale)


def test_it_is_off_unless_an_address_is_named() -> None:
    quiet = Options(screen="virtual", port=0, lan=False)
    with running(quiet) as agent:
        assert agent.legacy_port is None
    with running(replace(quiet, legacy_client="127.0.0.1")) as agent:
        assert agent.legacy_port is not None
        assert sent(agent.legacy_port, "GET", "/ping")[2] == b"pong"
