"""The ``browser`` driver: pages that handle a paste put it at the pointer; never a file drop, which would leave the page."""

from __future__ import annotations

from desktop_agent.paste.pointer_paste import PointerPasteDriver
from desktop_agent.windows import Window

BROWSERS = (  # X11's classes, Windows' programs and macOS's names
    "chromium", "google-chrome", "google chrome", "chrome.exe", "firefox", "navigator", "brave", "microsoft-edge",
    "microsoft edge", "msedge.exe", "vivaldi", "opera", "safari",
)  # fmt: skip


class BrowserDriver(PointerPasteDriver):
    """A page that does not take a paste back on Ctrl+Z keeps it, and the wrong size is reported."""

    name = "browser"

    def can_handle(self, window: Window | None) -> bool:
        return window is not None and window.app_class.lower().startswith(BROWSERS)
