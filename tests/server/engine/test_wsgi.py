"""Slow senders, clients that leave, bodies that nobody reads."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable
from typing import Any

import pytest
import requests

from server import wsgi
from server.engine.client import client_gone
from server.wsgi import serving
from tests.server.engine.processes import until


def reading(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    """Answers how many bytes of the body came; reads it in pieces of 64 KiB, as werkzeug does."""
    left = total = int(environ.get("CONTENT_LENGTH") or 0)
    while left and (piece := environ["wsgi.input"].read(min(left, 1 << 16))):
        left -= len(piece)
    length = str(total - left).encode()
    start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(length)))])
    return [length]


def request(length: int) -> bytes:
    return f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()


def everything(connection: socket.socket) -> bytes:
    connection.settimeout(30)
    parts = []
    while part := connection.recv(4096):
        parts.append(part)
    return b"".join(parts)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wsgi, "GRACE_SECONDS", 0.3)
    monkeypatch.setattr(wsgi, "WATCH_SECONDS", 0.05)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("first", [b"", b"GET / HT", request(10)[:-2], request(5000) + b"abc"])
def test_whoever_drips_loses_the_connection(first: bytes) -> None:
    with serving(reading, "127.0.0.1", 0) as address, socket.create_connection(address) as dripping:
        dripping.sendall(first)
        answer = everything(dripping)
        assert (b"200" not in answer) or answer.endswith(b"3")  # the application saw the body break off


@pytest.mark.usefixtures("impatient")
def test_a_steady_sender_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wsgi, "SLOWEST_BYTES_PER_SECOND", 1000)
    with serving(reading, "127.0.0.1", 0) as address, socket.create_connection(address) as steady:
        steady.sendall(request(120_000) + bytes(110_000))  # good for 65 s
        time.sleep(1.0)
        steady.sendall(bytes(10_000))
        steady.shutdown(socket.SHUT_WR)
        assert everything(steady).endswith(b"120000")


def test_the_application_sees_that_the_client_left() -> None:
    begun, seen = threading.Event(), threading.Event()

    def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        gone = client_gone()
        assert gone is not None
        assert not gone()
        begun.set()
        until(gone, 30)
        seen.set()
        start("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    with serving(app, "127.0.0.1", 0) as address:
        leaving = socket.create_connection(address)
        leaving.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert begun.wait(30)
        leaving.close()
        assert seen.wait(30)
    assert client_gone() is None


def test_an_unread_body_is_not_read_to_its_end_and_the_answer_arrives() -> None:
    def refusing(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        start("403 Forbidden", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return [b"no"]

    with serving(refusing, "127.0.0.1", 0) as address, socket.create_connection(address) as greedy:
        greedy.sendall(request(200 << 20) + bytes(1000))
        answer = everything(greedy)
        assert b"403" in answer
        assert b"Connection: close" in answer


def test_a_body_without_a_length_is_refused() -> None:
    with serving(reading, "127.0.0.1", 0) as (host, port):
        answer = requests.post(f"http://{host}:{port}", data=iter([b"abc"]), timeout=30)
        assert answer.status_code == 411
        answer.close()


def test_many_connections_stay_open() -> None:
    with serving(reading, "127.0.0.1", 0, threads=10) as address:
        connections = [socket.create_connection(address) for _ in range(30)]
        for _ in range(2):
            for connection in connections:
                connection.sendall(request(3) + b"abc")
                answer = b""
                while not answer.endswith(b"\r\n\r\n3"):
                    answer += connection.recv(4096)
                    assert answer, "closed"
        for connection in connections:
            connection.close()
