"""The doctor names the broken hop."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from flask import Flask

from desktop_agent import hops
from desktop_agent.found import FoundServer
from desktop_agent.home import home
from desktop_agent.listener import listening
from desktop_agent.tls import Certificate, own_certificate


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Certificate]]:
    certificate = own_certificate(tmp_path / "tls", [])
    with listening(Flask("server"), "127.0.0.1", 0, certificate) as port:
        yield f"https://127.0.0.1:{port}", certificate


def confirmed(url: str, fingerprint: str) -> None:
    (home() / "server.json").write_text(json.dumps(asdict(FoundServer("id", "GPU", url, fingerprint))))


def test_without_an_agent_it_says_how_to_start_one() -> None:
    assert [(f.name, f.ok) for f in hops._phones()] == [("agent", False)]


def test_an_agent_whose_port_for_phones_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hops, "local_addresses", lambda: ["127.0.0.1"])
    with listening(Flask("agent"), "127.0.0.1", 0) as port:
        fields = {"url": f"http://127.0.0.1:{port}", "token": "t", "pid": os.getpid()}
        (home() / "agent.json").write_text(json.dumps(fields))
        agent, phones = hops._phones()
        assert agent.ok
        assert not phones.ok
        assert "desktop_agent pair" in phones.fix


def test_a_wifi_that_keeps_its_clients_apart_has_two_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """From this computer such a Wi-Fi looks well: the finding says so, and what to do all the same."""
    monkeypatch.setattr(hops, "local_addresses", lambda: ["127.0.0.1"])
    monkeypatch.setattr(hops, "_answers", lambda address, port: True)
    fields = {"url": "http://127.0.0.1:8765", "token": "t", "pid": os.getpid()}
    (home() / "agent.json").write_text(json.dumps(fields))
    _, phones = hops._phones()
    assert phones.ok
    assert "hotspot" in phones.detail
    assert "'adb reverse tcp:8765 tcp:8765'" in phones.detail
    assert "pair --usb" in phones.detail


@pytest.mark.parametrize(
    ("platform", "way"), [("linux", "ufw allow 8766/tcp"), ("win32", "Windows Security"), ("darwin", "System Settings")]
)
def test_a_firewall_in_the_way_is_opened_as_the_system_does_it(
    monkeypatch: pytest.MonkeyPatch, platform: str, way: str
) -> None:
    monkeypatch.setattr(hops.sys, "platform", platform)
    monkeypatch.setattr(hops, "local_addresses", lambda: ["127.0.0.1"])
    monkeypatch.setattr(hops, "_answers", lambda address, port: port == 8765)
    fields = {"url": "http://127.0.0.1:8765", "token": "t", "pid": os.getpid()}
    (home() / "agent.json").write_text(json.dumps(fields))
    _, phones = hops._phones()
    assert not phones.ok
    assert way in phones.fix


def test_a_vpn_on_the_default_route_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hops, "_default_interface", lambda table: "wg0")
    finding = hops._tunnel()
    assert not finding.ok
    assert "wg0" in finding.detail
    assert "VPN" in finding.fix


@pytest.mark.parametrize("fault", [None, "certificate", "gone"])
def test_the_confirmed_server(server: tuple[str, Certificate], fault: str | None) -> None:
    url, certificate = server
    confirmed(
        "https://127.0.0.1:9" if fault == "gone" else url,
        "ab" * 32 if fault == "certificate" else certificate.fingerprint,
    )
    (finding,) = hops._server()
    assert finding.ok is (fault is None)
    assert ("another certificate" in finding.detail) == (fault == "certificate")
    assert bool(finding.fix) != finding.ok


@pytest.mark.parametrize(
    ("rows", "interface"),
    [
        (["eth0 00000000 0101A8C0 0003 0 0 100 00000000 0", "wg0 00000000 0 0003 0 0 50 00000000 0"], "wg0"),
        (["eth0 0001A8C0 00000000 0001 0 0 100 00FFFFFF 0"], None),
        ([], None),
    ],
)
def test_the_default_route(tmp_path: Path, rows: list[str], interface: str | None) -> None:
    table = tmp_path / "route"
    table.write_text("\n".join(["Iface Destination Gateway Flags RefCnt Use Metric Mask MTU", *rows]))
    assert hops._default_interface(table) == interface
    assert hops._default_interface(tmp_path / "missing") is None
