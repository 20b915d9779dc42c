"""Which driver pastes into which window: one list in the order of preference, made once with its collaborators."""

from __future__ import annotations

import shutil
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
from desktop_agent.paste.file import FileDriver
from desktop_agent.paste.gimp import GimpDriver
from desktop_agent.paste.inkscape import InkscapeDriver
from desktop_agent.paste.krita import KritaDriver
from desktop_agent.paste.libreoffice import LibreOfficeDriver
from desktop_agent.paste.photoshop import PhotoshopDriver
from desktop_agent.paste.virtual import VirtualDriver
from desktop_agent.paste.writer import WriterDriver
from desktop_agent.screen import PictureScreen, ScreenSource
from desktop_agent.screen_wayland import PortalScreen
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
    desk, own = _desk(screen)
    try:
        anywhere: list[PasteDriver] = [
            PhotoshopDriver(desk),
            BrowserDriver(desk),
            FileDriver(),
            ClipboardDriver(desk),
        ]
        yield Drivers(desk.windows, [BoardDriver(boards, screen), *own, *anywhere])
    finally:
        desk.clipboard.close()
        if isinstance(screen, PortalScreen):
            screen.close()


def _desk(screen: ScreenSource) -> tuple[Desk, list[PasteDriver]]:
    """This platform's windows, pointer, keys and clipboard, and the drivers that need more than those."""
    if sys.platform == "win32":
        from desktop_agent.input_win32 import Win32Input
        from desktop_agent.paste.clipboard_win32 import Win32Clipboard
        from desktop_agent.windows.win32 import Win32Probe

        return Desk(screen, Win32Probe(), Win32Input(), Win32Clipboard()), []
    if sys.platform == "darwin":
        from desktop_agent.input_macos import MacInput
        from desktop_agent.paste.clipboard_macos import MacClipboard
        from desktop_agent.windows.macos import MacProbe

        return Desk(screen, MacProbe(), MacInput(), MacClipboard()), []
    if isinstance(screen, PortalScreen):
        return _wayland_desk(screen), []
    from desktop_agent.input_x11 import X11Input
    from desktop_agent.paste.clipboard_x11 import X11Clipboard
    from desktop_agent.paste.drag_x11 import X11Drag
    from desktop_agent.windows.x11 import X11Probe

    desk = Desk(screen, X11Probe(), X11Input(), X11Clipboard())
    office = LibreOfficeDriver(desk, X11Drag())
    return desk, [InkscapeDriver(desk), GimpDriver(desk), office, WriterDriver(desk), KritaDriver(desk)]


def _wayland_desk(screen: PortalScreen) -> Desk:
    from desktop_agent.input_wayland import PortalInput
    from desktop_agent.paste.clipboard_wayland import PortalClipboard, WlClipboard
    from desktop_agent.windows.wayland import WaylandProbe

    clipboard = WlClipboard() if shutil.which("wl-copy") else PortalClipboard(screen.session)
    return Desk(screen, WaylandProbe(screen.monitors), PortalInput(screen.session, screen.maps), clipboard)
