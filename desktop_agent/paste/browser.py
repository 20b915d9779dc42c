"""The ``browser`` driver: pages that handle a paste put it at the pointer; never a file drop, which would leave the page."""

from __future__ import annotations

from desktop_agent.geometry import Placement
from desktop_agent.paste.closed_loop import Watch
from desktop_agent.paste.driver import RGBA
from desktop_agent.paste.pointer_paste import PointerPasteDriver
from desktop_agent.windows import Window

BROWSERS = (  # X11's classes, Windows' programs and macOS's names
    "chromium", "google-chrome", "google chrome", "chrome.exe", "firefox", "navigator", "brave", "microsoft-edge",
    "microsoft edge", "msedge.exe", "vivaldi", "opera", "safari",
)  # fmt: skip


class BrowserDriver(PointerPasteDriver):
    """What a page shows as selected is deleted to take it back, since Ctrl+Z may take something else back (Excalidraw does
    not count a pasted picture as a step). A page that does neither keeps the paste, and the wrong size is reported."""

    name = "browser"
    undo_seconds = 4.0  # many a page takes nothing back

    def can_handle(self, window: Window | None) -> bool:
        return window is not None and window.app_class.lower().startswith(BROWSERS)

    def _ways_back(self, watch: Watch, cutout: RGBA, placement: Placement) -> list[tuple[str, ...]]:
        return [("Delete",), self.undo_keys] if watch.shows_selected(cutout, placement) else [self.undo_keys]
