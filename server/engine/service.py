"""Serving until a signal says stop: warm up first, answer what was begun last."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from server.engine.engine import Engine, running
from server.heap import share_heap
from server.tls import TlsAdapter
from server.wsgi import serving

SPARE_THREADS = 16
"""HTTP threads beyond the queue's length: a full queue still leaves some to say that it is full, and that the server lives."""
DRAIN_SECONDS = 25.0
"""Kubernetes kills after 30."""
LIFELINE = "ARCP_LIFELINE_FD"
"""Environment variable: a socket to the supervisor."""


def serve(
    app: Any,
    engine: Engine,
    host: str,
    port: int,
    announce: Callable[[str, int], None],
    tls: TlsAdapter | None = None,
) -> None:
    """Warm the engine up, then answer until SIGTERM, Ctrl+C or the supervisor's end. Raises ``OSError`` for a taken port."""
    share_heap()
    stop = _Stop()
    previous = {number: signal.signal(number, stop.on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with (
            running(engine),
            serving(
                app,
                host,
                port,
                threads=engine.options.queue + SPARE_THREADS,
                before_stop=lambda: engine.drain(DRAIN_SECONDS),
                tls=tls,
            ) as address,
        ):
            announce(*address)
            _tell_supervisor(stop)
            while not stop.asked:
                time.sleep(0.25)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class _Stop:
    """A plain flag: a signal's handler must not take a lock that the interrupted thread may hold."""

    asked = False

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        self.asked = True


def _tell_supervisor(stop: _Stop) -> None:
    """Says "ready"; whoever was started by a supervisor ends with it, however it ends."""
    if LIFELINE not in os.environ:
        return
    lifeline = socket.socket(fileno=int(os.environ.pop(LIFELINE)))
    lifeline.sendall(b"ready")

    def watch() -> None:
        with lifeline:
            lifeline.recv(1)
        stop.asked = True

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
