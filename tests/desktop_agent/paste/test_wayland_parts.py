"""Screen, input and clipboard of Wayland against a stand-in for the desktop portal on a real bus, written from its documentation.

xdg-desktop-portal, API Reference (flatpak.github.io/xdg-desktop-portal): Request, Session, RemoteDesktop (version 2), ScreenCast,
Screenshot, Clipboard (version 1). Not yet run on a Wayland desktop.
"""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from desktop_agent.errors import PasteFailed, ScreenUnavailable
from desktop_agent.geometry import Point, Rect
from desktop_agent.paste.clipboard_wayland import PortalClipboard, WlClipboard
from desktop_agent.portal import PATH, Portal
from desktop_agent.portal_session import DesktopSession
from desktop_agent.screen_wayland import PortalScreen
from desktop_agent.windows.wayland import WaylandProbe
from tests.e2e.desktop import missing_programs

dbus_fast = pytest.importorskip("dbus_fast")
pytestmark = [
    pytest.mark.app,
    pytest.mark.skipif(bool(missing_programs(["dbus-daemon"])), reason="not installed: apt-get install dbus-daemon"),
]


class StandIn:
    """A compositor's portal: two monitors of 960x540 units, captured at twice that; ``answers`` to requests, by method."""

    def __init__(self, address: str, folder: Path) -> None:
        self.address, self.folder = address, folder
        self.code = dict.fromkeys(("CreateSession", "SelectDevices", "SelectSources", "Start", "Screenshot"), 0)
        self.granted, self.with_clipboard = 3, True
        self.calls: list[tuple[str, list[Any]]] = []
        self.others = {"text/plain": b"before"}  # what another program has on the clipboard
        self.received: dict[str, bytes] = {}
        self.pictures = 0
        self._pipes: list[threading.Thread] = []
        self._ready, self._loop = threading.Event(), asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), name="arcp-fake")
        self._thread.start()
        assert self._ready.wait(30)

    def close(self) -> None:
        self.finish_pipes()
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(20)
        self._loop.close()

    def finish_pipes(self) -> None:
        for thread in self._pipes:
            thread.join(20)

    async def _serve(self) -> None:
        from dbus_fast.aio import MessageBus

        self._over = asyncio.Event()
        self._bus = await MessageBus(bus_address=self.address, negotiate_unix_fd=True).connect()
        self._bus.add_message_handler(self._handle)
        await self._bus.request_name("org.freedesktop.portal.Desktop")
        self._ready.set()
        await self._over.wait()
        self._bus.disconnect()
        await self._bus.wait_for_disconnect()

    def _handle(self, message: Any) -> Any:
        from dbus_fast import Message, MessageType

        if message.message_type is not MessageType.METHOD_CALL or message.path != PATH:
            return None
        member, body = message.member, message.body
        self.calls.append((member, body))
        if member in self.code:
            token = body[-1]["handle_token"].value
            request = f"{PATH}/request/{message.sender[1:].replace('.', '_')}/{token}"
            self._loop.call_soon(self._respond, request, member, body)
            return Message.new_method_return(message, "o", [request])
        if member == "RequestClipboard" and not self.with_clipboard:
            return Message.new_error(message, "org.freedesktop.DBus.Error.UnknownMethod", "No such interface")
        if member in ("SelectionWrite", "SelectionRead"):
            reading, writing = os.pipe()
            mine, theirs = (reading, writing) if member == "SelectionWrite" else (writing, reading)
            work = self._receive(body[1], mine) if member == "SelectionWrite" else self._send(body[1], mine)
            thread = threading.Thread(target=work, name="arcp-fake-pipe")
            thread.start()
            self._pipes.append(thread)
            sent = self._bus.send(
                Message(
                    message_type=MessageType.METHOD_RETURN,
                    reply_serial=message.serial,
                    destination=message.sender,
                    signature="h",
                    body=[0],
                    unix_fds=[theirs],
                )
            )
            sent.add_done_callback(lambda _: os.close(theirs))  # the other side has its own copy by then
            return True
        return Message.new_method_return(message)

    def _receive(self, serial: int, descriptor: int) -> Any:
        def read() -> None:
            with os.fdopen(descriptor, "rb") as pipe:
                self.received[str(serial)] = pipe.read()

        return read

    def _send(self, kind: str, descriptor: int) -> Any:
        def write() -> None:
            with os.fdopen(descriptor, "wb") as pipe:
                pipe.write(self.others[kind])

        return write

    def _respond(self, request: str, member: str, body: list[Any]) -> None:
        from dbus_fast import Variant

        results: dict[str, Any] = {}
        if member == "CreateSession":
            results["session_handle"] = Variant("s", f"{PATH}/session/1_1/{body[0]['session_handle_token'].value}")
        if member == "Start":
            places = [(40, (0, 0)), (41, (960, 0))]
            streams = [
                [node, {"position": Variant("(ii)", list(at)), "size": Variant("(ii)", [960, 540])}]
                for node, at in places
            ]
            results = {
                "devices": Variant("u", self.granted), "clipboard_enabled": Variant("b", self.with_clipboard),
                "restore_token": Variant("s", "token-2"), "streams": Variant("a(ua{sv})", streams),
            }  # fmt: skip
        if member == "Screenshot":
            self.pictures += 1
            path = self.folder / f"Screenshot {self.pictures}.png"
            picture = np.zeros((1080, 3840, 3), np.uint8)
            picture[:, 1920:] = (10, 200, 30)
            Image.fromarray(picture).save(path)
            results["uri"] = Variant("s", path.as_uri())
        self._signal(request, "org.freedesktop.portal.Request", "Response", "ua{sv}", [self.code[member], results])

    def _signal(self, path: str, interface: str, member: str, signature: str, body: list[Any]) -> None:
        from dbus_fast import Message

        self._bus.send(Message.new_signal(path, interface, member, signature, body))

    def signal(self, member: str, signature: str, *body: Any) -> None:
        """A signal of the clipboard's, from any thread."""
        self._loop.call_soon_threadsafe(
            self._signal, PATH, "org.freedesktop.portal.Clipboard", member, signature, list(body)
        )

    def of(self, member: str) -> list[list[Any]]:
        return [body for name, body in self.calls if name == member]


