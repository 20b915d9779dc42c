"""Who may connect: paired devices with 256-bit tokens, stored hashed, and the window in which one more can pair."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from desktop_agent.errors import NotFound, Unauthorized

WINDOW_SECONDS = 180
MAX_ATTEMPTS = 5


@dataclass(frozen=True)
class Device:
    """``token_hash`` is the hexadecimal SHA-256 of a random 256-bit token: nothing to guess, so no slow hash is needed."""

    id: str
    name: str
    paired: float
    token_hash: str


class DeviceStore:
    """Paired devices in one 0600 JSON file. Safe for many threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def all(self) -> list[Device]:
        """In the order of pairing."""
        try:
            return [Device(**fields) for fields in json.loads(self._path.read_text())]
        except (OSError, ValueError, TypeError):
            return []

    def add(self, name: str) -> tuple[Device, str]:
        """Pair a device: it and the token that it must show from now on (returned only here)."""
        token = secrets.token_urlsafe(32)
        device = Device(secrets.token_hex(6), name.strip()[:40] or "phone", time.time(), _hash(token))
        with self._lock:
            self._save([*self.all(), device])
        return device, token

    def find(self, token: str) -> Device | None:
        """The device that this token belongs to."""
        hashed = _hash(token)
        return next((device for device in self.all() if hmac.compare_digest(device.token_hash, hashed)), None)

    def revoke(self, device_id: str) -> Device:
        """Raises ``NotFound``."""
        with self._lock:
            devices = self.all()
            for device in devices:
                if device.id == device_id:
                    self._save([other for other in devices if other is not device])
                    return device
        raise NotFound(f"There is no paired device '{device_id}': 'python -m desktop_agent devices' lists them.")

    def _save(self, devices: list[Device]) -> None:
        write_private(self._path, json.dumps([asdict(device) for device in devices]).encode())


class PairingWindow:
    """A one-time token: three minutes, one use, five wrong attempts."""

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

    @property
    def is_open(self) -> bool:
        with self._lock:
            return self._token is not None and self._clock() < self._ends

    def redeem(self, token: str) -> None:
        """Use the token up. Raises ``Unauthorized`` and, after five wrong ones, closes the window."""
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
            self._token = None


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only this user can read (0600), whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(path.name + ".part")
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    partial.replace(path)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
