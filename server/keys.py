"""API keys: 256 random bits each, of which only the hash is kept."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from server.errors import BadInput
from server.home import home

PREFIX = "arcp_"


@dataclass(frozen=True)
class Key:
    """``hash`` is the hexadecimal SHA-256 of a key of 256 random bits: nothing to guess, so no slow hash is needed."""

    id: str
    name: str
    created: float
    hash: str


class KeyStore:
    """Keys in one 0600 JSON file; as long as the file exists, a key is needed, also when the last one was revoked."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or home() / "server-keys.json"
        self._lock = threading.Lock()
        self._read: tuple[tuple[int, int, int], list[Key]] | None = None

    @property
    def required(self) -> bool:
        return self.path.exists()

    def all(self) -> list[Key]:
        """In the order of making. Changes by other processes are seen. Raises ``BadInput`` for a damaged file."""
        try:
            stat = self.path.stat()
            version = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            with self._lock:
                if self._read is None or self._read[0] != version:
                    self._read = version, [Key(**fields) for fields in json.loads(self.path.read_text())]
                return list(self._read[1])
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as error:
            raise BadInput(f"{self.path} cannot be read as a list of keys ({error}): repair or remove it.") from error

    def add(self, name: str) -> tuple[Key, str]:
        """A new key and the secret that its holder sends (returned only here)."""
        secret = PREFIX + secrets.token_urlsafe(32)
        key = Key(secrets.token_hex(4), "".join(c for c in name if c.isprintable())[:60], time.time(), _hash(secret))
        self._save([*self.all(), key])
        return key, secret

    def revoke(self, key_id: str) -> Key:
        """Raises ``BadInput`` where there is none of that id."""
        known = {key.id: key for key in self.all()}
        revoked = known.pop(key_id, None)
        if revoked is None:
            raise BadInput(f"There is no key '{key_id}': 'python -m server keys list' shows them.")
        self._save(list(known.values()))
        return revoked

    def find(self, secret: str) -> Key | None:
        """The key of that secret; every stored hash is compared, each in constant time."""
        hashed = _hash(secret)
        found = None
        for key in self.all():
            if hmac.compare_digest(key.hash, hashed):
                found = key
        return found

    def _save(self, keys: list[Key]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = self.path.with_name(self.path.name + f".{secrets.token_hex(4)}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump([asdict(key) for key in keys], file)
        partial.replace(self.path)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
