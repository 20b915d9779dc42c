"""One remote desktop session of the portal: pointer, keys, the monitors' places and the clipboard, allowed once by the person."""

from __future__ import annotations

import contextlib
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Point, Rect
from desktop_agent.home import home
from desktop_agent.portal import Portal

KEYBOARD, POINTER = 1, 2
MONITORS = 1
UNTIL_REVOKED = 2  # persist_mode
TOKEN_FILE = "portal-token"


@dataclass(frozen=True)
class Stream:
    """A monitor of the session; ``units`` is its place in the compositor's coordinates."""

    node: int
    units: Rect


@dataclass(frozen=True)
class UnitMap:
    """From capture pixels to a monitor's input units: measured for each monitor, never a constant."""

    pixels: Rect
    units: Rect

    def to_units(self, point: Point) -> Point:
        """Relative to the monitor's corner, in its units."""
        return Point(
            (point.x - self.pixels.left) * self.units.width / self.pixels.width,
            (point.y - self.pixels.top) * self.units.height / self.pixels.height,
        )


class DesktopSession:
    """Started at its first use, because the desktop then asks the person; safe to use from several threads."""

    def __init__(self, portal: Portal, token_file: Path | None = None) -> None:
        self.portal = portal
        self._token_file = token_file or home() / TOKEN_FILE
        self._lock = threading.Lock()
        self._handle: str | None = None
        self.streams: list[Stream] = []
        self.clipboard = False
        portal.on("Closed", lambda body: self._forget())

    @property
    def handle(self) -> str:
        """The session's object path. Raises ``PasteFailed`` (``needs_permission``)."""
        with self._lock:
            if self._handle is None:
                self._handle = self._start()
            return self._handle

    def notify(self, member: str, signature: str, *numbers: Any) -> None:
        """``RemoteDesktop.Notify...``: session, no options, numbers."""
        self.portal.call("RemoteDesktop", member, "oa{sv}" + signature, self.handle, {}, *numbers)

    def _start(self) -> str:
        from dbus_fast import Variant

        portal, what = self.portal, "Moving the pointer and pressing keys"
        token = Variant("s", f"arcp{secrets.token_hex(8)}")
        made = portal.request(
            "RemoteDesktop", "CreateSession", "a{sv}", options={"session_handle_token": token}, what=what
        )
        handle = str(made["session_handle"])
        devices = {"types": Variant("u", KEYBOARD | POINTER), "persist_mode": Variant("u", UNTIL_REVOKED)}
        with contextlib.suppress(OSError):
            devices["restore_token"] = Variant("s", self._token_file.read_text())
        portal.request("RemoteDesktop", "SelectDevices", "oa{sv}", handle, options=devices, what=what)
        sources = {"types": Variant("u", MONITORS), "multiple": Variant("b", True)}
        portal.request(
            "ScreenCast", "SelectSources", "oa{sv}", handle, options=sources, what="Seeing where monitors are"
        )
        with contextlib.suppress(PasteFailed):  # an older portal: wl-copy does it then
            portal.call("Clipboard", "RequestClipboard", "oa{sv}", handle, {})
        started = portal.request("RemoteDesktop", "Start", "osa{sv}", handle, "", options={}, what=what)
        if started.get("devices", 0) & (KEYBOARD | POINTER) != KEYBOARD | POINTER:
            raise PasteFailed(
                "Pointer and keyboard were not both allowed: allow both when the desktop asks.", code="needs_permission"
            )
        self.clipboard = bool(started.get("clipboard_enabled", False))
        self.streams = [_stream(node, properties) for node, properties in started.get("streams", [])]
        self._remember(started.get("restore_token"))
        return handle

    def _remember(self, token: str | None) -> None:
        """The next session needs no question."""
        from desktop_agent.devices import write_private

        if token:
            write_private(self._token_file, token.encode())

    def _forget(self) -> None:
        self._handle = None


def _stream(node: int, properties: dict[str, Any]) -> Stream:
    left, top = properties.get("position", (0, 0))
    width, height = properties.get("size", (0, 0))
    return Stream(int(node), Rect(int(left), int(top), int(width), int(height)))
