"""Mixed load, one request in a hundred of it hostile: no answer lost or another's, no failure, memory flat, nearly as fast."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.server.engine.load import ATTACKS, Outcome, resident_bytes, run_load
from tests.server.engine.processes import server_process

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory in /proc")


def failures(outcome: Outcome) -> list[object]:
    return [key for key in outcome.statuses if isinstance(key[1], int) and key[1] >= 500 and key[1] != 503]


def test_a_short_soak() -> None:
    """A fifth is hostile here, so that most attacks come within seconds; slow bodies have a test of their own."""
    with server_process(module="tests.server.engine.stub_server") as server:
        outcome = run_load(server.url, 4, clients=3, hostile=0.2, slow=False)
        assert not outcome.wrong
        assert not failures(outcome)
        assert len(outcome.seconds) > 10
        again = run_load(server.url, 1, clients=2, hostile=0)
        assert not again.wrong
        assert again.seconds
    assert {name for name, _ in outcome.statuses} & {name for name, _ in ATTACKS}


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_ten_minutes() -> None:
    with server_process(module="tests.server.engine.stub_server") as server:
        run_load(server.url, 30, clients=4, hostile=0.05)  # every path once, so that what is loaded lazily is there
        clean = run_load(server.url, 120, clients=4, hostile=0)
        before = resident_bytes(server.process.pid)
        mixed = run_load(server.url, 600, clients=4, hostile=0.01)
        growth = resident_bytes(server.process.pid) / before - 1
    print(f"{len(mixed.seconds)} good, {mixed.statuses}, memory {growth:+.1%}")
    assert not mixed.wrong
    assert not failures(mixed)
    assert growth < 0.05
    assert mixed.percentile(0.95) < 2 * clean.percentile(0.95)
