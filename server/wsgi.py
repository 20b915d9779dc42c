"""Running a WSGI application inside this process on cheroot: TLS, streamed bodies, slow senders cut off, a clean stop.

``desktop_agent/listener.py`` does some of this too: server and agent share no HTTP code.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cheroot import wsgi
from cheroot.server import HTTPConnection, HTTPRequest

from server.engine.client import answering, closed_by_peer
from server.tls import TlsAdapter

GRACE_SECONDS = 10.0
SLOWEST_BYTES_PER_SECOND = 32 << 10
"""A sender may take ``GRACE_SECONDS`` and then as long as it keeps up this rate: enough for a phone at the edge of a network."""
WATCH_SECONDS = 0.25
HEADER_BYTES = 32 << 10
BODY_BYTES = 256 << 20
"""Above every limit of the application, which refuses with a sentence; this one bounds what is read away unseen."""
DRAINED_BYTES = 64 << 10
IDLE_SECONDS = 30
BACKLOG = 256
LISTEN = "ARCP_LISTEN_FD"
"""Environment variable: a listening socket that the supervisor handed over."""


class _Request(HTTPRequest):
    """Bodies have a length that is known beforehand, and what an answer left unread of a large one is not read to its end."""

    def __init__(self, server: Any, connection: _Connection, *args: Any, **kwargs: Any) -> None:
        super().__init__(server, connection, *args, **kwargs)
        self.length = 0
        connection.request = self

    @property
    def unread(self) -> int:
        """Bytes of the body that are still to come."""
        return int(getattr(self.rfile, "remaining", 0))

    def read_request_headers(self) -> bool:
        if not super().read_request_headers():  # type: ignore[no-untyped-call]
            return False
        if self.chunked_read:
            self.simple_response("411 Length Required")
            return False
        self.length = int(self.inheaders.get(b"Content-Length", 0))
        return True

    def send_headers(self) -> None:
        if self.unread > DRAINED_BYTES:
            self.close_connection = True
        super().send_headers()


class _Connection(HTTPConnection):
    RequestHandlerClass = _Request
    request: _Request | None = None

    def communicate(self) -> bool:
        self.request = None
        with self.server.slow_senders.watching(self), answering(lambda: closed_by_peer(self.socket)):
            keep = bool(super().communicate())  # type: ignore[no-untyped-call]
        if not keep and self.request is not None and self.request.unread > DRAINED_BYTES:
            self._linger()
        return keep

    @property
    def received(self) -> int | None:
        """Bytes of the body that have come; None when nothing more is awaited."""
        request = self.request
        if request is None or not request.ready:
            return 0
        return request.length - request.unread if request.unread else None

    def _linger(self) -> None:
        """Let the answer arrive before the connection is reset under what the client still sends."""
        end = time.monotonic() + 1.0
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.socket.settimeout(0.3)
            while time.monotonic() < end and self.socket.recv(1 << 16):
                pass


class _SlowSenders:
    """Ends the reading of requests that drip; the application then answers that the body broke off."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: dict[_Connection, float] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="arcp-slow-senders")
        self._thread.start()

    @contextmanager
    def watching(self, connection: _Connection) -> Iterator[None]:
        with self._lock:
            self._since[connection] = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                del self._since[connection]

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._closed.wait(WATCH_SECONDS):
            now = time.monotonic()
            with self._lock:
                for connection, since in self._since.items():
                    received = connection.received
                    if received is not None and now - since > GRACE_SECONDS + received / SLOWEST_BYTES_PER_SECOND:
                        with contextlib.suppress(OSError):
                            socket.socket.shutdown(connection.socket, socket.SHUT_RD)


class _Server(wsgi.Server):
    ConnectionClass = _Connection
    max_request_header_size = HEADER_BYTES
    max_request_body_size = BODY_BYTES
    slow_senders: _SlowSenders

    def bind(self, family: int, type: int, proto: int = 0) -> socket.socket:
        """The supervisor's socket where there is one, else a new one."""
        if LISTEN not in os.environ:
            bound: socket.socket = super().bind(family, type, proto)
            return bound
        self.socket = socket.socket(fileno=os.dup(int(os.environ[LISTEN])))
        self.bind_addr = self.socket.getsockname()
        return self.socket

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        """A peer that went away is no news."""
        level = level if level >= logging.ERROR else logging.DEBUG
        logging.getLogger("server").log(level, "%s", msg, exc_info=traceback)


@contextmanager
def serving(
    app: Any,
    host: str,
    port: int,
    *,
    threads: int = 10,
    before_stop: Callable[[], object] = lambda: None,
    tls: TlsAdapter | None = None,
) -> Iterator[tuple[str, int]]:
    """Serve the application in the background; yields the address (useful with port 0). Raises ``OSError`` if it is taken.

    A socket that the supervisor handed over is used instead of the address. ``before_stop`` runs while requests are still
    answered.
    """
    server = _Server(
        (host, port), app, numthreads=threads, request_queue_size=BACKLOG, timeout=IDLE_SECONDS, server_name=host
    )
    server.ssl_adapter = tls
    server.keep_alive_conn_limit = 4 * threads
    server.slow_senders = _SlowSenders()
    thread = threading.Thread(target=server.serve, name="arcp-server")
    try:
        server.prepare()
        thread.start()
        address = server.socket.getsockname()
        yield address[0], address[1]
        before_stop()
    finally:
        server.stop()
        if thread.ident is not None:
            thread.join()
        server.slow_senders.close()
