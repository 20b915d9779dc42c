"""The Windows clipboard through pywin32: the registered format "PNG" and CF_DIBV5, and what was there before afterwards.

Microsoft Learn, Win32 API, "Clipboard Operations": the owner is a window, whose thread must answer its messages, so both live in a
thread of their own. Theft shows in ``GetClipboardSequenceNumber``. Who fetched the picture is not told; the screen tells it.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

from desktop_agent.errors import PasteFailed
from desktop_agent.paste.clipboard import PNG
from desktop_agent.paste.dib import encode_dibv5

DIBV5 = 17
TEXT, DIB = 13, 8  # CF_UNICODETEXT, CF_DIB
REGISTERED = 0xC000
KEEP_BYTES = 64 * 1024 * 1024
OPEN_SECONDS = 2.0
MESSAGES_ONLY = -3  # HWND_MESSAGE
T = TypeVar("T")


class Win32Offer:
    """``sequence`` is the clipboard's number just after the content was put there."""

    def __init__(self, sequence: int) -> None:
        self._sequence = sequence

    def taken(self, kind: str, seconds: float) -> bool:
        """Not told by Windows: True unless another program has put something else there."""
        return not self.stolen

    @property
    def stolen(self) -> bool:
        import win32clipboard

        return int(win32clipboard.GetClipboardSequenceNumber()) != self._sequence


class Win32Clipboard:
    """``keep``: put back afterwards what was on the clipboard before."""

    def __init__(self, *, keep: bool = True) -> None:
        self._keep = keep
        self._lock = threading.Lock()
        self._window: _OwnerWindow | None = None

    @contextlib.contextmanager
    def offering(self, content: dict[str, bytes]) -> Iterator[Win32Offer]:
        with self._lock:
            window = self._window = self._window or _OwnerWindow()
            before, sequence = window.do(lambda handle: _replace(handle, _formats(content), self._keep))
            offer = Win32Offer(sequence)
            try:
                yield offer
            finally:
                if before and not offer.stolen:
                    window.do(lambda handle: _replace(handle, before, False))

    def close(self) -> None:
        with self._lock:
            if self._window is not None:
                self._window.close()
                self._window = None


def _formats(content: dict[str, bytes]) -> dict[int, Any]:
    """What goes on the clipboard by format number; pictures as "PNG" and as CF_DIBV5 for programs that know only that."""
    import win32clipboard

    formats: dict[int, Any] = {}
    for kind, data in content.items():
        if kind == PNG:
            formats[int(win32clipboard.RegisterClipboardFormat("PNG"))] = data
            formats[DIBV5] = encode_dibv5(_decoded(data))
        else:
            formats[int(win32clipboard.RegisterClipboardFormat(kind))] = data
    return formats


def _decoded(png: bytes) -> Any:
    import cv2
    import numpy as np

    return cv2.cvtColor(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA)


def _replace(handle: int, formats: dict[int, Any], keep: bool) -> tuple[dict[int, Any], int]:
    """Empty the clipboard and fill it; what was there before, and the sequence number after."""
    import win32clipboard

    _open(handle)
    try:
        before = _kept() if keep else {}
        win32clipboard.EmptyClipboard()
        for number, data in formats.items():
            win32clipboard.SetClipboardData(number, data)
    finally:
        win32clipboard.CloseClipboard()
    return before, int(win32clipboard.GetClipboardSequenceNumber())


def _open(handle: int) -> None:
    import pywintypes
    import win32clipboard

    deadline = time.monotonic() + OPEN_SECONDS
    while True:
        try:
            win32clipboard.OpenClipboard(handle)
            return
        except pywintypes.error as error:  # another program has it open
            if time.monotonic() > deadline:
                raise PasteFailed(
                    "Another program keeps the clipboard open; close it and tap again.", code="clipboard"
                ) from error
            time.sleep(0.02)


def _kept() -> dict[int, Any]:
    """Text, bitmaps and registered formats; what Windows derives from them comes back by itself."""
    import pywintypes
    import win32clipboard

    kept: dict[int, Any] = {}
    size, number = 0, 0
    while number := int(win32clipboard.EnumClipboardFormats(number)):
        if number not in (TEXT, DIB, DIBV5) and number < REGISTERED:
            continue
        with contextlib.suppress(pywintypes.error, TypeError):
            data = win32clipboard.GetClipboardData(number)
            size += len(data)
            if size <= KEEP_BYTES:
                kept[number] = data
    return kept


class _OwnerWindow:
    """A message-only window and the thread that answers its messages and works on the clipboard."""

    def __init__(self) -> None:
        self._work: queue.Queue[tuple[Callable[[int], Any], Future[Any]] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="arcp-clipboard", daemon=True)
        self._thread.start()

    def do(self, work: Callable[[int], T]) -> T:
        done: Future[Any] = Future()
        self._work.put((work, done))
        result: T = done.result(timeout=10)
        return result

    def close(self) -> None:
        self._work.put(None)
        self._thread.join(5)

    def _run(self) -> None:
        import win32gui

        handle = win32gui.CreateWindowEx(0, "STATIC", "", 0, 0, 0, 0, 0, MESSAGES_ONLY, 0, 0, None)
        while True:
            try:
                item = self._work.get(timeout=0.05)
            except queue.Empty:
                win32gui.PumpWaitingMessages()
                continue
            if item is None:
                win32gui.DestroyWindow(handle)
                return
            work, done = item
            try:
                done.set_result(work(handle))
            except BaseException as error:
                done.set_exception(error)
