"""Which driver pastes into which window: one list in the order of preference, made once with its collaborators."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from desktop_agent.board import BoardStore
from desktop_agent.board.driver import BoardDriver
from desktop_agent.errors import NoDriver
from desktop_agent.paste.browser import BrowserDriver
from desktop_agent.paste.clipboard_driver import ClipboardDriver
from desktop_agent.paste.closed_loop import Desk
from desktop_agent.paste.driver import PasteDriver
from desktop_agent.paste.gimp import GimpDriver
from desktop_agent.paste.inkscape import InkscapeDriver
from desktop_agent.paste.krita import KritaDriver
from desktop_agent.paste.libreoffice import LibreOfficeDriver
from desktop_agent.paste.virtual import VirtualDriver
from desktop_agent.paste.writer import WriterDriver
from desktop_agent.screen import PictureScreen, ScreenSource
from desktop_agent.windows import Window, WindowProbe
from desktop_agent.windows.null import NullProbe


@dataclass(frozen=True)
class Drivers:
    """``windows`` tells which window is under the point; ``drivers`` are asked in order."""

    windows: WindowProbe
    drivers: list[PasteDriver]

    def choose(self, window: Window | None) -> PasteDriver:
        """The first driver that can handle the window. Raises ``NoDriver``."""
        for driver in self.drivers:
            if driver.can_handle(window):
                return driver
        if window is None:
            raise NoDriver("There is no window under the point: open a document there, or the board.", code="no_window")
        raise NoDriver(f"Nothing can be pasted into '{window.title}' from here: point at a document, or at the board.")


@contextmanager
def open_drivers(screen: ScreenSource, boards: BoardStore) -> Iterator[Drivers]:
    """The drivers that make sense for this screen; what they hold (a display connection, the clipboard) ends with the context."""
    if isinstance(screen, PictureScreen):
        yield Drivers(NullProbe(), [VirtualDriver(screen)])
        return
    if sys.platform != "linux":
        yield Drivers(NullProbe(), [])
        return
    from desktop_agent.input_x11 import X11Input
    from desktop_agent.paste.clipboard_x11 import X11Clipboard
    from desktop_agent.paste.drag_x11 import X11Drag
    from desktop_agent.windows.x11 import X11Probe

    clipboard = X11Clipboard()
    desk = Desk(screen, X11Probe(), X11Input(), clipboard)
    try:
        drivers: list[PasteDriver] = [
            BoardDriver(boards, screen),
            InkscapeDriver(desk),
            GimpDriver(desk),
            LibreOfficeDriver(desk, X11Drag()),
            WriterDriver(desk),
            KritaDriver(desk),
            BrowserDriver(desk),
            ClipboardDriver(desk),
        ]
        yield Drivers(desk.windows, drivers)
    finally:
        clipboard.close()
