"""``python -m desktop_agent`` as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without telling it")
def test_it_ends_cleanly_when_it_is_told_to(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "desktop_agent", "--screen", "virtual", "--no-lan", "--port", "0", "--no-browser"]
    agent = subprocess.Popen(
        command, env=os.environ | {"ARCP_HOME": str(tmp_path)}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "agent.json").exists():
            assert agent.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert agent.stdout is not None
        assert agent.stdout.readline().startswith("Agent at http://127.0.0.1:")
        agent.terminate()
        said = agent.communicate(timeout=60)[0]
    finally:
        agent.kill()
        agent.wait()
    assert agent.returncode == 0
    assert said.splitlines()[-1] == "Stopped."
    assert not (tmp_path / "agent.json").exists()
