"""Load on a server: pictures whose answers are checked, and among them what strangers send."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from tests.server.conftest import png_bomb, saved

WIDTH, HEIGHT = 320, 240
BOUNDARY = "x-arcp-x"
Address = tuple[str, int]


@dataclass
class Outcome:
    """``wrong``: answers that were lost or somebody else's; ``statuses`` by kind of request."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[tuple[str, object]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, kind: str, status: object, wrong: str | None = None, seconds: float | None = None) -> None:
        with self.lock:
            self.statuses[kind, status] += 1
            if wrong:
                self.wrong.append(f"{kind}: {wrong}")
            if seconds is not None:
                self.seconds.append(seconds)

    def percentile(self, share: float) -> float:
        """Of the seconds that a good picture took."""
        return float(np.quantile(self.seconds, share))


def run_load(
    url: str, seconds: float, *, clients: int, hostile: float, pause: float = 0.02, seed: int = 0, slow: bool = True
) -> Outcome:
    """``clients`` send pictures one after the other; a share ``hostile`` of what they send is an attack (``slow`` ones too)."""
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or 0)
    outcome, end = Outcome(), time.monotonic() + seconds
    attacks = [attack for attack in ATTACKS if slow or attack[1] is not _slow]
    threads = [
        threading.Thread(
            target=_client,
            args=(address, end, random.Random(seed * 1000 + n), hostile, pause, outcome, attacks),
            name=f"arcp-load-{n}",
        )
        for n in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcome


def _client(
    address: Address,
    end: float,
    chance: random.Random,
    hostile: float,
    pause: float,
    outcome: Outcome,
    known: list[tuple[str, Callable[[Address], int | str]]],
) -> None:
    connection = http.client.HTTPConnection(*address, timeout=60)
    running: list[threading.Thread] = []
    while time.monotonic() < end:
        if chance.random() < hostile:
            # beside the good ones: a slow body must not hold up the client that measures
            attack = threading.Thread(target=_attack, args=(address, chance.choice(known), outcome), name="arcp-attack")
            attack.start()
            running.append(attack)
        connection = _good(connection, address, chance, outcome)
        time.sleep(pause * chance.random() * 2)
    connection.close()
    for attack in running:
        attack.join()


def _good(
    connection: http.client.HTTPConnection, address: Address, chance: random.Random, outcome: Outcome
) -> http.client.HTTPConnection:
    """One picture with a red rectangle; the answer must be that rectangle."""
    left, top = chance.randrange(0, 200), chance.randrange(0, 150)
    box = [left, top, left + chance.randrange(20, 100), top + chance.randrange(20, 80)]
    picture = np.full((HEIGHT, WIDTH, 3), (20, 60, 90), np.uint8)
    picture[box[1] : box[3], box[0] : box[2]] = (230, 10, 20)
    body = form({"crop": "true"}, saved(picture, "PNG"))
    start = time.perf_counter()
    try:
        connection.request("POST", "/v1/cut", body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})
        answer = connection.getresponse()
        data = answer.read()
    except (OSError, http.client.HTTPException) as error:
        outcome.note("good", "closed", repr(error))
        connection.close()
        return http.client.HTTPConnection(*address, timeout=60)
    seconds = time.perf_counter() - start
    if answer.status == 503 and answer.headers["Retry-After"]:
        outcome.note("good", 503)
    elif answer.status != 200:
        outcome.note("good", answer.status, data[:200].decode(errors="replace"))
    else:
        found = json.loads(answer.headers["X-Cutout"])["box"]
        size = Image.open(io.BytesIO(data)).size
        fits = found == box and size == (box[2] - box[0], box[3] - box[1])
        outcome.note("good", 200, None if fits else f"{found} for {box}", seconds)
    return connection


def form(values: dict[str, str], image: bytes) -> bytes:
    """A multipart body as browsers write it."""
    lines = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in values.items()
    ]
    head = "".join(lines) + f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="p"\r\n\r\n'
    return head.encode() + image + f"\r\n--{BOUNDARY}--\r\n".encode()


def _request(
    address: Address, body: bytes, path: str = "/v1/cut", kind: str = f"multipart/form-data; boundary={BOUNDARY}"
) -> int:
    connection = http.client.HTTPConnection(*address, timeout=60)
    try:
        connection.request("POST", path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def _head(length: int) -> bytes:
    return (
        f"POST /v1/cut HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def _raw(address: Address, *pieces: bytes, pause: float = 0.0, wait: bool = True) -> int | str:
    """Sends the pieces with pauses between; the status, or "closed"."""
    with socket.create_connection(address, timeout=60) as connection:
        with contextlib.suppress(OSError):
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
        if not wait:
            return "left"
        with contextlib.suppress(OSError):
            line = connection.recv(4096)
            if line.startswith(b"HTTP/1.1 "):
                return int(line.split()[1])
    return "closed"


def _photo() -> bytes:
    return saved(np.full((HEIGHT, WIDTH, 3), (230, 10, 20), np.uint8), "JPEG")


def _slow(address: Address) -> int | str:
    body = form({}, _photo())
    return _raw(address, _head(len(body)), *(body[at : at + 1] for at in range(24)), pause=0.5)


def _leaves_while_it_waits(address: Address) -> int | str:
    body = form({}, _photo())
    return _raw(address, _head(len(body)), body, wait=False)


def _text_field(path: str, name: str, value: str) -> Callable[[Address], int | str]:
    return lambda address: _request(address, f"{name}={value}".encode(), path, "application/x-www-form-urlencoded")


ATTACKS: list[tuple[str, Callable[[Address], int | str]]] = [
    ("bomb", lambda address: _request(address, form({}, png_bomb(30_000, 30_000)))),
    ("truncated", lambda address: _request(address, form({}, _photo()[:900]))),
    ("text", lambda address: _request(address, form({}, b"GIF89a no picture"))),
    ("empty", lambda address: _request(address, b"")),
    ("tap", lambda address: _request(address, form({"tap": "1e9,nan"}, _photo()))),
    ("model", lambda address: _request(address, form({"model": "../../etc/passwd"}, _photo()))),
    ("type", lambda address: _request(address, b'{"image": 1}', kind="application/json")),
    ("ssrf", _text_field("/v1.0/removebg", "image_url", "http://127.0.0.1:22/")),
    ("metadata", _text_field("/remove", "image_url", "http://169.254.169.254/latest/meta-data/")),
    ("base64", _text_field("/remove", "image_base64", "%%%%")),
    ("huge", lambda address: _raw(address, _head(10 << 30), b"x" * 1000)),
    ("garbage", lambda address: _raw(address, bytes(range(256)) * 4 + b"\r\n\r\n")),
    ("header", lambda address: _raw(address, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000)),
    ("slow body", _slow),
    ("leaves in the body", lambda address: _raw(address, _head(50_000), b"x" * 20_000, wait=False)),
    ("leaves while it waits", _leaves_while_it_waits),
]


def _attack(address: Address, attack: tuple[str, Callable[[Address], int | str]], outcome: Outcome) -> None:
    """An attack may be refused in any way but by a failure of the server's."""
    name, send = attack
    try:
        status: int | str = send(address)
    except (OSError, http.client.HTTPException):
        status = "closed"
    failed = status == 200 or (isinstance(status, int) and status >= 500 and status != 503)
    outcome.note(name, status, f"answered {status}" if failed else None)


def resident_bytes(pid: int) -> int:
    """The process's memory in RAM."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
