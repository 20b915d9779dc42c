"""Fixtures for every test: no leaked threads, a private data folder, and CI's switch that turns skips into failures."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

STRICT = os.environ.get("ARCP_TEST_STRICT") == "1"
MAY_SKIP = {"gpu", "macos", "shared", "slow"}


@pytest.fixture(autouse=True)
def no_leaked_threads() -> Iterator[None]:
    """A test that leaves a non-daemon or one of our own threads running has forgotten to close something."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 5
    while True:
        leaked = [
            thread
            for thread in threading.enumerate()
            if thread not in before and thread.is_alive() and (not thread.daemon or thread.name.startswith("arcp-"))
        ]
        if not leaked or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    assert not leaked, f"threads still running: {leaked}"


@pytest.fixture(autouse=True)
def private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Clips, keys, tokens and weights of a test never touch the user's own."""
    home = tmp_path / "arcp-home"
    monkeypatch.setenv("ARCP_HOME", str(home))
    for name in ("ARCP_WEIGHTS", "U2NET_HOME"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """With ARCP_TEST_STRICT=1 a skipped test fails, unless it is of a kind that this machine cannot have."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    allowed = any(item.get_closest_marker(name) for name in MAY_SKIP)
    if STRICT and report.skipped and not allowed and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, but this run must run it: {report.longrepr}"
