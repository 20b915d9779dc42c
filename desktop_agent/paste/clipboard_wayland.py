"""The clipboard on Wayland: the portal's Clipboard with the remote desktop session, else wl-copy."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

from desktop_agent.errors import PasteFailed
from desktop_agent.paste.clipboard import PNG
from desktop_agent.portal_session import DesktopSession

READ_SECONDS = 2.0
KEPT = ("text/plain;charset=utf-8", "text/plain", "text/html", PNG)


class PortalOffer:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken: set[str] = set()
        self._stolen = False

    def taken(self, kind: str, seconds: float) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: kind in self._taken or self._stolen, seconds)
            return kind in self._taken

    @property
    def stolen(self) -> bool:
        return self._stolen

    def mark(self, *, taken: str | None = None, stolen: bool = False) -> None:
        with self._changed:
            self._stolen = self._stolen or stolen
            if taken is not None:
                self._taken.add(taken)
            self._changed.notify_all()


class PortalClipboard:
    """``keep``: put back afterwards the text or picture that was there before, where another program owned the clipboard."""

    def __init__(self, session: DesktopSession, *, keep: bool = True) -> None:
        self._session, self._keep = session, keep
        self._lock = threading.Lock()
        self._content: dict[str, bytes] = {}
        self._offer: PortalOffer | None = None
        self._theirs: list[str] = []  # what the other owner offers
        session.portal.on("SelectionTransfer", self._transfer)
        session.portal.on("SelectionOwnerChanged", self._owner_changed)

    @contextlib.contextmanager
    def offering(self, content: dict[str, bytes]) -> Iterator[PortalOffer]:
        with self._lock:
            handle = self._session.handle
            if not self._session.clipboard:
                raise PasteFailed(
                    "The clipboard was not allowed: allow it when the desktop asks, or install wl-clipboard.",
                    code="needs_permission",
                )
            before = self._content or (self._read(handle) if self._keep else {})
            offer = self._offer = PortalOffer()
            self._set(handle, content)
            try:
                yield offer
            finally:
                self._offer = None
                if before and not offer.stolen:
                    self._set(handle, before)

    def close(self) -> None:
        """The session ends with the portal's connection, and its clipboard with it."""

    def _set(self, handle: str, content: dict[str, bytes]) -> None:
        from dbus_fast import Variant

        self._content = content
        self._session.portal.call(
            "Clipboard", "SetSelection", "oa{sv}", handle, {"mime_types": Variant("as", list(content))}
        )

    def _read(self, handle: str) -> dict[str, bytes]:
        content: dict[str, bytes] = {}
        for kind in (kind for kind in KEPT if kind in self._theirs):
            with contextlib.suppress(PasteFailed, OSError):
                body, descriptors = self._session.portal.call("Clipboard", "SelectionRead", "os", handle, kind)
                with os.fdopen(descriptors[body[0]], "rb") as pipe:
                    content[kind] = pipe.read()
        return content

    def _transfer(self, body: list[Any]) -> None:
        handle, kind, serial = body
        content, offer = self._content.get(kind), self._offer
        self._session.portal.later(lambda: self._write(handle, kind, serial, content, offer))

    async def _write(
        self, handle: str, kind: str, serial: int, content: bytes | None, offer: PortalOffer | None
    ) -> None:
        import asyncio

        portal, done = self._session.portal, False
        if content is not None:
            answer, descriptors = await portal.call_inside("Clipboard", "SelectionWrite", "ou", handle, serial)
            with contextlib.suppress(OSError):  # the reader may close early
                await asyncio.to_thread(_write_all, descriptors[answer[0]], content)
                done = True
        await portal.call_inside("Clipboard", "SelectionWriteDone", "oub", handle, serial, done)
        if done and offer is not None:
            offer.mark(taken=kind)

    def _owner_changed(self, body: list[Any]) -> None:
        _, options = body
        if options.get("session_is_owner"):
            return
        self._theirs, self._content = list(options.get("mime_types", [])), {}
        if self._offer is not None:
            self._offer.mark(stolen=True)


def _write_all(descriptor: int, data: bytes) -> None:
    with os.fdopen(descriptor, "wb") as pipe:
        pipe.write(data)


class WlOffer:
    """wl-copy in the foreground: it ends as soon as another program takes the clipboard."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def taken(self, kind: str, seconds: float) -> bool:
        """Not told by wl-copy: True unless another program has put something else there."""
        return not self.stolen

    @property
    def stolen(self) -> bool:
        return self._process.poll() is not None


class WlClipboard:
    """wl-clipboard's two programs; one kind of content at a time."""

    def __init__(self, *, keep: bool = True) -> None:
        self._keep = keep
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def offering(self, content: dict[str, bytes]) -> Iterator[WlOffer]:
        with self._lock:
            before = _pasted() if self._keep else None
            kind, data = next(iter(content.items()))
            process = _start(["wl-copy", "--foreground", "--type", kind], subprocess.PIPE)
            offer = WlOffer(process)
            try:
                assert process.stdin is not None
                with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
                    pipe.write(data)
                yield offer
            finally:
                if before and not offer.stolen:
                    kind, data = before
                    subprocess.run(["wl-copy", "--type", kind], input=data, check=False, timeout=READ_SECONDS)
                process.terminate()
                process.wait(5)

    def close(self) -> None: ...


def _pasted() -> tuple[str, bytes] | None:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        listed = subprocess.run(["wl-paste", "--list-types"], capture_output=True, text=True, timeout=READ_SECONDS)
        kind = next((kind for kind in KEPT if kind in listed.stdout.split()), None)
        if kind is not None:
            command = ["wl-paste", "--no-newline", "--type", kind]
            return kind, subprocess.run(command, capture_output=True, timeout=READ_SECONDS, check=True).stdout
    return None


def _start(command: list[str], stdin: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(command, stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        raise PasteFailed("wl-copy is missing: sudo apt install wl-clipboard", code="clipboard") from None
