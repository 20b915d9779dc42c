"""The Photoshop driver against a stand-in that runs its few scripts, written from Adobe's documentation.

Adobe Photoshop JavaScript Reference: ``Application.executeAction``, ``ArtLayer`` (bounds, resize, rotate, translate, remove);
JavaScript Tools Guide: ``Folder.userData``. The remote connection (Photoshop Connection SDK): length, status, then 3DES of
version, transaction, type and body.
"""

from __future__ import annotations

import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Placement, Point
from desktop_agent.paste import photoshop_link
from desktop_agent.paste.driver import RGBA
from desktop_agent.paste.photoshop import PhotoshopDriver
from desktop_agent.paste.photoshop_link import ComPhotoshop, RemotePhotoshop, open_link
from desktop_agent.screen import RGB, PictureScreen
from desktop_agent.virtual_desktop import draw_desktop
from tests.desktop_agent.paste.fakes import MIDDLE, DrawnScreen, desk_without_hands, window_of
from tests.e2e.coffee import coffee

NUMBER = r"(-?\d+\.?\d*)"
BACKGROUND = draw_desktop()[100:900, 200:1500]
SHOWN = Point(620.0, 390.0)  # where the document's middle is on the screen


@dataclass
class StandIn:
    """A Photoshop with one document of 1000 x 700 pixels that is shown at ``zoom``."""

    userdata: Path
    zoom: float = 1.0
    document: bool = True
    locked: bool = False
    hidden: bool = False
    layer: Placement | None = None
    picture: RGBA | None = None
    scripts: list[str] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self.scripts = []

    def folder(self) -> Path:
        return self.userdata

    def run(self, script: str) -> str:
        self.scripts.append(script)
        if not self.document:
            return "none"
        if self.locked:
            return "failed"
        place = re.search(r'Folder\.userData\.fsName \+ "/arcp-cut-out-" \+ (\d+) \+ "\.png"', script)
        if place:
            bgra = cv2.imread(str(self.userdata / f"arcp-cut-out-{place[1]}.png"), cv2.IMREAD_UNCHANGED)
            self.picture = np.ascontiguousarray(bgra[..., [2, 1, 0, 3]])
            fit = min(1.0, 1000 / bgra.shape[1], 700 / bgra.shape[0])  # "resize image during place"
            self.layer = Placement(Point(500, 350), fit)
            return self._described()
        if "layer.remove()" in script:
            self.layer = None
            return "removed"
        assert self.layer is not None
        for percent in re.findall(rf"layer\.resize\({NUMBER}, \1, AnchorPosition\.MIDDLECENTER\)", script):
            self.layer = replace(self.layer, scale=self.layer.scale * float(percent) / 100)
        for degrees in re.findall(rf"layer\.rotate\({NUMBER}, AnchorPosition\.MIDDLECENTER\)", script):
            self.layer = replace(self.layer, rotation=self.layer.rotation + float(degrees))
        dx, dy = re.findall(rf'new UnitValue\({NUMBER}, "px"\)', script)
        self.layer = replace(self.layer, center=self.layer.center.shifted(float(dx), float(dy)))
        return self._described()

    def _described(self) -> str:
        assert self.layer is not None
        assert self.picture is not None
        columns = np.flatnonzero((self.picture[..., 3] >= 8).any(axis=0))
        width = float(columns[-1] + 1 - columns[0]) * self.layer.scale
        left = self.layer.center.x - width / 2
        return f"12,{left},{self.layer.center.y},{left + width},{self.layer.center.y},1000,700"

    def draw(self, picture: RGB) -> RGB:
        if self.layer is None or self.picture is None or self.hidden:
            return picture
        screen, center = PictureScreen(picture), self.layer.center
        screen.paste(self.picture, Placement(self.shown(center), self.zoom * self.layer.scale, self.layer.rotation))
        return screen.picture

    def shown(self, point: Point) -> Point:
        return SHOWN.shifted(self.zoom * (point.x - 500), self.zoom * (point.y - 350))


@pytest.mark.parametrize(("zoom", "scale", "rotation"), [(1.0, 0.6, 0.0), (0.5, 0.9, -28.0), (2.0, 1.3, 17.0)])
def test_lands_where_asked_at_any_zoom(tmp_path: Path, zoom: float, scale: float, rotation: float) -> None:
    photoshop = StandIn(tmp_path, zoom)
    screen = DrawnScreen(BACKGROUND, photoshop.draw)
    window, wanted = window_of(screen, "a.psd @ 50%", "Photoshop.exe"), Placement(MIDDLE, scale, rotation)
    driver = PhotoshopDriver(desk_without_hands(screen, window), photoshop)
    landing = driver.paste(coffee(240), wanted, window)
    assert photoshop.layer is not None
    on_screen = photoshop.shown(photoshop.layer.center)
    assert on_screen.distance(wanted.center) <= 0.5
    assert landing.landing_error_px == pytest.approx(on_screen.distance(wanted.center), abs=0.15)
    assert zoom * photoshop.layer.scale == pytest.approx(scale, rel=0.01)
    assert photoshop.layer.rotation == pytest.approx(rotation, abs=0.5)
    assert list(tmp_path.iterdir()) == [], "the picture's file stays behind"


