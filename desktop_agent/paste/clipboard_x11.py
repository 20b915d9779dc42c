"""The X11 clipboard (ICCCM section 2): this process owns the selection, so it knows who fetched the picture and when.

Large pictures go in pieces (ICCCM 2.7.2, INCR). What was on the clipboard before is read first and offered again after.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

from desktop_agent.errors import PasteFailed
from desktop_agent.x11 import connect, connection

PIECE = 128 * 1024  # bytes a property; far below the server's limit for one request
META = {"TARGETS", "MULTIPLE", "TIMESTAMP", "SAVE_TARGETS", "DELETE"}
READ_SECONDS = 1.0  # for all that was on the clipboard before
KEEP_BYTES = 64 * 1024 * 1024


class X11Clipboard:
    """``keep``: put back afterwards what was on the clipboard before."""

    def __init__(self, display: str | None = None, *, keep: bool = True) -> None:
        self._name = display
        self._keep = keep
        self._owner: SelectionOwner | None = None
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def offering(self, content: dict[str, bytes]) -> Iterator[SelectionOwner]:
        with self._lock:
            if self._owner is not None and self._owner.finished:
                self._owner.stop()
                self._owner = None
            if self._owner is None:
                before = read_clipboard(self._name) if self._keep else {}
                self._owner = SelectionOwner(self._name)
            else:
                before = self._owner.content if self._keep else {}
            owner = self._owner
            owner.offer(content)
            try:
                yield owner
            finally:
                if before and not owner.stolen:
                    owner.offer(before)
                else:
                    owner.stop()
                    self._owner = None

    def close(self) -> None:
        """Gives the clipboard up; what was there before lives on in xclip, where that is installed."""
        with self._lock:
            if self._owner is not None:
                content = {} if self._owner.stolen else self._owner.content
                self._owner.stop()
                self._owner = None
                _hand_over(content, self._name)


def _hand_over(content: dict[str, bytes], display: str | None) -> None:
    kind = next((kind for kind in ("UTF8_STRING", "image/png") if kind in content), None)
    if kind is None or shutil.which("xclip") is None:
        return
    env = os.environ | ({"DISPLAY": display} if display else {})
    quiet = subprocess.DEVNULL  # xclip stays in the background and would keep our pipes open
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = ["xclip", "-selection", "clipboard", "-t", kind]
        subprocess.run(command, input=content[kind], env=env, stdout=quiet, stderr=quiet, timeout=5)


class SelectionOwner:
    """A thread that owns a selection and answers requests until it is stopped or another program takes over."""

    def __init__(self, display: str | None, selection: str = "CLIPBOARD") -> None:
        self._display = connect(display)
        self._window = self._display.screen().root.create_window(-10, -10, 1, 1, 0, 0, event_mask=1 << 22)
        self._clipboard = self._atom(selection)
        self._wake_read, self._wake_write = os.pipe()
        self._changed = threading.Condition()
        self._wanted: dict[str, bytes] | None = None
        self.content: dict[str, bytes] = {}
        self._taken: set[str] = set()
        self._messages: dict[str, list[int]] = {}
        self._stolen = self._stopping = False
        self._failure: BaseException | None = None
        self._pieces: dict[tuple[int, int], tuple[bytes, int]] = {}  # requestor, property -> rest, type
        self._thread = threading.Thread(target=self._run, name="arcp-clipboard", daemon=True)
        self._thread.start()

    def offer(self, content: dict[str, bytes]) -> None:
        """Own the clipboard with this content (empty: give it up). Raises ``PasteFailed``."""
        with self._changed:
            self._wanted, self._taken, self._stolen = content, set(), False
            os.write(self._wake_write, b"x")
            done = self._changed.wait_for(lambda: self._wanted is None or self._failure is not None, 5)
            if not done or self._failure is not None:
                raise PasteFailed(
                    "The clipboard cannot be used; start the agent again.", code="clipboard"
                ) from self._failure
        if self.stolen:
            raise PasteFailed("Another program keeps the clipboard for itself; close it and tap again.", code="stolen")

    def taken(self, kind: str, seconds: float) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: kind in self._taken or self._stolen or self._failure is not None, seconds)
            return kind in self._taken

    @property
    def stolen(self) -> bool:
        return self._stolen

    @property
    def finished(self) -> bool:
        """Nothing is offered any more, by our own doing or another's."""
        return self._stolen or self._failure is not None or not self.content

    def stop(self) -> None:
        self._stopping = True
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"x")
        self._thread.join(5)

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._take_ownership()
                while self._display.pending_events():
                    self._answer(self._display.next_event())
                if not self._display.pending_events():
                    readable, _, _ = select.select([self._display.fileno(), self._wake_read], [], [])
                    if self._wake_read in readable:
                        os.read(self._wake_read, 64)
        except Exception as error:  # the X server is gone, or refused: the waiting side reports it
            self._failure = error
        finally:
            with self._changed:
                self._changed.notify_all()
            with contextlib.suppress(Exception):
                self._display.close()
            os.close(self._wake_read)

    def _take_ownership(self) -> None:
        from Xlib import X
        from Xlib.protocol import request

        with self._changed:
            if self._wanted is None:
                return
            self.content, wanted = self._wanted, self._wanted
        owner = self._window.id if wanted else X.NONE
        request.SetSelectionOwner(self._display.display, window=owner, selection=self._clipboard, time=self._now())
        holder = self._display.get_selection_owner(self._clipboard)
        with self._changed:
            self._stolen = bool(wanted) and holder != self._window
            self._wanted = None
            self._changed.notify_all()

    def _now(self) -> int:
        """The server's time: ICCCM forbids CurrentTime for owners."""
        from Xlib import X, Xatom

        self._window.change_property(Xatom.WM_NAME, Xatom.STRING, 8, b"AR copy & paste")
        while True:
            event = self._display.next_event()
            if event.type == X.PropertyNotify and event.window == self._window:
                return int(event.time)
            self._answer(event)

    def _answer(self, event: Any) -> None:
        from Xlib import X

        if event.type == X.SelectionRequest:
            self._serve(event)
        elif event.type == X.SelectionClear and event.atom == self._clipboard:
            with self._changed:
                self._stolen = bool(self.content)  # giving the clipboard up is no theft
                self._changed.notify_all()
        elif event.type == X.PropertyNotify and event.state == X.PropertyDelete:
            self._next_piece(event.window, event.atom)
        elif event.type == X.ClientMessage:
            with self._changed:
                self._messages[self._display.get_atom_name(event.client_type)] = list(event.data[1])
                self._changed.notify_all()

    def message(self, name: str, seconds: float) -> list[int] | None:
        """The next client message of this type, as five 32-bit numbers; None after ``seconds``."""
        with self._changed:
            self._changed.wait_for(lambda: name in self._messages or self._failure is not None, seconds)
            return self._messages.pop(name, None)

    @property
    def window_id(self) -> int:
        return int(self._window.id)

    def _serve(self, request: Any) -> None:
        from Xlib import X, Xatom, error
        from Xlib.protocol import event

        target = request.target
        place = request.property or target
        name = self._display.get_atom_name(target)
        requestor = request.requestor
        granted = X.NONE
        with contextlib.suppress(error.BadWindow):
            if name == "TARGETS":
                offered = [target, *(self._atom(kind) for kind in self.content)]
                requestor.change_property(place, Xatom.ATOM, 32, offered)
                granted = place
            elif name in self.content:
                self._put(requestor, place, target, self.content[name])
                granted = place
            answer = event.SelectionNotify(
                time=request.time, requestor=requestor, selection=request.selection, target=target, property=granted
            )
            requestor.send_event(answer)
            self._display.sync()
        if name in self.content and (requestor.id, place) not in self._pieces:
            self._mark_taken(name)

    def _put(self, requestor: Any, place: int, target: int, data: bytes) -> None:
        from Xlib import X

        if len(data) <= PIECE:
            requestor.change_property(place, target, 8, data)
            return
        requestor.change_attributes(event_mask=X.PropertyChangeMask)
        self._pieces[(requestor.id, place)] = (data, target)
        requestor.change_property(place, self._atom("INCR"), 32, [len(data)])

    def _next_piece(self, requestor: Any, place: int) -> None:
        from Xlib import error

        if (requestor.id, place) not in self._pieces:
            return
        rest, target = self._pieces.pop((requestor.id, place))
        with contextlib.suppress(error.BadWindow):
            requestor.change_property(place, target, 8, rest[:PIECE])
            self._display.sync()
        if rest:  # an empty piece says that this was all
            self._pieces[(requestor.id, place)] = (rest[PIECE:], target)
        else:
            self._mark_taken(self._display.get_atom_name(target))

    def _mark_taken(self, kind: str) -> None:
        with self._changed:
            self._taken.add(kind)
            self._changed.notify_all()

    def _atom(self, name: str) -> int:
        return int(self._display.intern_atom(name))


