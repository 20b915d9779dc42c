"""Telling the local network that a segmentation server is here (multicast DNS, RFC 6762 and RFC 6763).

A hint, never an identity: agents offer what they find, and use it after a person has confirmed the certificate that it shows.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import secrets
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from server.about import installed_version
from server.tls import host_label

SERVER_TYPE = "_arcutserver._tcp.local."
LABEL_BYTES = 63


@contextlib.contextmanager
def announcing(
    name: str, identity: str, addresses: list[str], port: int, interfaces: list[str] | None = None
) -> Iterator[None]:
    """Announce until the end of the block; a network without multicast is logged and borne. TXT: txtvers, id, version, path."""
    stop = threading.Event()
    thread = threading.Thread(
        target=_announce, args=(name, identity, addresses, port, interfaces, stop), name="arcp-announce"
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def server_id(path: Path) -> str:
    """A random name that this installation keeps, so that agents know it again at another address."""
    try:
        kept = path.read_text().strip()
        if kept.isalnum():
            return kept
    except OSError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(made := secrets.token_hex(8))
    return made


def reachable_addresses(host: str) -> list[str]:
    """Where others in the local network reach a server that listens on ``host``: none for loopback, IPv4 for a wildcard."""
    if host not in {"0.0.0.0", "::", ""}:
        try:
            found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
        except OSError:
            return []
        return [address for address in dict.fromkeys(found) if not ipaddress.ip_address(address).is_loopback]
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # RFC 5737; nothing is sent, the kernel only chooses a route
        found.append(probe.getsockname()[0])
    with contextlib.suppress(OSError):
        found += [str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    return [address for address in dict.fromkeys(found) if not address.startswith("127.")]


def _announce(
    name: str,
    identity: str,
    addresses: list[str],
    port: int,
    interfaces: list[str] | None,
    stop: threading.Event,
) -> None:
    from zeroconf import Error, InterfaceChoice, ServiceInfo, Zeroconf

    label = name.replace(".", " ").encode()[:LABEL_BYTES].decode(errors="ignore")
    info = ServiceInfo(
        SERVER_TYPE,
        f"{label}.{SERVER_TYPE}",
        port=port,
        parsed_addresses=addresses,
        server=f"{host_label()}.local.",
        properties={"txtvers": "1", "id": identity, "version": installed_version(), "path": "/"},
    )
    try:
        zeroconf = Zeroconf(interfaces=interfaces or InterfaceChoice.All)
    except OSError as error:
        logging.getLogger("server").info("no multicast here (%s): agents need this server's address", error)
        return
    try:
        zeroconf.register_service(info, allow_name_change=True)
        stop.wait()
        zeroconf.unregister_service(info)
    except (Error, OSError) as error:
        logging.getLogger("server").info("not announced (%s): agents need this server's address", error)
    finally:
        zeroconf.close()
