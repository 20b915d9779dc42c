"""Announcing, finding, confirming: hints from the network never decide where photos go."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from desktop_agent.discovery import AGENT_TYPE, SERVER_TYPE, Announced, Discovery, describe
from desktop_agent.errors import AgentError, NotFound, SegmentationFailed
from desktop_agent.found import RETRY_SECONDS, FoundSegmentation, FoundServer
from desktop_agent.listener import listening
from desktop_agent.segmentation import CutResult, RemoteSegmentation, Segmentation
from desktop_agent.tls import Certificate, own_certificate

LOOPBACK = "127.0.0.1"
GPU = FoundServer("gpu-1", "Studio GPU", "https://127.0.0.1:9", "ab" * 32)


def result(server: str) -> CutResult:
    return CutResult(b"png", (0, 0, 1, 1), (2, 2), 1.0, "m", server, {})


@dataclass
class FakeSegmentation:
    name: str
    error: AgentError | None = None
    photos: list[bytes] = field(default_factory=list)

    def cut(self, photo: bytes, *, tap: object, model: object, mode: str) -> CutResult:
        self.photos.append(photo)
        if self.error is not None:
            raise self.error
        return result(self.name)


@dataclass
class Bench:
    """A chooser, its clock, and every server that it was connected to."""

    chooser: FoundSegmentation
    embedded: FakeSegmentation
    remotes: dict[str, FakeSegmentation]
    now: list[float]
    path: Path

    def cut(self) -> str:
        return self.chooser.cut(b"photo", tap=None, model=None, mode="object").server


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    embedded, remotes, now = FakeSegmentation("embedded"), {}, [0.0]

    def connect(server: FoundServer) -> Segmentation:
        return remotes.setdefault(server.url, FakeSegmentation(server.url))

    path = tmp_path / "server.json"
    return Bench(FoundSegmentation(embedded, path, connect, lambda: now[0]), embedded, remotes, now, path)


def test_photos_never_go_to_a_server_that_was_only_found(bench: Bench) -> None:
    bench.chooser.seen(GPU)
    assert bench.cut() == "embedded"
    assert bench.remotes == {}
    assert [server["confirmed"] for server in bench.chooser.public()["found"]] == [False]


def test_a_confirmed_server_is_used_also_after_a_restart(bench: Bench) -> None:
    bench.chooser.seen(GPU)
    bench.chooser.confirm("gpu-1")
    assert bench.cut() == bench.chooser.name == GPU.url
    assert stat.S_IMODE(bench.path.stat().st_mode) == 0o600
    again = FoundSegmentation(bench.embedded, bench.path, lambda server: FakeSegmentation(server.url))
    assert again.name == GPU.url
    bench.chooser.forget()
    assert bench.cut() == "embedded"
    assert json.loads(bench.path.read_text()) is None


def test_only_what_was_found_can_be_confirmed(bench: Bench) -> None:
    with pytest.raises(NotFound):
        bench.chooser.confirm("gpu-1")
    bench.chooser.seen(GPU)
    bench.chooser.gone("gpu-1")
    with pytest.raises(NotFound):
        bench.chooser.confirm("gpu-1")


@pytest.mark.parametrize("code", ["server_unreachable", "server_changed", "server_foreign"])
def test_a_server_that_vanishes_is_replaced_by_this_computer_which_says_so(bench: Bench, code: str) -> None:
    bench.chooser.seen(GPU)
    bench.chooser.confirm("gpu-1")
    remote = bench.remotes[GPU.url]
    remote.error = SegmentationFailed("gone", code=code)
    assert bench.cut() == "embedded"
    assert bench.chooser.name == "embedded"
    assert "computer itself" in (bench.chooser.notice or "")
    bench.cut()
    assert len(remote.photos) == 1  # nobody waits for it again at once
    remote.error = None
    bench.now[0] += RETRY_SECONDS
    assert bench.cut() == GPU.url
    assert bench.chooser.notice is None


def test_a_server_that_comes_back_is_used_at_once_also_at_a_new_address(bench: Bench) -> None:
    bench.chooser.seen(GPU)
    bench.chooser.confirm("gpu-1")
    bench.remotes[GPU.url].error = SegmentationFailed("gone", code="server_unreachable")
    bench.cut()
    moved = replace(GPU, url="https://127.0.0.2:9")
    bench.chooser.seen(moved)
    assert bench.cut() == moved.url


def test_an_impostor_with_the_same_id_gets_no_photo(bench: Bench) -> None:
    bench.chooser.seen(GPU)
    bench.chooser.confirm("gpu-1")
    bench.chooser.seen(replace(GPU, url="https://127.0.0.66:9", fingerprint="cd" * 32))
    assert bench.cut() == GPU.url
    assert list(bench.remotes) == [GPU.url]


def test_what_is_wrong_with_the_photo_is_not_the_servers_fault(bench: Bench) -> None:
    bench.chooser.seen(GPU)
    bench.chooser.confirm("gpu-1")
    bench.remotes[GPU.url].error = AgentError("nothing there", code="no_object", status=422)
    with pytest.raises(AgentError, match="nothing there"):
        bench.cut()
    assert bench.embedded.photos == []


@pytest.mark.parametrize("content", ["", "{", '{"id": 1}', "[]"])
def test_a_damaged_memory_means_this_computer(bench: Bench, content: str) -> None:
    bench.path.parent.mkdir(parents=True, exist_ok=True)
    bench.path.write_text(content)
    assert FoundSegmentation(bench.embedded, bench.path).name == "embedded"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[int, Certificate]]:
    """Something that answers ``/v1/cut`` over https."""
    app = Flask("server")

    @app.post("/v1/cut")
    def cut() -> Any:
        summary = {"box": [0, 0, 1, 1], "image_size": [2, 2], "score": 1, "model": "m", "timings_ms": {}}
        return b"png", 200, {"X-Cutout": json.dumps(summary)}

    certificate = own_certificate(tmp_path / "server-tls", [])
    with listening(app, LOOPBACK, 0, certificate) as port:
        yield port, certificate


def test_a_pinned_server_is_used_and_one_with_another_certificate_refused(server: tuple[int, Certificate]) -> None:
    port, certificate = server
    url = f"https://{LOOPBACK}:{port}"
    right = RemoteSegmentation(url, fingerprint=certificate.fingerprint)
    assert right.cut(b"photo", tap=None, model=None, mode="object").server == url
    wrong = RemoteSegmentation(url, fingerprint="ab" * 32)
    with pytest.raises(SegmentationFailed) as refused:
        wrong.cut(b"photo", tap=None, model=None, mode="object")
    assert refused.value.code == "server_changed"
    right.close()
    wrong.close()


@dataclass
class Found:
    servers: dict[str, FoundServer] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    def seen(self, server: FoundServer) -> None:
        self.servers[server.id] = server

    def gone(self, server_id: str) -> None:
        self.left.append(server_id)


def eventually(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def server_info(port: int, **fields: str) -> Any:
    from zeroconf import ServiceInfo

    return ServiceInfo(
        SERVER_TYPE,
        f"Studio GPU.{SERVER_TYPE}",
        port=port,
        parsed_addresses=[LOOPBACK],
        server="arcp-test.local.",
        properties={"txtvers": "1", "id": "gpu-1", "version": "1", "path": "/"} | fields,
    )


def test_a_server_is_found_with_the_certificate_that_it_shows(server: tuple[int, Certificate]) -> None:
    from zeroconf import Zeroconf

    port, certificate = server
    found = Found()
    discovery = Discovery("Studio PC", lambda: None, found, interfaces=[LOOPBACK])
    other = Zeroconf(interfaces=[LOOPBACK])
    try:
        info = server_info(port)
        other.register_service(info)
        eventually(lambda: "gpu-1" in found.servers)
        assert found.servers["gpu-1"] == FoundServer(
            "gpu-1", "Studio GPU", f"https://{LOOPBACK}:{port}", certificate.fingerprint
        )
        other.unregister_service(info)
        eventually(lambda: "gpu-1" in found.left)
    finally:
        other.close()
        discovery.close()


def test_the_agent_announces_itself_without_secrets_while_it_can_be_reached() -> None:
    from zeroconf import ServiceBrowser, ServiceStateChange, Zeroconf

    now: list[Announced | None] = [Announced((LOOPBACK,), 8766)]
    seen: dict[str, ServiceStateChange] = {}

    def changed(zeroconf: object, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if name.startswith("Büro"):  # other agents may be in the same network
            seen[name] = state_change

    other = Zeroconf(interfaces=[LOOPBACK])
    discovery = Discovery("Büro. PC", lambda: now[0], interfaces=[LOOPBACK])
    browser = ServiceBrowser(other, AGENT_TYPE, handlers=[changed])
    try:
        eventually(lambda: seen)
        (name,) = seen
        info = other.get_service_info(AGENT_TYPE, name, 3000)
        assert info is not None
        assert info.port == 8766
        assert LOOPBACK in info.parsed_addresses()  # agents of other tests announce this host under the same name
        assert name.startswith("Büro  PC ")
        assert set(info.properties) == {b"txtvers", b"id", b"version", b"path"}
        assert sum(len(key) + len(value or b"") for key, value in info.properties.items()) < 200
        now[0] = None
        eventually(lambda: seen[name] is ServiceStateChange.Removed)
    finally:
        browser.cancel()
        other.close()
        discovery.close()


@pytest.mark.parametrize("fields", [{"txtvers": "2"}, {"id": ""}, {"path": "/../../x?y#z"}, {"path": "@evil.example"}])
def test_announcements_that_are_not_understood_are_left_alone(
    server: tuple[int, Certificate], fields: dict[str, str]
) -> None:
    assert describe(server_info(server[0], **fields)) is None


def test_a_server_that_speaks_no_https_is_not_offered() -> None:
    with listening(Flask("plain"), LOOPBACK, 0) as port:
        assert describe(server_info(port)) is None
