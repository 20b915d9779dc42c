from __future__ import annotations

import io
import json

import numpy as np
import pytest
import requests
from flask.testing import FlaskClient
from PIL import Image

from server.app import Settings, create_app
from server.images import Limits
from server.wsgi import serving
from tests.server.conftest import png_bomb, saved


@pytest.fixture
def client() -> FlaskClient:
    return create_app(Settings(model="grabcut")).test_client()


def post(client: FlaskClient, image: bytes | None, **fields: str) -> object:
    data: dict[str, object] = dict(fields)
    if image is not None:
        data["image"] = (io.BytesIO(image), "photo.jpg")
    return client.post("/v1/cut", data=data)


def test_a_photo_comes_back_cut(client: FlaskClient, coffee_jpeg: bytes) -> None:
    response = post(client, coffee_jpeg, tap="300,200", crop="true")
    assert response.status_code == 200
    assert response.mimetype == "image/png"
    summary = json.loads(response.headers["X-Cutout"])
    left, top, right, bottom = summary["box"]
    cutout = Image.open(io.BytesIO(response.data))
    assert (cutout.mode, cutout.size) == ("RGBA", (right - left, bottom - top))
    assert "predict;dur=" in response.headers["Server-Timing"]


def test_sizes_by_crop_and_output(client: FlaskClient, coffee_jpeg: bytes) -> None:
    full = Image.open(io.BytesIO(post(client, coffee_jpeg).data))
    mask = Image.open(io.BytesIO(post(client, coffee_jpeg, output="mask").data))
    assert (full.mode, full.size) == ("RGBA", (600, 400))
    assert (mask.mode, mask.size) == ("L", (600, 400))
    assert np.array_equal(np.asarray(full)[..., 3], np.asarray(mask))


def test_a_picture_that_came_as_text_is_told_how_to_send_it(client: FlaskClient) -> None:
    response = client.post("/v1/cut", data={"image": "photo.jpg"}, content_type="multipart/form-data")
    assert response.status_code == 400
    assert "-F image=@photo.jpg" in response.get_json()["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("image", "fields", "status", "code"),
    [
        (None, {}, 400, "missing_field"),
        (b"", {}, 400, "unreadable_image"),
        (b"hello", {}, 400, "unreadable_image"),
        (png_bomb(20_000, 10_000), {}, 413, "image_too_large"),
        ("coffee", {"tap": "1;2"}, 400, "bad_tap"),
        ("coffee", {"tap": "9000,2"}, 400, "tap_outside"),
        ("coffee", {"tap": "nan,2"}, 400, "bad_tap"),
        ("coffee", {"model": "nothing"}, 400, "unknown_model"),
        ("coffee", {"output": "video"}, 400, "bad_option"),
        ("coffee", {"crop": "maybe"}, 400, "bad_option"),
        ("black", {}, 422, "no_object"),
    ],
)
def test_bad_input_has_a_true_status_and_a_sentence(
    client: FlaskClient, coffee_jpeg: bytes, image: bytes | str | None, fields: dict[str, str], status: int, code: str
) -> None:
    if image == "coffee":
        image = coffee_jpeg
    elif image == "black":
        sink = io.BytesIO()
        Image.new("RGB", (400, 300)).save(sink, "PNG")
        image = sink.getvalue()
    response = post(client, image, **fields)
    assert response.status_code == status
    (error,) = response.get_json()["errors"]
    assert error["code"] == code
    assert error["title"]
    assert error["detail"].endswith((".", "it."))


def test_truncated_upload(client: FlaskClient, coffee_jpeg: bytes) -> None:
    response = post(client, coffee_jpeg[: len(coffee_jpeg) // 2])
    assert response.status_code == 400
    assert "truncated" in response.get_json()["errors"][0]["detail"]


def test_unknown_addresses_and_methods_have_the_error_form(client: FlaskClient) -> None:
    assert client.get("/nothing").get_json()["errors"][0]["code"] == "not_found"
    response = client.get("/v1/cut")
    assert response.status_code == 405
    assert response.get_json()["errors"][0]["code"] == "method_not_allowed"


def test_an_oversize_body_is_refused(coffee_jpeg: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.app.FORM_OVERHEAD", 10_000)
    app = create_app(Settings(model="grabcut", limits=Limits(max_bytes=1000)))
    response = post(app.test_client(), coffee_jpeg + bytes(20_000))
    assert response.status_code == 413


def test_health(client: FlaskClient) -> None:
    assert client.get("/v2/health/live").get_json()["status"] == "live"
    assert client.get("/v2/health/ready").get_json() == {"status": "ready", "model": "grabcut"}
    missing = create_app(Settings(model="nothing")).test_client().get("/v2/health/ready")
    assert missing.get_json()["errors"][0]["code"] == "unknown_model"


def test_a_failure_inside_is_a_500_that_tells_nothing_private(coffee_jpeg: bytes) -> None:
    def broken(*args: object, **options: object) -> None:
        raise RuntimeError("secret")

    response = post(create_app(Settings(model="grabcut", cut=broken)).test_client(), coffee_jpeg)
    assert response.status_code == 500
    assert b"secret" not in response.data


def test_over_a_real_socket(coffee_jpeg: bytes) -> None:
    with serving(create_app(Settings(model="grabcut")), "127.0.0.1", 0) as (host, port):
        answer = requests.post(
            f"http://{host}:{port}/v1/cut", files={"image": coffee_jpeg}, data={"tap": "300,200"}, timeout=30
        )
        answer.close()
    assert answer.status_code == 200
    assert Image.open(io.BytesIO(answer.content)).size == (600, 400)


def test_a_large_noisy_photo_passes_the_form_parser() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (700, 900, 3), np.uint8)
    noise[200:500, 300:600] = (250, 20, 20)
    photo = saved(noise, "PNG")
    assert len(photo) > 1 << 20
    with serving(create_app(Settings(model="grabcut")), "127.0.0.1", 0) as (host, port):
        answer = requests.post(f"http://{host}:{port}/v1/cut", files={"image": photo}, timeout=30)
        answer.close()
    assert answer.status_code in {200, 422}
