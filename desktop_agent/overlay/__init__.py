"""What the agent draws over the screen: pictures that let every click through, stay on top and go away by themselves."""

from desktop_agent.overlay.layers import Canvas, Overlay, Patch
from desktop_agent.overlay.opening import open_overlay

__all__ = ["Canvas", "Overlay", "Patch", "open_overlay"]
