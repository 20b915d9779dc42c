"""Windows on macOS: the window server's list, front to back, in points, which are what the capture's pixels are there, too.

Apple Developer Documentation: ``CGWindowListCopyWindowInfo`` (titles of other programs' windows need Screen Recording),
``NSRunningApplication.activateWithOptions:``.
"""

from __future__ import annotations

import time
from typing import Any

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Rect
from desktop_agent.windows import Window

ON_SCREEN, NO_DESKTOP = 1 << 0, 1 << 4  # kCGWindowListOptionOnScreenOnly, kCGWindowListExcludeDesktopElements
NORMAL_LAYER = 0
EVERY_WINDOW, OTHERS_TOO = 1 << 0, 1 << 1  # NSApplicationActivateAllWindows, NSApplicationActivateIgnoringOtherApps
ACTIVATION_SECONDS = 2.0


class MacProbe:
    def stack(self) -> list[Window]:
        import Quartz

        found = Quartz.CGWindowListCopyWindowInfo(ON_SCREEN | NO_DESKTOP, 0) or []
        return [window for info in found if (window := _describe(info)) is not None]

    def activate(self, window: Window) -> None:
        from AppKit import NSRunningApplication

        application = NSRunningApplication.runningApplicationWithProcessIdentifier_(window.pid or 0)
        if application is None:
            raise PasteFailed(
                f"“{window.title}” was closed. Open the document again and tap again.", code="application_gone"
            )
        application.activateWithOptions_(EVERY_WINDOW | OTHERS_TOO)
        deadline = time.monotonic() + ACTIVATION_SECONDS
        while not application.isActive():
            if time.monotonic() > deadline:
                raise PasteFailed(
                    f"{window.app_class} does not come to the front; click its window and tap again.",
                    code="not_activated",
                )
            time.sleep(0.02)


def _describe(info: Any) -> Window | None:
    bounds = info["kCGWindowBounds"]
    rect = Rect(int(bounds["X"]), int(bounds["Y"]), int(bounds["Width"]), int(bounds["Height"]))
    if (
        info.get("kCGWindowLayer", 0) != NORMAL_LAYER
        or info.get("kCGWindowAlpha", 1) == 0
        or not rect.width * rect.height
    ):
        return None
    owner = str(info.get("kCGWindowOwnerName", ""))
    return Window(
        int(info["kCGWindowNumber"]), str(info.get("kCGWindowName") or owner), owner, owner, rect,
        int(info["kCGWindowOwnerPID"]),
    )  # fmt: skip
