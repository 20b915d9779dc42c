"""Who may connect: paired devices with 256-bit tokens, stored hashed, and the window in which one more can pair."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from desktop_agent.errors import NotFound, Unauthorized

WINDOW_SECONDS = 180
MAX_ATTEMPTS = 5
CODE_DIGITS = 4
LOCAL_DEVICE = "this-computer"
"""What this computer's own command lines are called where a device is meant."""


@dataclass(frozen=True)
class Device:
    """``token_hash`` is the hexadecimal SHA-256 of a random 256-bit token: nothing to guess, so no slow hash is needed.

    ``host`` is the address of this computer at which it paired; a browser knows its token at that address only.
    """

    id: str
    name: str
    paired: float
    token_hash: str
    host: str = ""


class DeviceStore:
    """Paired devices in one 0600 JSON file, which other processes of this user may change too. Safe for many threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._read: tuple[tuple[int, int, int], list[Device]] | None = None

    def all(self) -> list[Device]:
        """In the order of pairing."""
        try:
            stat = self._path.stat()
            version = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            with self._lock:
                if self._read is None or self._read[0] != version:
                    self._read = version, [Device(**fields) for fields in json.loads(self._path.read_text())]
                return list(self._read[1])
        except (OSError, ValueError, TypeError):
            return []

    def add(self, name: str, host: str = "") -> tuple[Device, str]:
        """Pair a device: it and the token that it must show from now on (returned only here)."""
        token = secrets.token_urlsafe(32)
        device = Device(secrets.token_hex(6), clean_name(name), time.time(), _hash(token), host)
        with self._lock:
            self._save([*self.all(), device])
        return device, token

    def rejoin(self, device_id: str, name: str, host: str = "") -> tuple[Device, str]:
        """A known device paired again: it keeps its id and its clips, its old token ends. Raises ``NotFound``."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            old = self.get(device_id)
            device = replace(old, name=clean_name(name), token_hash=_hash(token), host=host)
            self._save([device if other.id == device_id else other for other in self.all()])
        return device, token

    def get(self, device_id: str) -> Device:
        """Raises ``NotFound``."""
        for device in self.all():
            if device.id == device_id:
                return device
        raise NotFound(f"There is no paired device '{device_id}': 'python -m desktop_agent devices' lists them.")

    def find(self, token: str) -> Device | None:
        """The device that this token belongs to."""
        hashed = _hash(token)
        return next((device for device in self.all() if hmac.compare_digest(device.token_hash, hashed)), None)

    def revoke(self, device_id: str) -> Device:
        """Raises ``NotFound``."""
        with self._lock:
            device = self.get(device_id)
            self._save([other for other in self.all() if other.id != device_id])
        return device

    def _save(self, devices: list[Device]) -> None:
        write_private(self._path, json.dumps([asdict(device) for device in devices]).encode())


class PairingWindow:
    """A one-time token: three minutes, one use, five wrong attempts. ``clock`` is monotonic: the time of day plays no part."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._token: str | None = None
        self._ends = 0.0
        self._attempts = 0

    def open(self) -> str:
        """A new token; an earlier one ends."""
        with self._lock:
            self._token, self._ends, self._attempts = secrets.token_urlsafe(16), self._clock() + WINDOW_SECONDS, 0
            return self._token

    def close(self) -> None:
        with self._lock:
            self._token = None

    @property
    def is_open(self) -> bool:
        return self.token is not None

    @property
    def token(self) -> str | None:
        """The token that can be redeemed now."""
        with self._lock:
            return self._token if self._clock() < self._ends else None

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._ends - self._clock()) if self.is_open else 0.0

    def redeem(self, token: str) -> None:
        """Use the token up. Raises as ``redeemed``."""
        with self.redeemed(token):
            pass

    @contextmanager
    def redeemed(self, token: str) -> Iterator[None]:
        """Use the token up; what is done inside still happens in an open window: the door stays open for the one who enters.

        Raises ``Unauthorized`` and, after five wrong ones, closes the window.
        """
        with self._lock:
            if self._token is None or self._clock() >= self._ends:
                self._token = None
                raise Unauthorized(
                    "Pairing is not open: start it again on the computer and scan the new code.", code="pairing_closed"
                )
            if not hmac.compare_digest(self._token.encode(), token.encode()):
                self._attempts += 1
                if self._attempts >= MAX_ATTEMPTS:
                    self._token = None
                raise Unauthorized(
                    "This pairing code is not valid: scan the code that the computer shows now.", code="wrong_code"
                )
            try:
                yield
            finally:
                self._token = None


def short_code(token: str) -> str:
    """Four digits that both screens show, so that nobody pairs with the wrong computer unnoticed. They open nothing."""
    digest = hashlib.sha256(b"arcp short code " + token.encode()).digest()
    return f"{int.from_bytes(digest[:8]) % 10**CODE_DIGITS:0{CODE_DIGITS}d}"


def clean_name(name: str) -> str:
    """What a device calls itself, fit to be printed: at most 40 printable characters."""
    printable = "".join(character for character in name if character.isprintable())
    return " ".join(printable.split())[:40] or "phone"


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only this user can read (0600), whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    partial.replace(path)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
