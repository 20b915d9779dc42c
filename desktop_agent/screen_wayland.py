"""Screen capture on Wayland: the portal's Screenshot, which gives one picture of all monitors as a file."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np

from desktop_agent.errors import PasteFailed, ScreenUnavailable
from desktop_agent.geometry import Rect
from desktop_agent.portal import Portal
from desktop_agent.portal_session import DesktopSession, UnitMap
from desktop_agent.screen import RGB, Monitor, Screenshot


class PortalScreen:
    """See ``desktop_agent.screen.ScreenSource``. Monitors are told apart once the remote desktop session has been allowed."""

    def __init__(self, portal: Portal | None = None, session: DesktopSession | None = None) -> None:
        self.portal = portal or Portal()
        self.session = session or DesktopSession(self.portal)
        self._size: tuple[int, int] | None = None

    def close(self) -> None:
        self.portal.close()

    def monitors(self) -> list[Monitor]:
        return [Monitor(index, each.pixels) for index, each in enumerate(self.maps(), start=1)]

    def grab(self) -> list[Screenshot]:
        picture = self._picture()
        self._size = picture.shape[1], picture.shape[0]
        shots: list[Screenshot] = []
        for monitor in self.monitors():
            rect = monitor.rect
            shots.append(Screenshot(monitor, picture[rect.top : rect.bottom, rect.left : rect.right]))
        return shots

    def maps(self) -> list[UnitMap]:
        """Where each monitor lies in the picture and in the compositor's units, by the picture's size and theirs."""
        if self._size is None:
            picture = self._picture()
            self._size = picture.shape[1], picture.shape[0]
        width, height = self._size
        streams = [stream for stream in self.session.streams if stream.units.width * stream.units.height]
        if not streams:
            return [UnitMap(Rect(0, 0, width, height), Rect(0, 0, width, height))]
        left, top = min(s.units.left for s in streams), min(s.units.top for s in streams)
        across = width / (max(s.units.right for s in streams) - left)
        down = height / (max(s.units.bottom for s in streams) - top)
        return [UnitMap(_scaled(stream.units, left, top, across, down), stream.units) for stream in streams]

    def _picture(self) -> RGB:
        from dbus_fast import Variant

        try:
            found = self.portal.request(
                "Screenshot", "Screenshot", "sa{sv}", "", options={"interactive": Variant("b", False)},
                what="Taking screenshots",
            )  # fmt: skip
        except PasteFailed as error:
            raise ScreenUnavailable(error.message, code=error.code) from error
        path = Path(unquote(urlsplit(str(found["uri"])).path))
        try:
            return _read(path)
        finally:
            path.unlink(missing_ok=True)  # the portal keeps every picture among the person's own


def _scaled(units: Rect, left: int, top: int, across: float, down: float) -> Rect:
    x, y = round((units.left - left) * across), round((units.top - top) * down)
    return Rect(x, y, round((units.right - left) * across) - x, round((units.bottom - top) * down) - y)


def _read(path: Path) -> RGB:
    import cv2

    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ScreenUnavailable("The desktop's screenshot cannot be read: try again.")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)
