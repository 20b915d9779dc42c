"""Fixtures for every test: no leaked threads, a private data folder, and CI's switch that turns skips into failures."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

STRICT = os.environ.get("ARCP_TEST_STRICT") == "1"
MAY_SKIP = {"gpu", "macos", "shared", "slow"}
REAL_PROGRAMS = {"app", "browser"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The real programs start first: they take longest, and mostly wait. A test that drives one gets a second try, which
    the report counts as a rerun."""
    items.sort(key=lambda item: not drives_real_programs(item))
    for item in filter(drives_real_programs, items):
        item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With several workers the real programs take turns on one of them; the other tests go by file."""
    from xdist.scheduler import LoadScopeScheduling

    class ByProgramOrFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            return "real programs" if file.startswith("tests/e2e/") else file

    return ByProgramOrFile(config, log)


def drives_real_programs(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in REAL_PROGRAMS)


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
