"""Layers over a picture that stands for a screen."""

from __future__ import annotations

from collections.abc import Sequence

from desktop_agent.overlay.layers import Patch
from desktop_agent.screen import PictureScreen


class PictureCanvas:
    """See ``desktop_agent.overlay.layers.Canvas``: what a camera or a capture of the screen sees, not what is in the document."""

    translucent = True

    def __init__(self, screen: PictureScreen) -> None:
        self._screen = screen

    def draw(self, layer: str, patches: Sequence[Patch]) -> None:
        self._screen.lay_over(layer, [(patch.rect, patch.picture) for patch in patches])

    def erase(self, layer: str) -> None:
        self._screen.lay_over(layer, [])

    def close(self) -> None:
        """Nothing is held."""