@pytest.fixture
def bus() -> Iterator[str]:
    command = ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().decode().strip()
        finally:
            process.terminate()


@pytest.fixture
def compositor(bus: str, tmp_path: Path) -> Iterator[StandIn]:
    served = StandIn(bus, tmp_path)
    try:
        yield served
    finally:
        served.close()


@pytest.fixture
def screen(compositor: StandIn) -> Iterator[PortalScreen]:
    made = PortalScreen(Portal(compositor.address))
    try:
        yield made
    finally:
        made.close()


def test_before_the_permission_the_desktop_is_one_monitor_and_no_picture_stays(
    compositor: StandIn, screen: PortalScreen, tmp_path: Path
) -> None:
    (shot,) = screen.grab()
    assert shot.monitor.rect == Rect(0, 0, 3840, 1080)
    assert tuple(shot.image[5, 3000]) == (10, 200, 30)
    assert list(tmp_path.glob("Screenshot*")) == []
    (window,) = WaylandProbe(screen.monitors).stack()
    assert window.rect == shot.monitor.rect


def test_the_permission_is_asked_once_and_monitors_are_measured(compositor: StandIn, screen: PortalScreen) -> None:
    from desktop_agent.input_wayland import PortalInput

    with PortalInput(screen.session, screen.maps).session() as session:
        session.move(Point(1920 + 100.2, 700.7))
        session.chord("Control_L", "v")
        session.click()
    assert [monitor.rect for monitor in screen.monitors()] == [Rect(0, 0, 1920, 1080), Rect(1920, 0, 1920, 1080)]
    (moved,) = compositor.of("NotifyPointerMotionAbsolute")
    assert moved[2:] == [41, 50.25, 350.25], "the pixel's middle, in units of the monitor's own stream"
    keys = [tuple(body[2:]) for body in compositor.of("NotifyKeyboardKeysym")]
    assert keys == [(0xFFE3, 1), (ord("v"), 1), (ord("v"), 0), (0xFFE3, 0)]
    assert [tuple(body[2:]) for body in compositor.of("NotifyPointerButton")] == [(0x110, 1), (0x110, 0)]
    (devices,) = compositor.of("SelectDevices")
    assert devices[1]["types"].value == 3
    assert "restore_token" not in devices[1]
    assert len(compositor.of("Start")) == 1
    first, second = (shot.image for shot in screen.grab())
    assert (first == 0).all()
    assert (second == (10, 200, 30)).all()


def test_the_next_start_needs_no_question(compositor: StandIn, private_home: Path) -> None:
    for _ in range(2):
        portal = Portal(compositor.address)
        try:
            assert DesktopSession(portal).handle.startswith(PATH)
        finally:
            portal.close()
    assert compositor.of("SelectDevices")[1][1]["restore_token"].value == "token-2"
    assert stat.S_IMODE((private_home / "portal-token").stat().st_mode) == 0o600


@pytest.mark.parametrize("method", ["CreateSession", "Start"])
def test_a_refused_permission_is_named(compositor: StandIn, screen: PortalScreen, method: str) -> None:
    compositor.code[method] = 1
    with pytest.raises(PasteFailed) as failed:
        screen.session.notify("NotifyPointerButton", "iu", 0x110, 1)
    assert failed.value.code == "needs_permission"
    assert "pointer" in failed.value.message.lower()


