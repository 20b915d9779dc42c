"""A parent that keeps one server process alive. It owns the listening socket: new clients wait out a crash in its backlog."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType

from server.engine.service import DRAIN_SECONDS, LIFELINE
from server.errors import BadOption
from server.wsgi import BACKLOG, LISTEN

STEADY_SECONDS = 10.0
"""A process that lived this long is started again at once; one that did not, after a growing pause."""
LONGEST_PAUSE = 30.0


def supervise(command: Sequence[str], host: str, port: int) -> int:
    """Runs ``command`` with the socket of ``host``:``port`` until a signal ends it; returns the exit code.

    A command that fails before it was ever ready is not tried again. Raises ``OSError`` for a taken port, ``BadOption`` where
    sockets cannot be handed over.
    """
    if os.name != "posix":
        raise BadOption("--supervise needs Linux or macOS: on Windows let the service manager restart the server.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=BACKLOG) as listener:
        return _Supervisor(command, listener).run()


class _Supervisor:
    def __init__(self, command: Sequence[str], listener: socket.socket) -> None:
        self._command, self._listener = command, listener
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = False

    def run(self) -> int:
        previous = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            return self._keep_alive()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _keep_alive(self) -> int:
        was_ready, pause = False, 0.0
        while True:
            started = time.monotonic()
            ready, code = self._run_child()
            was_ready = was_ready or ready
            if self._stopping or code == 0 or not was_ready:
                return 0 if self._stopping else code
            pause = (
                0.0 if ready and time.monotonic() - started > STEADY_SECONDS else min(2 * pause + 0.25, LONGEST_PAUSE)
            )
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            print(f"The server ended ({how}); starting it again in {pause:g} s.", file=sys.stderr, flush=True)
            again = time.monotonic() + pause
            while not self._stopping and time.monotonic() < again:
                time.sleep(min(pause, 0.25))
            if self._stopping:
                return 0

    def _run_child(self) -> tuple[bool, int]:
        """(whether it got ready, its exit code)."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                environment = os.environ | {LISTEN: str(self._listener.fileno()), LIFELINE: str(theirs.fileno())}
                self._child = subprocess.Popen(
                    self._command, pass_fds=(self._listener.fileno(), theirs.fileno()), env=environment
                )
            ready = bool(ours.recv(5))  # empty when it died before
            return ready, self._child.wait()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Lets the child finish what it began, then ends it."""
        self._stopping = True
        child = self._child
        if child is None:
            return
        child.terminate()
        late = threading.Timer(DRAIN_SECONDS + 3, child.kill)
        late.daemon = True
        late.start()
