"""Segmentation servers that were found in the network: offered, used once confirmed and pinned, replaced when they vanish."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from desktop_agent.devices import write_private
from desktop_agent.errors import NotFound, SegmentationFailed
from desktop_agent.segmentation import CutResult, RemoteSegmentation, Segmentation

RETRY_SECONDS = 30.0
HOP_CODES = frozenset({"server_unreachable", "server_changed", "server_foreign"})


@dataclass(frozen=True)
class FoundServer:
    """What multicast DNS told (a hint, never an identity), and the fingerprint of the certificate that was shown."""

    id: str
    name: str
    url: str
    fingerprint: str


class FoundSegmentation:
    """A ``Segmentation``: the confirmed server while it answers, else the embedded model, and ``notice`` says so.

    Photos never go to a server that the person has not confirmed on this computer, nor to one with another certificate.
    """

    def __init__(
        self,
        embedded: Segmentation,
        path: Path,
        connect: Callable[[FoundServer], Segmentation] = lambda server: RemoteSegmentation(
            server.url, fingerprint=server.fingerprint
        ),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._embedded, self._path, self._connect, self._clock = embedded, path, connect, clock
        self._lock = threading.Lock()
        self._found: dict[str, FoundServer] = {}
        self._confirmed = _read(path)
        self._remote: Segmentation | None = connect(self._confirmed) if self._confirmed else None
        self._down_until = 0.0
        self._trouble: str | None = None

    @property
    def name(self) -> str:
        """Who cuts now."""
        with self._lock:
            return self._remote.name if self._remote and not self._is_down() else self._embedded.name

    @property
    def notice(self) -> str | None:
        """Why the confirmed server is not used now."""
        with self._lock:
            return self._trouble if self._is_down() else None

    def cut(self, photo: bytes, *, tap: tuple[float, float] | None, model: str | None, mode: str) -> CutResult:
        """As ``Segmentation.cut``."""
        with self._lock:
            remote = None if self._is_down() else self._remote
        if remote is not None:
            try:
                return remote.cut(photo, tap=tap, model=model, mode=mode)
            except SegmentationFailed as error:
                if error.code not in HOP_CODES:
                    raise
                self._went_down(remote, error)
        return self._embedded.cut(photo, tap=tap, model=model, mode=mode)

    def seen(self, server: FoundServer) -> None:
        """A server was announced, perhaps the confirmed one at a new address; it is tried again at once."""
        with self._lock:
            self._found[server.id] = server
            known = self._confirmed
            if known is None or known.id != server.id or known.fingerprint != server.fingerprint:
                return
            self._down_until = 0.0
            if known.url != server.url:
                self._use(replace(known, url=server.url))

    def gone(self, server_id: str) -> None:
        """A server said goodbye."""
        with self._lock:
            self._found.pop(server_id, None)

    def confirm(self, server_id: str) -> None:
        """Use a found server from now on, with the certificate that it shows now. Raises ``NotFound``."""
        with self._lock:
            if server_id not in self._found:
                raise NotFound("This server has gone: start it again, then it is found again.")
            self._down_until = 0.0
            self._use(self._found[server_id])

    def forget(self) -> None:
        """Cut on this computer again."""
        with self._lock:
            self._use(None)

    def public(self) -> dict[str, Any]:
        """What the computer's own window shows."""
        name, notice = self.name, self.notice
        with self._lock:
            confirmed = self._confirmed
            servers = dict(self._found)
            if confirmed is not None:
                servers.setdefault(confirmed.id, confirmed)
            found = [
                {
                    **asdict(server),
                    "confirmed": confirmed is not None and confirmed == replace(server, name=confirmed.name),
                }
                for server in servers.values()
            ]
        return {
            "name": "this computer itself" if name == self._embedded.name else name,
            "notice": notice,
            "found": found,
        }

    def close(self) -> None:
        with self._lock:
            if isinstance(self._remote, RemoteSegmentation):
                self._remote.close()

    def _is_down(self) -> bool:
        return self._clock() < self._down_until

    def _use(self, server: FoundServer | None) -> None:
        if isinstance(self._remote, RemoteSegmentation):
            self._remote.close()
        self._confirmed = server
        self._remote = self._connect(server) if server else None
        write_private(self._path, json.dumps(asdict(server) if server else None).encode())

    def _went_down(self, remote: Segmentation, error: SegmentationFailed) -> None:
        changed = error.code == "server_changed"
        why = "shows another certificate than the confirmed one" if changed else "does not answer"
        message = f"The server {remote.name} {why}: photos are cut on the computer itself."
        with self._lock:
            self._down_until = self._clock() + RETRY_SECONDS
            self._trouble = message
        logging.getLogger("desktop_agent").warning("%s", message)


def _read(path: Path) -> FoundServer | None:
    try:
        fields = json.loads(path.read_text())
        return FoundServer(**fields) if fields else None
    except (OSError, ValueError, TypeError):
        return None
