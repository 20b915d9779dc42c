"""The macOS pasteboard through AppKit: the picture as ``public.png``, and what was there before afterwards.

Apple Developer Documentation, AppKit: ``NSPasteboard`` (``changeCount``, ``clearContents``, ``writeObjects:``),
``NSPasteboardItem`` (``types``, ``dataForType:``, ``setData:forType:``). Who fetched the picture is not told; the screen tells it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from desktop_agent.errors import PasteFailed
from desktop_agent.paste.clipboard import PNG

TYPES = {PNG: "public.png"}  # MIME type -> Uniform Type Identifier
KEEP_BYTES = 64 * 1024 * 1024


class MacOffer:
    """``count`` is the pasteboard's change count just after the content was put there."""

    def __init__(self, board: Any, count: int) -> None:
        self._board, self._count = board, count

    def taken(self, kind: str, seconds: float) -> bool:
        """Not told by macOS: True unless another program has put something else there."""
        return not self.stolen

    @property
    def stolen(self) -> bool:
        return int(self._board.changeCount()) != self._count


class MacClipboard:
    """``keep``: put back afterwards what was on the pasteboard before."""

    def __init__(self, *, keep: bool = True) -> None:
        self._keep = keep
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def offering(self, content: dict[str, bytes]) -> Iterator[MacOffer]:
        from AppKit import NSPasteboard

        with self._lock:
            board = NSPasteboard.generalPasteboard()
            before = _kept(board) if self._keep else []
            count = _write(board, [{TYPES.get(kind, kind): data for kind, data in content.items()}])
            offer = MacOffer(board, count)
            try:
                yield offer
            finally:
                if before and not offer.stolen:
                    _write(board, before)

    def close(self) -> None:
        """The pasteboard server holds the content; nothing of ours is left."""


def _write(board: Any, items: list[dict[str, Any]]) -> int:
    """Replace what is there; the change count afterwards. Raises ``PasteFailed``."""
    from AppKit import NSPasteboardItem
    from Foundation import NSData

    objects = []
    for item in items:
        written = NSPasteboardItem.alloc().init()
        for kind, data in item.items():
            held = NSData.dataWithBytes_length_(data, len(data)) if isinstance(data, bytes) else data
            written.setData_forType_(held, kind)
        objects.append(written)
    board.clearContents()
    if not board.writeObjects_(objects):
        raise PasteFailed("The pasteboard took no picture; tap again.", code="clipboard")
    return int(board.changeCount())


def _kept(board: Any) -> list[dict[str, Any]]:
    """Every item with the data of its types, up to 64 MB in all."""
    kept: list[dict[str, Any]] = []
    size = 0
    for item in board.pasteboardItems() or []:
        data = {str(kind): held for kind in item.types() if (held := item.dataForType_(kind)) is not None}
        size += sum(len(held) for held in data.values())
        if data and size <= KEEP_BYTES:
            kept.append(data)
    return kept
