"""The browser pages that show the board right now: what each one painted, and how its picture relates to board coordinates."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from typing import Any

from desktop_agent.errors import BadRequest

# Four bits of even parity: any two codes differ in two marks, so three marks tell them apart.
CODES = (0, 3, 5, 6, 9, 10, 12, 15)
FORGOTTEN_AFTER_S = 60.0


@dataclass(frozen=True)
class View:
    """How a page shows the board, in the page's own device pixels (corners at integers, origin at its top left corner).

    A board point b is painted at ``scale * b + (x, y)``. ``marks`` are the centres of the four corner marks, clockwise from the top
    left, ``radius`` theirs, ``code`` (one of ``CODES``) tells which of each mark's two patterns was drawn.
    """

    size: tuple[float, float]
    scale: float
    x: float
    y: float
    marks: tuple[tuple[float, float], ...]
    radius: float
    code: int

    @classmethod
    def from_json(cls, value: object) -> View:
        """Raises ``BadRequest``."""
        try:
            view = cls._parsed(value)
        except (KeyError, TypeError, ValueError):
            raise BadRequest("The page described its view in a way that is not understood. Reload it.") from None
        return view

    @classmethod
    def _parsed(cls, value: Any) -> View:
        view = cls(
            size=(_number(value["width"]), _number(value["height"])),
            scale=_number(value["scale"]),
            x=_number(value["x"]),
            y=_number(value["y"]),
            marks=tuple((_number(x), _number(y)) for x, y in value["marks"]),
            radius=_number(value["radius"]),
            code=int(_number(value["code"])),
        )
        sound = min(view.size) >= 1 and view.scale > 0 and 2 <= view.radius <= 100 and view.code in CODES
        if not sound or len(view.marks) != 4:
            raise ValueError
        return view


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or abs(value) > 1e9:
        raise ValueError
    return float(value)


@dataclass
class _Page:
    code: int
    seen: float
    revision: int = -1
    hail: int = 0
    view: View | None = None


class Pages:
    """Guarded by the store's condition. A hail asks every visible page to clear its handles and hints and to report its view."""

    def __init__(self, changed: threading.Condition) -> None:
        self._changed = changed
        self._pages: dict[str, _Page] = {}
        self._hail = 0

    def enter(self, page_id: str) -> None:
        """Note that a page is there, and give it a mark code. Raises ``BadRequest`` when all codes are taken."""
        now = time.monotonic()
        with self._changed:
            for other in [key for key, page in self._pages.items() if now - page.seen > FORGOTTEN_AFTER_S]:
                del self._pages[other]
            if page_id not in self._pages:
                free = set(CODES) - {page.code for page in self._pages.values()}
                if not free:
                    raise BadRequest(
                        f"The board is open in {len(CODES)} windows. Close one and reload.",
                        code="too_many_pages",
                        status=429,
                    )
                self._pages[page_id] = _Page(min(free), now, hail=self._hail)
            self._pages[page_id].seen = now

    def leave(self, page_id: str) -> None:
        """The page was closed or hidden."""
        with self._changed:
            self._pages.pop(page_id, None)
            self._changed.notify_all()

    def count(self) -> int:
        """How many pages were heard of lately."""
        with self._changed:
            return len(self._pages)

    def status(self, page_id: str) -> tuple[int | None, int | None]:
        """The page's mark code, and the number of the hail that it has not answered yet; both None for a page that left."""
        with self._changed:
            page = self._pages.get(page_id)
            if page is None:
                return None, None
            return page.code, self._hail if page.hail != self._hail else None

    def painted(self, page_id: str, revision: int, hail: int | None, view: View) -> None:
        """The page has this revision on the screen, seen as ``view``."""
        with self._changed:
            page = self._pages.get(page_id)
            if page is None:
                return
            page.seen, page.revision, page.view = time.monotonic(), revision, view
            if hail is not None:
                page.hail = hail
            self._changed.notify_all()

    def hail(self, timeout_s: float, linger_s: float = 0.15) -> dict[str, View]:
        """The views of all pages that answered a new hail; stragglers get ``linger_s`` after the first answer."""
        with self._changed:
            self._hail += 1
            number = self._hail
            self._changed.notify_all()

            def answers() -> dict[str, View]:
                return {key: page.view for key, page in self._pages.items() if page.hail == number and page.view}

            self._changed.wait_for(answers, timeout_s)
            self._changed.wait_for(lambda: len(answers()) == len(self._pages), linger_s)
            return answers()

    def wait_painted(self, page_id: str, revision: int, timeout_s: float) -> View | None:
        """The page's view once it has painted ``revision`` or a later one; None when it did not in time."""
        with self._changed:

            def painted_or_gone() -> bool:
                return page_id not in self._pages or self._pages[page_id].revision >= revision

            self._changed.wait_for(painted_or_gone, timeout_s)
            page = self._pages.get(page_id)
            return page.view if page and page.revision >= revision else None