def test_pointer_without_keyboard_and_screenshots_refused_are_named(compositor: StandIn, screen: PortalScreen) -> None:
    compositor.granted, compositor.code["Screenshot"] = 2, 1
    with pytest.raises(PasteFailed) as failed:
        assert screen.session.handle
    assert failed.value.code == "needs_permission"
    with pytest.raises(ScreenUnavailable) as unavailable:
        screen.grab()
    assert unavailable.value.code == "needs_permission"


def test_the_picture_goes_to_who_asks_and_the_old_text_returns(compositor: StandIn, screen: PortalScreen) -> None:
    picture, clipboard = os.urandom(300_000), PortalClipboard(screen.session)
    handle = screen.session.handle
    theirs = {"mime_types": dbus_fast.Variant("as", ["text/plain"]), "session_is_owner": dbus_fast.Variant("b", False)}
    compositor.signal("SelectionOwnerChanged", "oa{sv}", handle, theirs)
    portal_has_heard(screen)
    with clipboard.offering({"image/png": picture}) as offer:
        assert compositor.of("SetSelection")[-1][1]["mime_types"].value == ["image/png"]
        assert not offer.taken("image/png", 0)
        compositor.signal("SelectionTransfer", "osu", handle, "image/png", 5)
        assert offer.taken("image/png", 30)
        compositor.signal("SelectionTransfer", "osu", handle, "text/html", 6)
        portal_has_heard(screen)
    compositor.finish_pipes()
    assert [5, True] in [body[1:] for body in compositor.of("SelectionWriteDone")]
    assert compositor.received["5"] == picture
    assert compositor.of("SetSelection")[-1][1]["mime_types"].value == ["text/plain"]


def portal_has_heard(screen: PortalScreen) -> None:
    """A call goes behind the signals that were sent before it, so that they have been handled when it returns."""
    screen.portal.call("Clipboard", "Ping", "")


def test_theft_is_noticed(compositor: StandIn, screen: PortalScreen) -> None:
    clipboard = PortalClipboard(screen.session)
    handle = screen.session.handle
    with clipboard.offering({"image/png": b"ours"}) as offer:
        compositor.signal(
            "SelectionOwnerChanged", "oa{sv}", handle, {"session_is_owner": dbus_fast.Variant("b", False)}
        )
        assert not offer.taken("image/png", 30)
        assert offer.stolen
    assert len(compositor.of("SetSelection")) == 1


def test_without_the_clipboard_portal_the_message_says_what_helps(compositor: StandIn, screen: PortalScreen) -> None:
    compositor.with_clipboard = False
    with pytest.raises(PasteFailed) as failed, PortalClipboard(screen.session).offering({"image/png": b"ours"}):
        pass
    assert failed.value.code == "needs_permission"
    assert "wl-clipboard" in failed.value.message


def test_a_bus_without_portal_is_told(bus: str) -> None:
    portal = Portal(bus)
    try:
        with pytest.raises(PasteFailed) as failed:
            portal.call("Clipboard", "SetSelection", "")
        assert failed.value.code == "needs_permission"
    finally:
        portal.close()
    with pytest.raises(ScreenUnavailable) as unavailable:
        Portal("unix:path=/nonexistent/bus")
    assert "xdg-desktop-portal" in unavailable.value.message


WL = """#!{python}
import pathlib, sys, time
here = pathlib.Path(__file__).parent
name, arguments = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
kind = arguments[arguments.index("--type") + 1] if "--type" in arguments else ""
if name == "wl-copy":
    (here / "kind").write_text(kind)
    (here / "data").write_bytes(sys.stdin.buffer.read())
    while "--foreground" in arguments and not (here / "stolen").exists():
        time.sleep(0.02)
elif "--list-types" in arguments:
    print((here / "kind").read_text())
else:
    sys.stdout.buffer.write((here / "data").read_bytes())
"""


def test_wl_copy_offers_the_picture_and_puts_the_old_text_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its manual page wl-clipboard(1): --foreground, --type, --list-types, --no-newline."""
    from tests.e2e.desktop import wait_for

    for name in ("wl-copy", "wl-paste"):
        (tmp_path / name).write_text(WL.format(python=sys.executable))
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "kind").write_text("text/plain")
    (tmp_path / "data").write_text("before")
    with WlClipboard().offering({"image/png": b"picture"}) as offer:
        wait_for(lambda: (tmp_path / "data").read_bytes() == b"picture", 30, "wl-copy has no picture")
        assert offer.taken("image/png", 0)
    assert ((tmp_path / "kind").read_text(), (tmp_path / "data").read_text()) == ("text/plain", "before")
    with WlClipboard().offering({"image/png": b"picture"}) as offer:
        (tmp_path / "stolen").touch()
        wait_for(lambda: offer.stolen, 30, "the theft was not noticed")
        (tmp_path / "data").write_text("theirs")
    assert (tmp_path / "data").read_text() == "theirs"
