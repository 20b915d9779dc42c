"""Stored results: unguessable, readable until their end, gone after it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from server.results import ResultStore


@pytest.fixture
def now() -> list[float]:
    return [1_800_000_000.0]


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path, now: list[float]) -> ResultStore:
    url = str(tmp_path / "results") if request.param == "folder" else f"memory://results-{time.monotonic_ns()}"
    return ResultStore(url, 60, lambda: now[0])


def test_a_result_lives_its_time(store: ResultStore, now: list[float]) -> None:
    name = store.put(b"png")
    assert store.get(name) == b"png"
    now[0] += 59
    assert store.get(name) == b"png"
    assert store.sweep() == 0
    now[0] += 1
    assert store.get(name) is None  # also before anybody swept
    assert store.sweep() == 1
    now[0] -= 60
    assert store.get(name) is None


def test_names_cannot_be_guessed_or_walk_away(store: ResultStore, tmp_path: Path) -> None:
    names = {store.put(b"png") for _ in range(50)}
    assert len({name.split("-", 1)[1] for name in names}) == 50
    assert min(len(name.split("-", 1)[1]) for name in names) == 43 + len(".png")  # 256 bits
    (tmp_path / "secret").write_bytes(b"secret")
    some = next(iter(names))
    end, token = some.split("-", 1)
    for wrong in ("../secret", "secret", "", ".", f"{int(end) + 1}-{token}", some + "/../../secret", some.upper()):
        assert store.get(wrong) is None


def test_results_outlive_the_process_that_made_them(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    name = ResultStore(str(folder)).put(b"png")
    assert ResultStore(str(folder)).get(name) == b"png"


def test_the_sweeper_deletes_on_time_and_nothing_else(tmp_path: Path, now: list[float]) -> None:
    folder = tmp_path / "results"
    store = ResultStore(str(folder), 60, lambda: now[0])
    ended = store.put(b"png")
    (folder / "notes.txt").write_text("mine")
    now[0] += 30
    living = store.put(b"png")
    now[0] += 30
    with store.sweeping(every=0.01):
        deadline = time.monotonic() + 60
        while (folder / ended).exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert sorted(os.listdir(folder)) == sorted(["notes.txt", living])
