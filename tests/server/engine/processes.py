"""A real server in its own process."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
STARTS_WITHIN = 120.0
"""Seconds; a loaded machine imports slowly."""


class ServerProcess:
    """``url`` once it serves; ``lines`` is what it printed."""

    def __init__(self, *options: str, environment: dict[str, str] | None = None, module: str = "server") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, "--port", "0", *options],
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | (environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, name="arcp-test-output")
        self._reader.start()

    @property
    def url(self) -> str:
        return self.urls()[0]

    def urls(self) -> list[str]:
        """The address as it was announced, once for every start."""
        found = (re.search(r"http://\S+", line) for line in list(self.lines) if line.startswith("Serving"))
        return [match.group() for match in found if match]

    def child(self) -> int:
        """The process that a supervisor keeps alive."""
        pid = self.process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            self.process.wait(40)
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            self.lines.extend(output)


@contextlib.contextmanager
def server_process(
    *options: str, environment: dict[str, str] | None = None, module: str = "server"
) -> Iterator[ServerProcess]:
    """Serving when the block begins, ended after it."""
    server = ServerProcess(*options, environment=environment, module=module)
    try:
        until(lambda: server.urls() or server.process.poll() is not None)
        assert server.urls(), "".join(server.lines)
        yield server
    finally:
        server.close()


def until(condition: Callable[[], object], seconds: float = STARTS_WITHIN) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
