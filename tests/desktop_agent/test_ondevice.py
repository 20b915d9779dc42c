"""What the agent hands a page that cuts on the phone: to paired phones only, whole files only, and one place that may compile."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from desktop_agent.app import PAGE_FOLDER, create_app
from tests.desktop_agent.conftest import World


@pytest.fixture
def client(world: World, private_home: Path, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """An agent whose pins are two small files, which are in place."""
    contents = {"runtime.mjs": b"export default 1", "runtime.wasm": b"\0asm\1\0\0\0"}
    pins = {
        "package": "runtime",
        "version": "1",
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()},
    }
    read = Path.read_text
    monkeypatch.setattr(
        Path,
        "read_text",
        lambda self, *a, **k: json.dumps(pins) if self.name == "ondevice.json" else read(self, *a, **k),
    )
    folder = private_home / "web-assets" / "runtime-1"
    folder.mkdir(parents=True)
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return create_app(world.agent, world.access).test_client()


def test_whole_files_are_offered_with_their_hashes(client: FlaskClient, world: World) -> None:
    answer = client.get("/ondevice", headers=world.headers()).get_json()
    assert answer["available"] is True
    for use in ("runtime", "wasm", "model"):
        file = client.get(answer["files"][use]["url"], headers=world.headers(), buffered=True)
        assert file.status_code == 200
        assert hashlib.sha256(file.data).hexdigest() == answer["files"][use]["sha256"]
    assert answer["bytes"] > 1_000_000


@pytest.mark.parametrize("fault", ["missing", "damaged"])
def test_else_the_reason_and_the_command(client: FlaskClient, world: World, private_home: Path, fault: str) -> None:
    file = private_home / "web-assets" / "runtime-1" / "runtime.wasm"
    if fault == "missing":
        file.unlink()
    else:
        file.write_bytes(b"cut off")
    answer = client.get("/ondevice", headers=world.headers()).get_json()
    assert answer["available"] is False
    assert "python -m mobile_client_stub web-assets" in answer["reason"]


@pytest.mark.parametrize("path", ["/ondevice", "/ondevice/runtime.mjs", "/ondevice/lite.onnx"])
def test_strangers_get_nothing(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 401


@pytest.mark.parametrize("path", ["/ondevice/other.mjs", "/ondevice/..%2f..%2fdevices.json", "/ondevice/ondevice.json"])
def test_no_other_file_is_reached(client: FlaskClient, world: World, path: str) -> None:
    assert client.get(path, headers=world.headers()).status_code == 404


def test_only_the_workers_script_may_compile(client: FlaskClient) -> None:
    allowed = []
    for path in ["/", *(f"/web/{file.name}" for file in PAGE_FOLDER.iterdir() if file.is_file())]:
        with client.get(path) as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert "unsafe-inline" not in policy
            assert "'unsafe-eval'" not in policy
            allowed += [path] if "wasm-unsafe-eval" in policy else []
    assert allowed == ["/web/cutter.js"]
