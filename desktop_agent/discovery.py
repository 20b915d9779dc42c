"""Multicast DNS service discovery (RFC 6762, RFC 6763): the agent announces itself and looks for segmentation servers.

Announcements are not authenticated: a hint where something may be, never who it is. No secrets go into TXT records.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Protocol

from desktop_agent.found import FoundServer
from desktop_agent.pinned import shown_fingerprint
from desktop_agent.tls import local_name

if TYPE_CHECKING:
    from zeroconf import ServiceInfo, Zeroconf

AGENT_TYPE = "_arcutpaste._tcp.local."
SERVER_TYPE = "_arcutserver._tcp.local."
LOOK_SECONDS = 2.0
ANSWER_MS = 3000
LABEL_BYTES = 63


@dataclass(frozen=True)
class Announced:
    """Where the agent can be reached now: addresses and port of its listener for phones."""

    addresses: tuple[str, ...]
    port: int


class ServerList(Protocol):
    """Who hears of segmentation servers that come and go."""

    def seen(self, server: FoundServer) -> None: ...

    def gone(self, server_id: str) -> None: ...


class Discovery:
    """Announces what ``announced()`` says as long as it says something, and reports to ``servers`` what it finds.

    Runs in its own thread until ``close``; a network without multicast is logged and borne.
    """

    def __init__(
        self,
        name: str,
        announced: Callable[[], Announced | None],
        servers: ServerList | None = None,
        interfaces: list[str] | None = None,
    ) -> None:
        self._name, self._announced, self._servers = name, announced, servers
        self._interfaces = interfaces
        self._id = secrets.token_hex(4)
        self._ids: dict[str, str] = {}
        self._new: list[tuple[str, bool]] = []
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="arcp-discovery")
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        from zeroconf import InterfaceChoice, ServiceBrowser, Zeroconf

        try:
            zeroconf = Zeroconf(interfaces=self._interfaces or InterfaceChoice.All)
        except OSError as error:
            logging.getLogger("desktop_agent").info("no multicast here (%s): phones and servers need an address", error)
            return
        browser = ServiceBrowser(zeroconf, SERVER_TYPE, handlers=[self._changed]) if self._servers else None
        try:
            self._serve(zeroconf)
        finally:
            if browser is not None:
                browser.cancel()
            zeroconf.close()

    def _serve(self, zeroconf: Zeroconf) -> None:
        told: Announced | None = None
        info: ServiceInfo | None = None
        while not self._closed.is_set():
            now = self._announced()
            if now != told:
                if info is not None:
                    zeroconf.unregister_service(info)
                info = self._info(now) if now else None
                if info is not None:
                    zeroconf.register_service(info, allow_name_change=True)
                told = now
            while self._new:
                self._look(zeroconf, *self._new.pop(0))
            self._wake.wait(LOOK_SECONDS)
            self._wake.clear()
        if info is not None:
            zeroconf.unregister_service(info)

    def _info(self, announced: Announced) -> ServiceInfo:
        from zeroconf import ServiceInfo

        suffix = f" {self._id}"
        label = self._name.replace(".", " ").encode()[: LABEL_BYTES - len(suffix)].decode(errors="ignore") + suffix
        return ServiceInfo(
            AGENT_TYPE,
            f"{label}.{AGENT_TYPE}",
            port=announced.port,
            parsed_addresses=list(announced.addresses),
            server=f"{local_name()}.",
            properties={"txtvers": "1", "id": self._id, "version": _version(), "path": "/"},
        )

    def _changed(self, zeroconf: Any, service_type: str, name: str, state_change: Any) -> None:
        """Called in zeroconf's thread: the looking happens in ours."""
        from zeroconf import ServiceStateChange

        self._new.append((name, state_change is not ServiceStateChange.Removed))
        self._wake.set()

    def _look(self, zeroconf: Zeroconf, name: str, there: bool) -> None:
        if self._servers is None:
            return
        if not there:
            server_id = self._ids.pop(name, None)
            if server_id is not None:
                self._servers.gone(server_id)
            return
        info = zeroconf.get_service_info(SERVER_TYPE, name, ANSWER_MS)
        server = describe(info) if info is not None else None
        if server is not None:
            self._ids[name] = server.id
            self._servers.seen(server)


def describe(info: ServiceInfo) -> FoundServer | None:
    """A server from its announcement and the certificate that it shows; None where it speaks no https or answers nowhere."""
    fields = _text(info)
    if fields.get("txtvers") != "1" or not fields.get("id") or info.port is None:
        return None
    path = fields.get("path", "/").rstrip("/")
    if path and not (path.startswith("/") and path.replace("/", "").replace("-", "").replace("_", "").isalnum()):
        return None
    for address in info.parsed_addresses():
        host = f"[{address}]" if ":" in address else address
        try:
            fingerprint = shown_fingerprint(address, info.port)
        except OSError:
            continue
        label = info.name.removesuffix(f".{SERVER_TYPE}")
        name = "".join(character for character in label if character.isprintable())[:60]
        return FoundServer(fields["id"][:40], name, f"https://{host}:{info.port}{path}", fingerprint)
    return None


def _text(info: ServiceInfo) -> dict[str, str]:
    """TXT records as text; what is no ASCII is not ours."""
    return {
        key.decode("ascii", "replace").lower(): (value or b"").decode("ascii", "replace")
        for key, value in info.properties.items()
    }


def _version() -> str:
    try:
        return version("ar-copy-paste")
    except PackageNotFoundError:
        return "unknown"
