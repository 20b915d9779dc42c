"""Running a WSGI application inside this process on cheroot: TLS, streamed bodies, a clean stop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cheroot import wsgi


@contextmanager
def serving(app: Any, host: str, port: int, *, threads: int = 10) -> Iterator[tuple[str, int]]:
    """Serve the application in the background; yields the address (useful with port 0). Raises ``OSError`` if it is taken."""
    server = wsgi.Server((host, port), app, numthreads=threads, request_queue_size=64, timeout=30, server_name=host)
    server.prepare()
    thread = threading.Thread(target=server.serve, name="arcp-server")
    thread.start()
    try:
        yield server.bind_addr[0], server.bind_addr[1]
    finally:
        server.stop()
        thread.join()
