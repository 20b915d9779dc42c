"""The closed loop every driver shares: look, paste, look again, find the cut-out, and say truly what happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Placement, Rect
from desktop_agent.input import InputDevices
from desktop_agent.paste.clipboard import Clipboard, Offer
from desktop_agent.paste.driver import RGBA
from desktop_agent.paste.match import RGB, Match, changed, find, framed, looks_placed
from desktop_agent.screen import ScreenSource
from desktop_agent.windows import Window, WindowProbe

FETCH_SECONDS = 3.0  # for the application to fetch the picture from the clipboard
SHOW_SECONDS = 6.0  # for it to show the picture
POLL_SECONDS = 0.04
PART_SEEN = 0.2  # of the cut-out's pixels must have changed before it is searched for
SETTLED = 40  # pixels that may still change, a blinking caret for example


@dataclass(frozen=True)
class Desk:
    """What drivers work with, made once."""

    screen: ScreenSource
    windows: WindowProbe
    input: InputDevices
    clipboard: Clipboard


def look(screen: ScreenSource, area: Rect) -> RGB:
    """The pixels of ``area`` (virtual desktop), uint8 HxWx3; black where there is no monitor."""
    shots = screen.grab()
    for shot in shots:
        if shot.monitor.rect.intersection(area) == area:
            left, top = area.left - shot.monitor.rect.left, area.top - shot.monitor.rect.top
            return shot.image[top : top + area.height, left : left + area.width]
    picture = np.zeros((area.height, area.width, 3), np.uint8)
    for shot in shots:
        rect = shot.monitor.rect
        common = area.intersection(rect)
        if common is not None:
            picture[
                common.top - area.top : common.bottom - area.top, common.left - area.left : common.right - area.left
            ] = shot.image[
                common.top - rect.top : common.bottom - rect.top, common.left - rect.left : common.right - rect.left
            ]
    return picture


class Watch:
    """A window watched from just before the paste. Placements are in virtual desktop pixels.

    Raises ``PasteFailed`` where the window is no longer where it was when its placement was found.
    """

    def __init__(self, desk: Desk, window: Window) -> None:
        self._desk = desk
        self._stack = desk.windows.stack()
        self.window = next((now for now in self._stack if now.id == window.id), window)
        if self.window.rect != window.rect:
            raise PasteFailed(
                f"“{window.title}” was moved since you pointed at it: aim again and tap. Nothing was pasted.",
                code="window_moved",
            )
        self.area = self.window.rect
        self.before = look(desk.screen, self.area)

    def now(self) -> RGB:
        return look(self._desk.screen, self.area)

    def wait_for_change(self, since: RGB | None = None, seconds: float = SHOW_SECONDS) -> None:
        """Until the window begins to look different from ``since`` (default: before the paste), or the time is over."""
        deadline = time.monotonic() + seconds
        base = self.before if since is None else since
        while time.monotonic() < deadline and int(changed(base, self.now()).sum()) <= SETTLED:
            time.sleep(POLL_SECONDS)

    def find(
        self, cutout: RGBA, expected: Placement, *, scales: tuple[float, float], seconds: float = SHOW_SECONDS
    ) -> Match:
        """Wait until the cut-out is seen and the window rests. Raises ``PasteFailed`` with what was seen instead."""
        deadline = time.monotonic() + seconds
        last, seen, pause = self.before, False, POLL_SECONDS
        local = self._local(expected)
        visible = float((cutout[..., 3] > 128).sum()) * (scales[0] * expected.scale) ** 2
        while True:
            after = self.now()
            rests = int(changed(last, after).sum()) <= SETTLED
            differing = int(changed(self.before, after).sum())
            if differing > SETTLED and rests:
                seen = True
                if differing > PART_SEEN * visible:  # else it was a tool bar that changed
                    match = find(cutout, self.before, after, local, scales=scales)
                    if match is not None:
                        return replace(match, placement=self._global(match.placement))
                    pause = 0.3  # the search is dear; give the application time to finish drawing
            if time.monotonic() > deadline:
                if seen and looks_placed(cutout, self.before, after, local):
                    return Match(expected, 1.0)  # on top of an equal one
                raise self._explain(seen)
            last = after
            time.sleep(pause)

    def refind(self, cutout: RGBA, expected: Placement) -> Match | None:
        """Look again after a correction: close to what is expected, once the window rests."""
        last = self.now()
        for _ in range(25):
            time.sleep(POLL_SECONDS)
            after = self.now()
            if int(changed(last, after).sum()) <= SETTLED:
                break
            last = after
        local = self._local(expected)
        match = find(cutout, self.before, after, local, scales=(0.8, 1.25))
        if match is None and looks_placed(cutout, self.before, after, local):
            return Match(expected, 1.0)
        return None if match is None else replace(match, placement=self._global(match.placement))

    def still_shows(self, cutout: RGBA, placement: Placement) -> bool | None:
        """True while the placed cut-out is seen, False once it looks there as before the paste, None for anything else."""
        local, after = self._local(placement), self.now()
        if looks_placed(cutout, self.before, after, local):
            return True
        side = max(6, round(0.35 * local.scale * min(cutout.shape[:2])))
        rows = slice(max(0, int(local.center.y) - side), int(local.center.y) + side)
        columns = slice(max(0, int(local.center.x) - side), int(local.center.x) + side)
        differing = changed(self.before[rows, columns], after[rows, columns])
        return False if differing.mean() < 0.1 else None  # a cursor's outline may lie there

    def shows_selected(self, cutout: RGBA, placement: Placement) -> bool:
        """There is a frame around the placed cut-out that was not there before the paste."""
        return framed(cutout, self.before, self.now(), self._local(placement))

    def nothing_taken(self, offer: Offer) -> PasteFailed:
        """The application did not fetch the picture: why."""
        if offer.stolen:
            return PasteFailed(
                "Another program took the clipboard while pasting; close it or try again.", code="clipboard_stolen"
            )
        return self._interruption() or PasteFailed(
            f"“{self.window.title}” did not take the cut-out: it may be read-only, or not accept pictures. "
            "Point at a document that does.",
            code="not_taken",
        )

    def _explain(self, seen: bool) -> PasteFailed:
        return self._interruption() or (
            PasteFailed(
                f"Something changed in “{self.window.title}”, but the cut-out is not to be seen there: "
                "look, undo if it is wrong, and try again.",
                code="not_recognised",
            )
            if seen
            else PasteFailed(
                f"“{self.window.title}” shows no change after the paste: it may be read-only, or show another part of the page. "
                "Scroll to where you point and try again.",
                code="nothing_changed",
            )
        )

    def _interruption(self) -> PasteFailed | None:
        stack = self._desk.windows.stack()
        known = {window.id for window in self._stack}
        now = next((window for window in stack if window.id == self.window.id), None)
        if now is None:
            return PasteFailed(
                f"“{self.window.title}” was closed while pasting. Open the document again and tap again.",
                code="application_gone",
            )
        for window in stack:
            if window.id not in known:
                return PasteFailed(
                    f"“{window.title or window.app_class}” opened instead of the cut-out: answer it, then tap again.",
                    code="dialog",
                )
        if now.rect != self.area:
            return PasteFailed(
                f"“{self.window.title}” was moved while pasting: look where the cut-out is, undo if it is wrong.",
                code="window_moved",
            )
        return None

    def _local(self, placement: Placement) -> Placement:
        return replace(placement, center=placement.center.shifted(-self.area.left, -self.area.top))

    def _global(self, placement: Placement) -> Placement:
        return replace(placement, center=placement.center.shifted(self.area.left, self.area.top))


def paste_by_clipboard(
    desk: Desk,
    window: Window,
    placement: Placement,
    content: dict[str, bytes],
    *,
    keys: tuple[str, ...] = ("Control_L", "v"),
    click: bool = False,
    rest: float = 0.06,
    then: Callable[[Watch], Match],
) -> tuple[Watch, Match]:
    """Pointer to the point, shortcut, wait until the application has fetched the content, then ``then`` looks for it."""
    desk.windows.activate(window)
    with desk.clipboard.offering(content) as offer, desk.input.session() as session:
        session.move(placement.center)
        time.sleep(rest)  # the application hears of the pointer's move and draws its hover effects
        if click:
            session.click()
            time.sleep(rest)
        watch = Watch(desk, window)
        session.chord(*keys)
        if not offer.taken(next(iter(content)), FETCH_SECONDS):
            raise watch.nothing_taken(offer)
        return watch, then(watch)
