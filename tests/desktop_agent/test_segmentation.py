"""The agent with a segmentation server by address: a real one, a dead one, a foreign one, one that refuses."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator

import pytest
from flask import Flask, Response, jsonify
from PIL import Image

from desktop_agent.errors import AgentError, SegmentationFailed
from desktop_agent.segmentation import EmbeddedSegmentation, RemoteSegmentation
from server.app import Settings, create_app
from server.wsgi import serving


@pytest.fixture
def url() -> Iterator[str]:
    with serving(create_app(Settings(model="grabcut")), "127.0.0.1", 0) as (host, port):
        yield f"http://{host}:{port}"


def remote(url: str, key: str | None = None) -> RemoteSegmentation:
    return RemoteSegmentation(url, key)


def test_remote_and_embedded_give_the_same_cutout(url: str, coffee_photo: bytes) -> None:
    far = remote(url)
    results = [
        s.cut(coffee_photo, tap=(300.0, 200.0), model="grabcut", mode="object") for s in (far, EmbeddedSegmentation())
    ]
    far.close()
    assert results[0].box == results[1].box
    assert results[0].png == results[1].png
    assert [result.server for result in results] == [url, "embedded"]


def test_the_servers_own_words_about_the_photo_are_passed_on(url: str) -> None:
    black = io.BytesIO()
    Image.new("RGB", (300, 200)).save(black, "PNG")
    far = remote(url)
    for photo, code, status in ((black.getvalue(), "no_object", 422), (b"text", "unreadable_image", 400)):
        for segmentation in (far, EmbeddedSegmentation()):
            with pytest.raises(AgentError) as caught:
                segmentation.cut(photo, tap=None, model="grabcut", mode="object")
            assert (caught.value.code, caught.value.status) == (code, status)
            assert not isinstance(caught.value, SegmentationFailed)
    far.close()


def test_a_server_that_is_not_there(coffee_photo: bytes) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    far = remote(f"http://127.0.0.1:{port}")
    with pytest.raises(SegmentationFailed, match="check that it runs") as caught:
        far.cut(coffee_photo, tap=None, model=None, mode="object")
    assert (caught.value.code, caught.value.status) == ("server_unreachable", 502)
    far.close()


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, "a home page", "server_foreign"),
        (404, "nothing here", "server_foreign"),
        (302, "elsewhere", "server_foreign"),
        (401, {"errors": [{"title": "t", "code": "c", "detail": "d."}]}, "server_key"),
        (503, {"errors": [{"title": "Busy", "code": "busy", "detail": "Too many requests."}]}, "busy"),
    ],
)
def test_a_foreign_or_unhappy_server_is_a_failed_hop(coffee_photo: bytes, status: int, body: object, code: str) -> None:
    app = Flask("foreign")

    @app.post("/v1/cut")
    def cut() -> tuple[Response | str, int]:
        return (jsonify(body) if isinstance(body, dict) else str(body)), status

    with serving(app, "127.0.0.1", 0) as (host, port):
        far = remote(f"http://{host}:{port}", "key")
        with pytest.raises(SegmentationFailed) as caught:
            far.cut(coffee_photo, tap=None, model=None, mode="object")
        far.close()
    assert caught.value.code == code
