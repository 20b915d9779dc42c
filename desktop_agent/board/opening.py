"""Opening the board in the person's own browser."""

from __future__ import annotations

import os
import sys
import webbrowser

from desktop_agent.errors import AgentError


def open_board(url: str) -> None:
    """Show ``url`` in a window of the default browser. Raises ``AgentError`` where no browser can be opened."""
    # Without a display webbrowser would take over the terminal with a text browser, which cannot show the board.
    has_display = sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    try:
        opened = bool(has_display) and webbrowser.open(url, new=1)
    except webbrowser.Error:
        opened = False
    if not opened:
        raise AgentError(f"No browser could be opened. Open {url} in one yourself.", code="no_browser", status=503)
