"""Putting the agent together and serving it: collaborators from options, listeners, the file by which local commands find it."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from desktop_agent.access import Access
from desktop_agent.agent import Agent
from desktop_agent.app import create_app
from desktop_agent.basnet_http import open_server
from desktop_agent.board import BoardStore, create_board
from desktop_agent.clips import ClipStore
from desktop_agent.desk import Tickets, create_desk
from desktop_agent.devices import DeviceStore, PairingWindow, write_private
from desktop_agent.discovery import Discovery
from desktop_agent.errors import AgentError
from desktop_agent.found import FoundSegmentation
from desktop_agent.home import home
from desktop_agent.lan import LanFace
from desktop_agent.legacy import PORT as LEGACY_PORT
from desktop_agent.legacy import legacy_listening
from desktop_agent.listener import listening
from desktop_agent.on_screen import OnScreen
from desktop_agent.overlay import open_overlay
from desktop_agent.oversight import Oversight
from desktop_agent.pairing import Invitation, Inviter
from desktop_agent.paste.registry import open_drivers
from desktop_agent.screen import ScreenSource, open_screen
from desktop_agent.segmentation import EmbeddedSegmentation
from desktop_agent.tls import Certificate, given_certificate

DEFAULT_PORT = 8765
ENDPOINT_FILE = "agent.json"


@dataclass(frozen=True)
class Options:
    """What ``python -m desktop_agent`` was started with. ``host`` is where the local network is served (https, ``port`` + 1);
    ``legacy_client`` is the one address at which the 2020 prototype's app is answered."""

    server: str | None = None
    server_key: str | None = None
    host: str = "0.0.0.0"
    port: int = DEFAULT_PORT
    name: str = "this computer"
    lan: bool = True
    screen: str = "auto"
    certificate: Path | None = None
    key: Path | None = None
    legacy_client: str | None = None
    ghost: bool = True
    markers: bool = True


@dataclass(frozen=True, eq=False)
class Running:
    """A served agent. ``url`` is the loopback address, ``lan_url`` the one for phones (None while nothing listens there),
    ``legacy_port`` the one of the prototype's app."""

    agent: Agent
    access: Access
    screen: ScreenSource
    url: str
    lan: LanFace | None
    inviter: Inviter
    tickets: Tickets
    legacy_port: int | None = None

    @property
    def lan_url(self) -> str | None:
        return self.lan.url if self.lan else None

    @property
    def certificate(self) -> Certificate | None:
        return self.lan.certificate if self.lan else None

    def invite(self) -> Invitation:
        """Open the pairing window."""
        return self.inviter.invite()

    def window_url(self) -> str:
        """This computer's own window, with a ticket that is good once."""
        return f"{self.url}/desk#{self.tickets.issue()}"


@contextmanager
def running(options: Options) -> Iterator[Running]:
    """The agent, serving until the context ends. Raises ``AgentError`` with what to do where a port or a screen is not there."""
    screen = open_screen(options.screen)
    found = None if options.server else FoundSegmentation(EmbeddedSegmentation(), home() / "server.json")
    segmentation = found or open_server(options.server or "", options.server_key)
    boards = BoardStore(home() / "board")
    with ExitStack() as stack:
        drivers = stack.enter_context(open_drivers(screen, boards))
        clips = ClipStore(home() / "clips")
        overlay = open_overlay(screen) if options.ghost or options.markers else None
        oversight = Oversight(home() / "settings.json")
        agent = Agent(
            segmentation=segmentation,
            screen=screen,
            clips=clips,
            on_screen=OnScreen(screen, clips, overlay, ghost=options.ghost, markers=options.markers),
            choose_driver=drivers.choose,
            windows=drivers.windows,
            oversight=oversight,
        )
        stack.callback(agent.close)
        access = Access(
            devices=DeviceStore(home() / "devices.json"),
            pairing=PairingWindow(),
            local_token=secrets.token_urlsafe(32),
        )
        stack.callback(segmentation.close)
        inviter, tickets = Inviter(access), Tickets()
        app = create_app(agent, access, name=options.name, board=create_board(boards))
        desk = create_desk(access, inviter, agent.clips, tickets, options.name, found, oversight, agent.put)
        app.register_blueprint(desk)
        port = stack.enter_context(listening(app, "127.0.0.1", options.port))
        url = f"http://127.0.0.1:{port}"
        lan = None
        if options.lan:
            lan_port = port + 1 if options.port else 0
            lan = LanFace(app, access, options.host, lan_port, home() / "tls", _given_certificate(options))
            stack.callback(lan.close)
            discovery = Discovery(options.name, lan.announced, found)
            stack.callback(discovery.close)
        inviter.serve(url, lan)
        legacy = None
        if options.legacy_client:
            legacy_port = LEGACY_PORT if options.port else 0
            legacy = stack.enter_context(
                legacy_listening(agent, access, options.legacy_client, legacy_port, lan=options.lan)
            )
        stack.callback(oversight.close)  # before the listeners, which wait for their requests
        stack.enter_context(_findable(url, access.local_token))
        yield Running(agent, access, screen, url, lan, inviter, tickets, legacy)


def find_running() -> tuple[str, str] | None:
    """Address and token of the agent that runs as this user on this computer."""
    try:
        fields = json.loads((home() / ENDPOINT_FILE).read_text())
        os.kill(int(fields["pid"]), 0)
        return str(fields["url"]), str(fields["token"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def ask_running(
    path: str, fields: dict[str, Any] | None = None, picture: bytes | None = None, seconds: float = 20
) -> dict[str, Any]:
    """Ask the agent of this computer, as its owner, with ``fields`` as JSON or a ``picture`` as the file field ``image``.

    ``agent`` in the answer is its address. Raises ``AgentError``.
    """
    import requests

    found = find_running()
    if found is None:
        raise AgentError("No agent runs here: start 'python -m desktop_agent'.", code="not_running")
    url, token = found
    try:
        answer = requests.post(
            f"{url}{path}",
            json=(fields or {}) if picture is None else None,
            files=None if picture is None else {"image": picture},
            headers={"Authorization": f"Bearer {token}"},
            timeout=seconds,
        )
        told: dict[str, Any] = answer.json()
    except (requests.RequestException, ValueError) as error:
        raise AgentError(f"The agent at {url} does not answer: start it again.", code="not_running") from error
    if answer.status_code != 200:
        raise AgentError(str(told["errors"][0]["detail"]), code=str(told["errors"][0]["code"]))
    return {**told, "agent": url}


@contextmanager
def _findable(url: str, token: str) -> Iterator[None]:
    path = home() / ENDPOINT_FILE
    write_private(path, json.dumps({"url": url, "token": token, "pid": os.getpid()}).encode())
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _given_certificate(options: Options) -> Certificate | None:
    if options.certificate is None or options.key is None:
        return None
    return given_certificate(options.certificate, options.key)
