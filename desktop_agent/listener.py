"""The agent's HTTP listener: cheroot with deadlines, so that slow or greedy strangers neither hold a thread nor fill the memory."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

from cheroot import wsgi
from cheroot.makefile import MakeFile
from cheroot.server import HTTPConnection, HTTPRequest
from cheroot.ssl import Adapter

from desktop_agent.errors import AgentError
from desktop_agent.tls import Certificate

ADMIT = "arcp.admit"
"""WSGI environment key of the function that grants a known device its time."""
STRANGER_SECONDS = 10.0
KNOWN_SECONDS = 120.0
HEADER_BYTES = 8 << 10
BODY_BYTES = 65 << 20
DRAINED_BYTES = 8 << 10
IDLE_SECONDS = 20
LINGER_SECONDS = 1.0
WATCH_SECONDS = 0.25


class Deadlines:
    """Ends connections that take too long to send their request, however steadily they drip."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reading: dict[GuardedConnection, float] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="arcp-deadlines")
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def grant(self, connection: GuardedConnection, seconds: float) -> None:
        with self._lock:
            self._reading[connection] = time.monotonic() + seconds

    def done(self, connection: GuardedConnection) -> None:
        with self._lock:
            self._reading.pop(connection, None)

    def _watch(self) -> None:
        while not self._closed.wait(WATCH_SECONDS):
            now = time.monotonic()
            with self._lock:
                late = [connection for connection, end in self._reading.items() if end < now]
                for connection in late:
                    del self._reading[connection]
            for connection in late:
                if connection.is_reading:
                    with contextlib.suppress(OSError):
                        socket.socket.shutdown(connection.socket, socket.SHUT_RDWR)


class GuardedRequest(HTTPRequest):
    """Bodies have a length that is known beforehand, and what an answer left unread is not read to its end."""

    def __init__(self, server: Any, connection: GuardedConnection, *args: Any, **kwargs: Any) -> None:
        super().__init__(server, connection, *args, **kwargs)
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
        return True

    def send_headers(self) -> None:
        if self.unread > DRAINED_BYTES:
            self.close_connection = True
        super().send_headers()


class GuardedConnection(HTTPConnection):
    """Shakes hands in the worker's thread, never in the one that accepts."""

    RequestHandlerClass = GuardedRequest
    request: GuardedRequest | None = None
    _greeted = False

    @property
    def is_reading(self) -> bool:
        return self.request is None or not self.request.ready or self.request.unread > 0

    def communicate(self) -> bool:
        deadlines: Deadlines = self.server.deadlines
        self.request = None
        deadlines.grant(self, STRANGER_SECONDS)
        try:
            if isinstance(self.socket, ssl.SSLSocket) and not self._greeted:
                self.socket.do_handshake()
                self._greeted = True
            keep = bool(super().communicate())  # type: ignore[no-untyped-call]
            if not keep and self.request is not None and self.request.unread > 0:
                self._linger()
            return keep
        except OSError:  # no TLS, an old version, or gone: there is nobody to answer
            return False
        finally:
            deadlines.done(self)

    def admit(self) -> None:
        self.server.deadlines.grant(self, KNOWN_SECONDS)

    def _linger(self) -> None:
        """Let the answer arrive before the connection is reset under what the client still sends."""
        end = time.monotonic() + LINGER_SECONDS
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.socket.settimeout(LINGER_SECONDS / 3)
            while time.monotonic() < end and self.socket.recv(1 << 16):
                pass


class GuardedGateway(wsgi.Gateway_10):
    def get_environ(self) -> dict[str, Any]:  # type: ignore[override]
        environ: dict[str, Any] = super().get_environ()  # type: ignore[no-untyped-call]
        environ[ADMIT] = self.req.conn.admit
        return environ


class GuardedServer(wsgi.Server):
    """``deadlines`` is set before it serves."""

    ConnectionClass = GuardedConnection
    max_request_header_size = HEADER_BYTES
    max_request_body_size = BODY_BYTES
    deadlines: Deadlines

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gateway = GuardedGateway

    @staticmethod
    def bind_socket(socket_: socket.socket, bind_addr: Any) -> socket.socket:
        """As cheroot's, which leaves the socket of a taken port open."""
        try:
            socket_.bind(bind_addr)
        except OSError:
            socket_.close()
            raise
        return socket_

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        """A peer that went away is no news."""
        level = level if level >= logging.ERROR else logging.DEBUG
        logging.getLogger("desktop_agent").log(level, "%s", msg, exc_info=traceback)


class TlsAdapter(Adapter):
    """TLS 1.2 and newer; ``renew`` changes the certificate for connections that come from then on."""

    def __init__(self, certificate: Certificate) -> None:
        super().__init__(str(certificate.certificate), str(certificate.key))
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.renew(certificate)

    def renew(self, certificate: Certificate) -> None:
        """Raises ``AgentError`` where certificate and key do not fit."""
        try:
            self.context.load_cert_chain(str(certificate.certificate), str(certificate.key), password=_no_password)
        except (OSError, ValueError) as error:
            raise AgentError(
                f"{certificate.certificate} and {certificate.key} do not work together ({error}): give a certificate and its own "
                "unencrypted key as PEM files.",
                code="bad_certificate",
            ) from error

    def bind(self, sock: socket.socket) -> socket.socket:
        return sock

    def wrap(self, sock: socket.socket) -> tuple[ssl.SSLSocket, dict[str, str]]:
        wrapped = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return wrapped, self.get_environ()

    def get_environ(self) -> dict[str, str]:
        return {"wsgi.url_scheme": "https", "HTTPS": "on"}

    def makefile(self, sock: Any, mode: str = "r", bufsize: int = -1) -> Any:
        return MakeFile(sock, mode, bufsize)


def _no_password() -> str:
    raise ValueError("the key is encrypted")


@contextlib.contextmanager
def listening(app: Any, host: str, port: int, tls: Certificate | TlsAdapter | None = None) -> Iterator[int]:
    """Serve a WSGI application in a thread; yields the port. Raises ``AgentError`` where the port is taken."""
    server = GuardedServer(
        (host, port), app, numthreads=8, max=32, request_queue_size=32, timeout=IDLE_SECONDS, server_name=host
    )
    server.ssl_adapter = TlsAdapter(tls) if isinstance(tls, Certificate) else tls
    try:
        server.prepare()
    except OSError as error:
        raise AgentError(
            f"The agent cannot listen on {host}:{port} ({error}): is it running already? Or choose another --port.",
            code="port_taken",
        ) from error
    server.deadlines = deadlines = Deadlines()
    thread = threading.Thread(target=server.serve, name="arcp-agent")
    thread.start()
    try:
        yield int(server.bind_addr[1])
    finally:
        server.stop()
        thread.join()
        deadlines.close()
