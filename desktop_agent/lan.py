"""The listener for phones on the local network: open only while somebody may use it, and following this computer's addresses."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from desktop_agent.access import LOOPBACK, Access
from desktop_agent.discovery import Announced
from desktop_agent.errors import AgentError
from desktop_agent.listener import TlsAdapter, listening
from desktop_agent.tls import Certificate, local_addresses, local_name, own_certificate

LOOK_SECONDS = 1.0


class LanFace:
    """Serves https on ``host``:``port`` while pairing is open or a device is paired. ``close`` ends it.

    ``given`` is the user's own certificate; without it one is made for the current addresses in ``folder``.
    """

    def __init__(
        self,
        app: Any,
        access: Access,
        host: str,
        port: int,
        folder: Path,
        given: Certificate | None = None,
        addresses: Callable[[], list[str]] = local_addresses,
    ) -> None:
        self._app, self._access, self._host, self._port = app, access, host, port
        self._folder, self._given, self._find_addresses = folder, given, addresses
        self._lock = threading.RLock()
        self._open: ExitStack | None = None
        self._adapter: TlsAdapter | None = None
        self._complained: str | None = None
        self.certificate: Certificate | None = None
        self.addresses: list[str] = []
        self.refresh()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="arcp-lan")
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        with self._lock:
            self._stop()

    @property
    def is_open(self) -> bool:
        return self._open is not None

    @property
    def url(self) -> str | None:
        """The address for phones; None while nothing listens there."""
        with self._lock:
            return f"https://{self.addresses[0]}:{self._port}" if self._open and self.addresses else None

    def announced(self) -> Announced | None:
        """What the network may know: where this listener is, while it is open."""
        with self._lock:
            return Announced(tuple(self.addresses), self._port) if self._open and self.addresses else None

    def refresh(self) -> None:
        """Look at the addresses, the devices and the pairing window now. Raises ``AgentError`` where the port is taken."""
        with self._lock:
            addresses = self._find_addresses()
            if addresses != self.addresses:
                self.addresses = addresses
                if addresses:
                    self._certify()
            wanted = bool(addresses) and (self._access.pairing.is_open or bool(self._access.devices.all()))
            if wanted and self._open is None:
                self._start()
            elif not wanted and self._open is not None:
                self._stop()

    def _certify(self) -> None:
        self.certificate = self._given or own_certificate(self._folder, self.addresses)
        self._access.authority = self.certificate.authority
        self._access.hosts = LOOPBACK | {local_name(), local_name().removesuffix(".local"), *self.addresses}
        if self._adapter is None:
            self._adapter = TlsAdapter(self.certificate)
        else:
            self._adapter.renew(self.certificate)

    def _start(self) -> None:
        with ExitStack() as stack:
            self._port = stack.enter_context(listening(self._app, self._host, self._port, self._adapter))
            self._open = stack.pop_all()
        self._access.named_origin = f"https://{local_name()}:{self._port}"

    def _stop(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open = None
        self._access.named_origin = None

    def _watch(self) -> None:
        while not self._closed.wait(LOOK_SECONDS):
            try:
                self.refresh()
            except AgentError as error:
                if error.message != self._complained:
                    self._complained = error.message
                    logging.getLogger("desktop_agent").warning("%s", error.message)
