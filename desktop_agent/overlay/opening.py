"""The overlay that fits the screen, or none where nothing can be drawn over it."""

from __future__ import annotations

import logging
import os
import sys

from desktop_agent.errors import AgentError
from desktop_agent.overlay.layers import Overlay
from desktop_agent.screen import PictureScreen, ScreenSource


def open_overlay(screen: ScreenSource) -> Overlay | None:
    """Over the X display or over a picture that stands for a screen; None elsewhere (Windows, macOS, Wayland)."""
    if isinstance(screen, PictureScreen):
        from desktop_agent.overlay.picture import PictureCanvas

        return Overlay(PictureCanvas(screen))
    if sys.platform != "linux" or not os.environ.get("DISPLAY"):
        return None
    from desktop_agent.overlay.x11 import X11Canvas

    try:
        return Overlay(X11Canvas())
    except AgentError as error:
        logging.getLogger("desktop_agent").warning("nothing can be shown over the screen: %s", error.message)
        return None
