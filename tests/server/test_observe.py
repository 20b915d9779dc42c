"""Request ids, logs, Server-Timing and Prometheus figures."""

from __future__ import annotations

import io
import json
import logging
import sys
from dataclasses import replace

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from server.app import Settings, create_app
from server.cutout import Cutout
from server.errors import Busy
from server.observe import JsonFormatter
from tests.server.dialects.conftest import cut_red, object_png  # noqa: F401


@pytest.fixture
def settings() -> Settings:
    return Settings(model="red", cut=cut_red, fetch=None)


@pytest.fixture
def client(settings: Settings) -> FlaskClient:
    return create_app(settings).test_client()


def figures(client: FlaskClient) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def test_an_id_follows_a_request(client: FlaskClient) -> None:
    assert client.get("/v2/health/live", headers={"X-Request-Id": "abc-1"}).headers["X-Request-Id"] == "abc-1"
    for bad in ("a b", "x" * 65, "<script>", ""):
        given = client.get("/v2/health/live", headers={"X-Request-Id": bad}).headers["X-Request-Id"]
        assert given != bad
        assert given.isalnum()


def test_stages_are_told_to_the_client_and_to_prometheus(client: FlaskClient, object_png: bytes) -> None:  # noqa: F811
    answer = client.post("/v1/cut", data={"image": (io.BytesIO(object_png), "a.png")})
    stages = [entry.split(";dur=")[0] for entry in answer.headers["Server-Timing"].split(", ")]
    assert {"decode", "predict", "compose", "encode", "total"} <= set(stages)
    client.post("/v1/cut", data={"image": (io.BytesIO(b"no"), "a.png")})
    found = figures(client)
    assert found["arcp_http_requests_total", "ours.cut", "200"] == 1
    assert found["arcp_http_requests_total", "ours.cut", "400"] == 1
    assert found["arcp_errors_total", "unreadable_image"] == 1
    assert found["arcp_stage_seconds_count", "predict"] == 1
    assert found["arcp_http_in_flight",] == 1  # this very question


def test_unknown_addresses_do_not_grow_the_figures(client: FlaskClient) -> None:
    for number in range(5):
        client.get(f"/nothing/{number}")
    found = figures(client)
    assert found["arcp_http_requests_total", "unknown", "404"] == 5


def test_one_structured_line_a_request(
    client: FlaskClient,
    caplog: pytest.LogCaptureFixture,
    object_png: bytes,  # noqa: F811
) -> None:
    caplog.set_level(logging.INFO, "server.access")
    client.post(
        "/v1/cut?secret=1", data={"image": (io.BytesIO(object_png), "private-name.png")}, headers={"X-Request-Id": "r1"}
    )
    (record,) = [record for record in caplog.records if record.name == "server.access"]
    text = JsonFormatter().format(record)
    line = json.loads(text)
    assert (
        line.items()
        >= {"request_id": "r1", "method": "POST", "path": "/v1/cut", "status": 200, "level": "info"}.items()
    )
    assert line["stages_ms"]["total"] > 0
    assert "private-name" not in text
    assert "secret" not in text


def test_tracebacks_go_to_the_log_under_the_requests_id(
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    object_png: bytes,  # noqa: F811
) -> None:
    def broken(*args: object, **options: object) -> Cutout:
        raise RuntimeError("inside")

    client = create_app(replace(settings, cut=broken)).test_client()
    answer = client.post("/", data={"data": (io.BytesIO(object_png), "a.png")}, headers={"X-Request-Id": "r2"})
    assert answer.status_code == 500
    assert b"inside" not in answer.data
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    line = json.loads(JsonFormatter().format(record))
    assert line["request_id"] == "r2"
    assert "RuntimeError: inside" in line["traceback"]


def test_busy_is_503_with_retry_after_in_every_dialect(settings: Settings, object_png: bytes) -> None:  # noqa: F811
    def busy(*args: object, **options: object) -> Cutout:
        raise Busy("Too many photos are waiting: try again in a moment.", retry_after=3)

    client = create_app(replace(settings, cut=busy)).test_client()
    for path, field in (("/v1/cut", "image"), ("/v1.0/removebg", "image_file"), ("/api/remove", "file"), ("/", "data")):
        answer = client.post(path, data={field: (io.BytesIO(object_png), "a.png")})
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "3"
    assert figures(client)["arcp_errors_total", "busy"] == 4


def test_a_record_without_fields_is_a_line_too() -> None:
    try:
        raise ValueError("x")
    except ValueError:
        record = logging.LogRecord("server", logging.ERROR, __file__, 1, "oh %s", ("no",), sys.exc_info())
    line = json.loads(JsonFormatter().format(record))
    assert line["message"] == "oh no"
    assert line["traceback"].endswith("ValueError: x")