def test_scripts_hold_constants_and_numbers_only(tmp_path: Path) -> None:
    """Whatever the cut-out, the window's title or the place: the scripts differ in their numbers alone."""
    shapes = []
    for title, at in (('a"; app.quit(); "', MIDDLE), ("b.psd", Point(800.5, 400.25))):
        photoshop = StandIn(tmp_path)
        screen = DrawnScreen(BACKGROUND, photoshop.draw)
        window = window_of(screen, title, "Photoshop")
        PhotoshopDriver(desk_without_hands(screen, window), photoshop).paste(coffee(200), Placement(at, 0.7, 9), window)
        shapes.append({re.sub(r"-?\d+\.?\d*", "#", script) for script in photoshop.scripts})
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(("broken", "code"), [({"document": False}, "no_document"), ({"locked": True}, "not_taken")])
def test_what_photoshop_refuses_is_told(tmp_path: Path, broken: dict[str, bool], code: str) -> None:
    photoshop = StandIn(tmp_path, **broken)
    screen = DrawnScreen(BACKGROUND, photoshop.draw)
    window = window_of(screen, "a.psd", "Photoshop.exe")
    with pytest.raises(PasteFailed) as failed:
        PhotoshopDriver(desk_without_hands(screen, window), photoshop).paste(coffee(200), Placement(MIDDLE), window)
    assert failed.value.code == code
    assert list(tmp_path.iterdir()) == []


def test_a_layer_that_is_not_seen_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("desktop_agent.paste.closed_loop.Watch.find", _never_seen)
    photoshop = StandIn(tmp_path, hidden=True)
    screen = DrawnScreen(BACKGROUND, photoshop.draw)
    window = window_of(screen, "a.psd", "Photoshop.exe")
    with pytest.raises(PasteFailed):
        PhotoshopDriver(desk_without_hands(screen, window), photoshop).paste(coffee(200), Placement(MIDDLE), window)
    assert photoshop.layer is None


def _never_seen(*_: object, **__: object) -> None:
    raise PasteFailed("nothing is seen", code="nothing_changed")


@contextmanager
def remote(answer: Callable[[str], str], password: str) -> Iterator[int]:
    """A Photoshop's end of the remote connection on a loopback port; status 1 for what it cannot decrypt."""
    from photoshop.protocol import ContentType, Protocol

    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            protocol = Protocol(password)
            with connection:
                try:
                    request = protocol.receive(connection)
                except (ValueError, AssertionError):
                    connection.sendall((12).to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes(8))
                    continue
                except (ConnectionError, OSError):
                    continue
                body = answer(request["body"].decode()).encode()
                protocol.send(connection, ContentType.SCRIPT, body, request["transaction"])
                connection.recv(1)

    thread = threading.Thread(target=serve, name="arcp-test-photoshop")
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.mark.filterwarnings("ignore:TripleDES")  # the protocol's own cipher, which the cryptography package has moved
def test_the_remote_connection_runs_scripts_and_tells_wrong_passwords() -> None:
    pytest.importorskip("photoshop")
    with remote(lambda script: script.upper(), "secret") as port:
        assert RemotePhotoshop("secret", port).run("1 + é") == "1 + É"
        with pytest.raises(PasteFailed) as failed:
            RemotePhotoshop("wrong", port).run("1")
    assert failed.value.code == "needs_permission"
    with pytest.raises(PasteFailed) as failed:
        RemotePhotoshop("secret", port).run("1")
    assert failed.value.code == "needs_permission"
    assert "Enable Remote Connections" in failed.value.message


class Application:
    """COM's ``Photoshop.Application``: DoJavaScript(javascript, arguments, execution mode) gives the script's value."""

    def __init__(self, busy: bool) -> None:
        self.busy = busy

    def doJavaScript(self, javascript: str) -> str:
        if self.busy:
            raise OSError(-2147417846, "The message filter indicated that the application is busy.")
        return f"ran {javascript}"


def test_com_runs_scripts_and_tells_a_busy_application() -> None:
    assert ComPhotoshop(Application(busy=False)).run("x") == "ran x"
    with pytest.raises(PasteFailed) as failed:
        ComPhotoshop(Application(busy=True)).run("x")
    assert failed.value.code == "no_answer"


def test_without_package_or_password_the_message_says_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ARCP_PHOTOSHOP_PASSWORD", "PHOTOSHOP_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PasteFailed) as failed:
        open_link()
    assert failed.value.code == "missing_package"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(PasteFailed) as failed:
        open_link()
    assert failed.value.code == "needs_permission"
    monkeypatch.setenv("ARCP_PHOTOSHOP_PASSWORD", "secret")
    assert isinstance(open_link(), RemotePhotoshop)
    monkeypatch.setattr(photoshop_link.sys, "platform", "win32")
    assert isinstance(open_link(), ComPhotoshop)
