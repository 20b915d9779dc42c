"""Putting the agent together and serving it: collaborators from options, listeners, the file by which local commands find it."""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cheroot import wsgi
from cheroot.ssl.builtin import BuiltinSSLAdapter

from desktop_agent.agent import Agent
from desktop_agent.app import Access, create_app
from desktop_agent.board import BoardStore, create_board
from desktop_agent.clips import ClipStore
from desktop_agent.devices import DeviceStore, PairingWindow, write_private
from desktop_agent.errors import AgentError
from desktop_agent.home import home
from desktop_agent.paste.registry import open_drivers
from desktop_agent.screen import ScreenSource, open_screen
from desktop_agent.segmentation import EmbeddedSegmentation, RemoteSegmentation, Segmentation
from desktop_agent.tls import Certificate, local_addresses, own_certificate

DEFAULT_PORT = 8765
ENDPOINT_FILE = "agent.json"


@dataclass(frozen=True)
class Options:
    """What ``python -m desktop_agent`` was started with. ``host`` is where the local network is served (https, ``port`` + 1)."""

    server: str | None = None
    server_key: str | None = None
    host: str = "0.0.0.0"
    port: int = DEFAULT_PORT
    name: str = "this computer"
    lan: bool = True
    screen: str = "auto"
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, eq=False)
class Running:
    """A served agent. ``url`` is the loopback address, ``lan_url`` the one for phones (None without the local network)."""

    agent: Agent
    access: Access
    screen: ScreenSource
    url: str
    lan_url: str | None
    certificate: Certificate | None

    def pairing_url(self) -> str:
        """Open the pairing window: the address to scan. The one-time token is in the fragment, which no request line carries."""
        return f"{self.lan_url or self.url}/#{self.access.pairing.open()}"


@contextmanager
def running(options: Options) -> Iterator[Running]:
    """The agent, serving until the context ends. Raises ``AgentError`` with what to do where a port or a screen is not there."""
    screen = open_screen(options.screen)
    segmentation: Segmentation = (
        RemoteSegmentation(options.server, options.server_key) if options.server else EmbeddedSegmentation()
    )
    boards = BoardStore(home() / "board")
    with ExitStack() as stack:
        drivers = stack.enter_context(open_drivers(screen, boards))
        agent = Agent(
            segmentation=segmentation,
            screen=screen,
            clips=ClipStore(home() / "clips"),
            choose_driver=drivers.choose,
            windows=drivers.windows,
        )
        stack.callback(agent.close)
        addresses = local_addresses() if options.lan else []
        access = Access(
            devices=DeviceStore(home() / "devices.json"),
            pairing=PairingWindow(),
            local_token=secrets.token_urlsafe(32),
            hosts=Access.hosts | set(addresses) | own_names(),
        )
        app = create_app(agent, access, name=options.name, board=create_board(boards))
        port = stack.enter_context(listening(app, "127.0.0.1", options.port))
        url = f"http://127.0.0.1:{port}"
        certificate = lan_url = None
        if addresses:
            certificate = _certificate(options, addresses)
            lan_port = stack.enter_context(listening(app, options.host, port + 1 if options.port else 0, certificate))
            lan_url = f"https://{addresses[0]}:{lan_port}"
        stack.enter_context(_findable(url, access.local_token))
        yield Running(agent, access, screen, url, lan_url, certificate)


def own_names() -> frozenset[str]:
    """The host names under which a phone may ask for this computer."""
    import socket

    host = socket.gethostname()
    return frozenset({host, f"{host}.local"})


@contextmanager
def listening(app: Any, host: str, port: int, certificate: Certificate | None = None) -> Iterator[int]:
    """Serve a WSGI application in a thread; yields the port. Raises ``AgentError`` where the port is taken."""
    server = wsgi.Server((host, port), app, numthreads=8, max=32, request_queue_size=32, timeout=20, server_name=host)
    if certificate is not None:
        server.ssl_adapter = BuiltinSSLAdapter(str(certificate.certificate), str(certificate.key))
    try:
        server.prepare()
    except OSError as error:
        raise AgentError(
            f"The agent cannot listen on {host}:{port} ({error}): is it running already? Or choose another --port.",
            code="port_taken",
        ) from error
    thread = threading.Thread(target=server.serve, name="arcp-agent")
    thread.start()
    try:
        yield int(server.bind_addr[1])
    finally:
        server.stop()
        thread.join()


def find_running() -> tuple[str, str] | None:
    """Address and token of the agent that runs as this user on this computer."""
    try:
        fields = json.loads((home() / ENDPOINT_FILE).read_text())
        os.kill(int(fields["pid"]), 0)
        return str(fields["url"]), str(fields["token"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _findable(url: str, token: str) -> Iterator[None]:
    path = home() / ENDPOINT_FILE
    write_private(path, json.dumps({"url": url, "token": token, "pid": os.getpid()}).encode())
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _certificate(options: Options, addresses: list[str]) -> Certificate:
    if options.certificate is None or options.key is None:
        return own_certificate(home() / "tls", addresses)
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    try:
        loaded = x509.load_pem_x509_certificate(options.certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise AgentError(
            f"{options.certificate} is not a readable PEM certificate: give --cert and --key files."
        ) from error
    return Certificate(options.certificate, options.key, loaded.fingerprint(hashes.SHA256()).hex())
