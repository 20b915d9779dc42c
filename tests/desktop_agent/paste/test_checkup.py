"""The doctor names each missing piece with the command or the setting that helps."""

from __future__ import annotations

import importlib.util
import sys
from types import SimpleNamespace

import pytest

from desktop_agent.paste import checkup


def named(findings: list[checkup.Finding]) -> dict[str, checkup.Finding]:
    return {finding.name: finding for finding in findings}


def test_a_bare_linux_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("shutil.which", lambda name: None)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    found = named(checkup.examine())
    assert not found["display"].ok
    assert "libglib2.0-bin" in found["gdbus"].fix
    assert "dbus" in found["session bus"].fix
    assert "apt install xclip" in found["clipboard"].fix
    assert not found["display"].optional
    assert found["clipboard"].optional


@pytest.mark.parametrize("allowed", [True, False])
def test_macos_names_the_settings(monkeypatch: pytest.MonkeyPatch, allowed: bool) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    answers = SimpleNamespace(
        CGPreflightScreenCaptureAccess=lambda: allowed, CGPreflightPostEventAccess=lambda: allowed
    )
    monkeypatch.setitem(sys.modules, "Quartz", answers)
    monkeypatch.setattr(checkup, "find_spec", lambda name: name)
    found = named(checkup.examine())
    assert found["screen recording"].ok is found["pointer and keys"].ok is allowed
    if not allowed:
        assert "Screen & System Audio Recording" in found["screen recording"].fix
        assert "Accessibility" in found["pointer and keys"].fix


def test_windows_and_photoshop_name_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(checkup, "find_spec", lambda name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = named(checkup.examine())
    assert found["pywin32"].fix == "pip install pywin32"
    assert "ar-copy-paste[photoshop]" in found["Photoshop"].fix
    assert found["Photoshop"].optional


def test_wayland_without_a_portal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus")
    found = named(checkup.examine())
    assert "xdg-desktop-portal" in found["portal"].fix
    assert not found["portal"].ok