def read_clipboard(name: str | None = None) -> dict[str, bytes]:
    """All that the clipboard's owner gives within a second, by target; empty without an owner."""
    from Xlib import X

    with connection(name) as display:
        clipboard = display.intern_atom("CLIPBOARD")
        if display.get_selection_owner(clipboard) == X.NONE:
            return {}
        window = display.screen().root.create_window(-10, -10, 1, 1, 0, 0, event_mask=X.PropertyChangeMask)
        deadline = time.monotonic() + READ_SECONDS
        reader = _Reader(display, window, clipboard, deadline)
        kinds = reader.targets()
        content: dict[str, bytes] = {}
        for kind in kinds:
            data = reader.read(kind)
            if data is None or sum(map(len, content.values())) + len(data) > KEEP_BYTES:
                continue
            content[kind] = data
        return content


class _Reader:
    def __init__(self, display: Any, window: Any, clipboard: int, deadline: float) -> None:
        self._display, self._window, self._clipboard, self._deadline = display, window, clipboard, deadline
        self._place = display.intern_atom("ARCP_CLIPBOARD")

    def targets(self) -> list[str]:
        found = self._convert("TARGETS")
        if found is None or found.format != 32:
            return []
        return [name for name in map(self._display.get_atom_name, found.value) if name not in META]

    def read(self, kind: str) -> bytes | None:
        """None for what the owner does not give, or not in time."""
        found = self._convert(kind)
        if found is None:
            return None
        if found.property_type == self._display.intern_atom("INCR"):
            return self._pieces()
        return bytes(found.value) if found.format == 8 else None

    def _convert(self, kind: str) -> Any:
        from Xlib import X

        self._window.convert_selection(self._clipboard, self._display.intern_atom(kind), self._place, X.CurrentTime)
        event = self._wait(lambda event: event.type == X.SelectionNotify)
        if event is None or event.property == X.NONE:
            return None
        return self._window.get_full_property(self._place, X.AnyPropertyType) and self._take()

    def _take(self) -> Any:
        from Xlib import X

        found = self._window.get_full_property(self._place, X.AnyPropertyType)
        self._window.delete_property(self._place)
        self._display.flush()
        return found

    def _pieces(self) -> bytes | None:
        from Xlib import X

        parts: list[bytes] = []
        while True:
            event = self._wait(lambda event: event.type == X.PropertyNotify and event.state == X.PropertyNewValue)
            if event is None:
                return None
            found = self._take()
            if found is None or not len(found.value):
                return b"".join(parts)
            parts.append(bytes(found.value))

    def _wait(self, wanted: Any) -> Any:
        while True:
            while self._display.pending_events():
                event = self._display.next_event()
                if wanted(event):
                    return event
            left = self._deadline - time.monotonic()
            if left <= 0 or not select.select([self._display.fileno()], [], [], left)[0]:
                return None
