"""What drivers need of the system clipboard; one class a platform behind these protocols."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

PNG = "image/png"


class Offer(Protocol):
    """Content that is on the clipboard now."""

    def taken(self, kind: str, seconds: float) -> bool:
        """True as soon as an application has fetched the content of this kind; False after ``seconds``."""
        ...

    @property
    def stolen(self) -> bool:
        """True once another program has put something else on the clipboard."""
        ...


class Clipboard(Protocol):
    def offering(self, content: dict[str, bytes]) -> AbstractContextManager[Offer]:
        """Puts ``content`` (by MIME type) on the clipboard, and what was there before back at the end."""
        ...

    def close(self) -> None: ...
