"""Method calls on the session bus through gdbus, which comes with every GTK desktop."""

from __future__ import annotations

import subprocess

from desktop_agent.errors import PasteFailed

CALL_SECONDS = 10


def call(destination: str, path: str, method: str, *arguments: str) -> str:
    """Arguments and answer are GVariant text. Raises ``PasteFailed`` where nobody answers."""
    command = ["gdbus", "call", "--session", "--dest", destination, "--object-path", path, "--method", method]
    try:
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=CALL_SECONDS, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        raise PasteFailed("gdbus is missing: apt-get install libglib2.0-bin", code="no_session_bus") from None
    except subprocess.TimeoutExpired:
        raise PasteFailed(f"{destination} does not answer; a dialog may be open in it.", code="no_answer") from None
    if done.returncode != 0:
        raise PasteFailed(f"{destination} refused: {done.stderr.strip()[:200]}", code="no_session_bus")
    return done.stdout.strip()
