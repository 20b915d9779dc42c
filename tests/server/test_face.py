"""https, the announcement that agents understand, and the options of the server's command line."""

from __future__ import annotations

import io
import json
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner

from desktop_agent.discovery import Discovery
from desktop_agent.found import FoundServer
from desktop_agent.segmentation import RemoteSegmentation
from server import face
from server.__main__ import main
from server.announce import announcing, reachable_addresses, server_id
from server.app import Settings, create_app
from server.errors import BadInput, BadOption
from server.tls import Certificate, TlsAdapter, own_certificate
from server.wsgi import serving
from tests.server.dialects.conftest import cut_red, object_png  # noqa: F401

LOOPBACK = "127.0.0.1"


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return own_certificate(tmp_path / "tls")


def options(*arguments: str) -> face.Face:
    """The options as the command line gives them."""
    found: list[face.Face] = []
    import click

    @click.command()
    @face.face_options
    def command(face: face.Face) -> None:
        found.append(face)

    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return found[0]


def test_the_own_certificate_is_made_once_and_its_key_is_private(certificate: Certificate) -> None:
    again = own_certificate(certificate.key.parent)
    assert again.fingerprint == certificate.fingerprint
    assert stat.S_IMODE(certificate.key.stat().st_mode) == 0o600


def test_an_agent_cuts_over_https_with_the_pinned_certificate(
    certificate: Certificate,
    object_png: bytes,  # noqa: F811
) -> None:
    app = create_app(Settings(model="red", cut=cut_red, fetch=None))
    with serving(app, LOOPBACK, 0, tls=TlsAdapter(certificate)) as (host, port):
        remote = RemoteSegmentation(f"https://{host}:{port}", fingerprint=certificate.fingerprint)
        assert remote.cut(object_png, tap=None, model=None, mode="object").box == (60, 50, 160, 130)
        remote.close()
        with pytest.raises(requests.RequestException):  # plain http to the same port neither works nor harms
            requests.get(f"http://{host}:{port}/v2/health/live", timeout=20)
        again = RemoteSegmentation(f"https://{host}:{port}", fingerprint=certificate.fingerprint)
        assert again.cut(object_png, tap=None, model=None, mode="object").model == "red"
        again.close()


def test_a_key_of_another_certificate_is_refused_with_the_files(certificate: Certificate, tmp_path: Path) -> None:
    other = own_certificate(tmp_path / "other")
    with pytest.raises(BadInput, match="do not work together"):
        TlsAdapter(Certificate(certificate.certificate, other.key))


class Found:
    """What the agent's discovery was told."""

    def __init__(self) -> None:
        self.servers: dict[str, FoundServer] = {}
        self.left: list[str] = []

    def seen(self, server: FoundServer) -> None:
        self.servers[server.id] = server

    def gone(self, server_id: str) -> None:
        self.left.append(server_id)


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_agent_finds_the_server_with_the_certificate_that_it_shows(certificate: Certificate) -> None:
    app = create_app(Settings(model="red", cut=cut_red, fetch=None))
    found = Found()
    discovery = Discovery("Studio PC", lambda: None, found, interfaces=[LOOPBACK])
    try:
        with serving(app, LOOPBACK, 0, tls=TlsAdapter(certificate)) as (_, port):
            with announcing("Büro. GPU", "abc123", [LOOPBACK], port, interfaces=[LOOPBACK]):
                eventually(lambda: "abc123" in found.servers)
            eventually(lambda: "abc123" in found.left)
        server = found.servers["abc123"]
        assert (server.url, server.fingerprint) == (f"https://{LOOPBACK}:{port}", certificate.fingerprint)
        assert server.name == "Büro  GPU"
    finally:
        discovery.close()


def test_the_id_is_kept(tmp_path: Path) -> None:
    assert server_id(tmp_path / "a" / "id") == server_id(tmp_path / "a" / "id")
    assert server_id(tmp_path / "a" / "id") != server_id(tmp_path / "other")


def test_loopback_is_announced_to_nobody() -> None:
    assert reachable_addresses(LOOPBACK) == []
    assert not any(address.startswith("127.") for address in reachable_addresses("0.0.0.0"))
    assert reachable_addresses("192.0.2.7") == ["192.0.2.7"]


def test_options_become_settings(private_home: Path) -> None:
    settings = Settings(**options().settings())
    assert (settings.rate_limit, settings.proxies, settings.results) == (None, 0, None)
    assert settings.fetch is not None
    assert settings.keys is not None
    assert settings.keys.path == private_home / "server-keys.json"
    settings = Settings(
        **options(
            "--rate-limit", "3/minute", "--no-fetch", "--results", "memory://r", "--results-hours", "1"
        ).settings()
    )
    assert (settings.rate_limit, settings.fetch, settings.results_seconds) == ("3/minute", None, 3600)


@pytest.mark.parametrize("arguments", [["--rate-limit", "often"], ["--results", "nosuch://x"]])
def test_what_cannot_work_is_said_at_the_start(arguments: list[str]) -> None:
    with pytest.raises(BadOption):
        options(*arguments).settings()


def test_the_address_that_is_told_can_be_typed() -> None:
    assert options().describe("127.0.0.1", 8000) == "http://127.0.0.1:8000"
    told = options().describe("0.0.0.0", 8000)
    assert told in {f"http://{host}:8000" for host in (*reachable_addresses("0.0.0.0"), "localhost")}


def test_half_a_certificate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="belong together"):
        options("--cert", str(tmp_path / "a.pem")).certificate()


def test_keys_are_made_listed_and_revoked_on_the_command_line(private_home: Path) -> None:
    def keys(*arguments: str) -> str:
        result = CliRunner().invoke(main, ["keys", *arguments], catch_exceptions=False)
        assert result.exit_code == 0
        return result.stdout

    secret = keys("add", "agent").strip()
    key_id, name = keys("list").split()
    assert name == "agent"
    stored = json.loads((private_home / "server-keys.json").read_text())
    assert secret not in json.dumps(stored)
    assert "agent" in keys("revoke", key_id)
    assert keys("list") == ""
    assert (private_home / "server-keys.json").exists()
    keys("off")
    assert not (private_home / "server-keys.json").exists()


@contextmanager
def server_process(*arguments: str) -> Iterator[tuple[str, Any]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "server", "--model", "grabcut", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline(), process
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_the_whole_server_with_https_a_key_and_json_logs(coffee_jpeg: bytes, private_home: Path) -> None:
    secret = CliRunner().invoke(main, ["keys", "add", "me"]).stdout.strip()
    with server_process("--https", "--log", "json") as (line, process):
        url = line.split(" at ")[1].split(" ")[0]
        fingerprint = line.split("certificate ")[1].split(")")[0].replace(":", "").lower()
        assert url.startswith("https://")
        remote = RemoteSegmentation(url, key=secret, fingerprint=fingerprint)
        assert remote.cut(coffee_jpeg, tap=None, model=None, mode="object").model == "grabcut"
        remote.close()
        process.terminate()
        _, logged = process.communicate(timeout=60)
    access = [json.loads(text) for text in logged.splitlines() if '"server.access"' in text]
    assert [entry["status"] for entry in access] == [200]
    assert access[0]["path"] == "/v1/cut"
    assert secret not in logged
    assert io.StringIO(logged).readline().startswith("{")
