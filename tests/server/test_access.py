"""Keys, rate limits, proxies: who may have pictures cut, and how often."""

from __future__ import annotations

import io
import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from server.app import CUTTING, Settings, create_app
from server.errors import BadInput
from server.keys import KeyStore
from tests.server.dialects.conftest import cut_red, object_png  # noqa: F401


@pytest.fixture
def keys(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys.json")


@pytest.fixture
def settings(keys: KeyStore) -> Settings:
    return Settings(model="red", cut=cut_red, keys=keys, fetch=None)


def post(client: FlaskClient, png: bytes, path: str = "/v1/cut", field: str = "image", **options: object) -> int:
    return client.post(path, data={field: (io.BytesIO(png), "a.png")}, **options).status_code  # type: ignore[arg-type]


def test_keys_are_kept_hashed_in_a_private_file(keys: KeyStore) -> None:
    key, secret = keys.add("agent\n")
    assert key.name == "agent"
    assert secret not in keys.path.read_text()
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600
    assert keys.find(secret) == key
    assert keys.find(secret + "x") is None
    assert KeyStore(keys.path).find(secret) == key


def test_the_last_revoked_key_does_not_open_the_server(keys: KeyStore) -> None:
    assert not keys.required
    key, secret = keys.add("agent")
    keys.revoke(key.id)
    assert keys.required
    assert keys.find(secret) is None
    with pytest.raises(BadInput, match="no key"):
        keys.revoke(key.id)


def test_a_damaged_key_file_lets_nobody_in(keys: KeyStore) -> None:
    keys.path.write_text("{")
    with pytest.raises(BadInput, match="repair or remove"):
        keys.find("anything")


def test_without_keys_everybody_is_let_in(settings: Settings, object_png: bytes) -> None:  # noqa: F811
    assert post(create_app(settings).test_client(), object_png) == 200


def test_with_keys_each_dialect_asks_in_its_own_form(
    settings: Settings,
    keys: KeyStore,
    object_png: bytes,  # noqa: F811
) -> None:
    key, secret = keys.add("agent")
    client = create_app(settings).test_client()
    for headers in ({"X-Api-Key": secret}, {"X-Secret-Access": secret}, {"Authorization": f"Bearer {secret}"}):
        assert post(client, object_png, headers=headers) == 200
    for wrong in ({}, {"X-Api-Key": "wrong"}, {"X-Api-Key": key.id}, {"Authorization": f"Basic {secret}"}):
        assert post(client, object_png, headers=wrong) == 401
    asked = client.post("/v1/cut")
    assert asked.get_json()["errors"][0]["code"] == "auth_failed"
    assert asked.headers["WWW-Authenticate"] == "Bearer"
    refused = client.post("/v1.0/removebg")
    assert (refused.status_code, refused.get_json()["errors"][0]["code"]) == (403, "auth_failed")
    assert client.get("/api/remove?url=http://a.example/").status_code == 401
    assert client.post("/remove").get_json()["error_id"] == "003"
    assert client.post("/").get_json().keys() == {"error"}
    for open_path in ("/", "/v2/health/live", "/v2/health/ready", "/metrics", "/openapi.json"):
        assert client.get(open_path).status_code == 200
    keys.revoke(key.id)
    assert post(client, object_png, headers={"X-Api-Key": secret}) == 401


def test_every_address_that_cuts_is_guarded(settings: Settings) -> None:
    app = create_app(settings)
    harmless = {"page.index", "page.file", "live", "ready", "openapi", "prometheus", "objectcut.result"}
    assert {rule.endpoint for rule in app.url_map.iter_rules()} == CUTTING | harmless


def test_the_key_is_asked_for_before_the_body_is_read(settings: Settings, keys: KeyStore) -> None:
    keys.add("agent")

    class Untouched(io.BytesIO):
        def read(self, *size: object) -> bytes:  # type: ignore[override]
            raise AssertionError("the body was read")

    answer = (
        create_app(settings)
        .test_client()
        .post("/v1/cut", input_stream=Untouched(), content_type="multipart/form-data; boundary=x", content_length=1000)
    )
    assert answer.status_code == 401


def test_the_rate_limit_counts_by_key_and_says_when_to_come_back(
    settings: Settings,
    keys: KeyStore,
    object_png: bytes,  # noqa: F811
) -> None:
    one, other = keys.add("one")[1], keys.add("other")[1]
    client = create_app(replace(settings, rate_limit="3 per hour")).test_client()
    statuses = [post(client, object_png, headers={"X-Api-Key": one}) for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    assert post(client, object_png, headers={"X-Api-Key": other}) == 200
    refused = client.post("/v1.0/removebg", headers={"X-Api-Key": one})
    assert refused.status_code == 429
    assert refused.get_json()["errors"][0]["code"] == "rate_limit_exceeded"
    assert int(refused.headers["Retry-After"]) > 0
    assert refused.headers["X-RateLimit-Remaining"] == "0"
    assert {client.get("/v2/health/live").status_code for _ in range(10)} == {200}


def test_behind_a_proxy_the_clients_are_told_apart(settings: Settings, object_png: bytes) -> None:  # noqa: F811
    client = create_app(replace(settings, rate_limit="1 per hour", proxies=1)).test_client()
    assert post(client, object_png, headers={"X-Forwarded-For": "8.8.8.8"}) == 200
    assert post(client, object_png, headers={"X-Forwarded-For": "9.9.9.9"}) == 200
    assert post(client, object_png, headers={"X-Forwarded-For": "8.8.8.8"}) == 429
    direct = create_app(replace(settings, rate_limit="1 per hour")).test_client()
    assert post(direct, object_png, headers={"X-Forwarded-For": "8.8.8.8"}) == 200
    assert post(direct, object_png, headers={"X-Forwarded-For": "9.9.9.9"}) == 429  # anybody can claim to be forwarded


def test_addresses_can_be_refused_altogether(settings: Settings) -> None:
    answer = create_app(settings).test_client().post("/v1.0/removebg", data={"image_url": "https://a.example/"})
    assert answer.status_code == 400
    assert "does not fetch" in json.dumps(answer.get_json())
