"""The virtual desktop itself: two monitors as the agent sees them, and nothing left running."""

from __future__ import annotations

import subprocess

import pytest

from tests.e2e.desktop import VirtualDesktop, missing_programs, wait_for

pytestmark = pytest.mark.app


@pytest.mark.skipif(bool(missing_programs()), reason=f"not installed: {missing_programs()}")
def test_splits_into_two_monitors_and_leaves_no_process_behind() -> None:
    import mss

    with VirtualDesktop((1600, 900), two_monitors=True) as desktop:
        with mss.MSS(display=desktop.env["DISPLAY"]) as screen:
            monitors = [(m["left"], m["top"], m["width"], m["height"]) for m in screen.monitors[1:]]
        child = desktop.run(["sh", "-c", "sleep 100 & sleep 100"])
        wait_for(lambda: len(list(desktop._marked())) >= 6, 30, "the child did not start")
    assert monitors == [(0, 0, 800, 900), (800, 0, 800, 900)]
    assert child.returncode is not None
    assert list(desktop._marked()) == []
    assert not desktop.home.exists()


@pytest.mark.skipif(bool(missing_programs()), reason=f"not installed: {missing_programs()}")
def test_a_program_that_cannot_start_names_itself() -> None:
    with VirtualDesktop((320, 240)) as desktop, pytest.raises((FileNotFoundError, subprocess.SubprocessError)):
        desktop.run(["no-such-program-here"])
