"""The ``virtual`` driver: a picture is the screen, and pasting draws on it."""

from __future__ import annotations

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Placement
from desktop_agent.paste.driver import RGBA, Landing
from desktop_agent.screen import PictureScreen
from desktop_agent.windows import Window


class VirtualDriver:
    """See ``desktop_agent.paste.driver.PasteDriver``. Landing is exact by construction, so no error is measured."""

    name = "virtual"

    def __init__(self, screen: PictureScreen) -> None:
        self._screen = screen

    def can_handle(self, window: Window | None) -> bool:
        return window is None

    def paste(self, cutout: RGBA, placement: Placement, window: Window | None) -> Landing:
        """Draw the cut-out with its transparency. Raises ``PasteFailed`` where nothing of it lies on the picture."""
        if self._screen.paste(cutout, placement) is None:
            raise PasteFailed("Nothing of the cut-out lies on the picture: point further inside it.", code="off_screen")
        return Landing(self.name, "picture")
