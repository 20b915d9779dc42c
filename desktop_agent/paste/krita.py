"""The ``krita`` driver: Ctrl+Alt+V pastes a picture as a new layer at the cursor."""

from __future__ import annotations

from desktop_agent.paste.pointer_paste import PointerPasteDriver
from desktop_agent.windows import Window


class KritaDriver(PointerPasteDriver):
    name = "krita"
    keys = ("Control_L", "Alt_L", "v")
    hold_seconds = 0.6
    rest_seconds = 0.8  # Krita 5.1 may crash when a paste is undone while its layer is still being computed

    def can_handle(self, window: Window | None) -> bool:
        return window is not None and window.app_class.lower() == "krita"
