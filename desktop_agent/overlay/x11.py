"""Layers over an X display: override-redirect windows that are shaped (X Nonrectangular Window Shape Extension 1.1) and let
input through. With a compositor (EWMH: the owner of _NET_WM_CM_Sn) they are translucent, else cut out at half alpha."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desktop_agent.errors import ScreenUnavailable
from desktop_agent.overlay.layers import RGBA, Patch
from desktop_agent.x11 import connect

CHUNK = 1 << 17
"""Bytes of pixels in one request; every server takes requests of a quarter of a megabyte."""


class X11Canvas:
    """See ``desktop_agent.overlay.layers.Canvas``. The windows vanish with the connection, so with the process at the latest.

    Raises ``ScreenUnavailable`` where the display cannot be opened or has no shapes.
    """

    def __init__(self, display: str | None = None) -> None:
        self._display = connect(display)
        if not self._display.has_extension("SHAPE"):
            self._display.close()
            raise ScreenUnavailable("The X server has no SHAPE extension: nothing can be shown over the screen.")
        self._screen = self._display.screen()
        self._argb = self._argb_visual()
        self._windows: dict[str, list[Any]] = {}

    @property
    def translucent(self) -> bool:
        owner = self._display.intern_atom(f"_NET_WM_CM_S{self._display.get_default_screen()}")
        return self._argb is not None and bool(self._display.get_selection_owner(owner))

    def draw(self, layer: str, patches: Sequence[Patch]) -> None:
        translucent = self.translucent
        before = self._windows.get(layer, [])
        self._windows[layer] = [self._shown(patch, translucent) for patch in patches if patch.picture.size]
        for window in before:  # the new ones are there already: nothing flickers
            window.destroy()
        self._display.sync()

    def erase(self, layer: str) -> None:
        for window in self._windows.pop(layer, []):
            window.destroy()
        self._display.sync()

    def close(self) -> None:
        self._display.close()

    def _argb_visual(self) -> int | None:
        from Xlib import X

        for depth in self._screen.allowed_depths:
            if depth.depth == 32:
                return next((visual.visual_id for visual in depth.visuals if visual.visual_class == X.TrueColor), None)
        return None

    def _shown(self, patch: Patch, translucent: bool) -> Any:
        from Xlib import X, Xatom
        from Xlib.ext import shape

        root, rect = self._screen.root, patch.rect
        depth = 32 if translucent else self._screen.root_depth
        visual = self._argb if translucent else self._screen.root_visual
        pixmap = root.create_pixmap(rect.width, rect.height, depth)
        self._fill(pixmap, _pixels(patch.picture, translucent), depth)
        colours = root.create_colormap(visual, X.AllocNone)
        window = root.create_window(
            rect.left, rect.top, rect.width, rect.height, 0, depth, X.InputOutput, visual,
            override_redirect=True, background_pixmap=pixmap, border_pixel=0, colormap=colours, save_under=True,
        )  # fmt: skip
        kind = self._display.intern_atom("_NET_WM_WINDOW_TYPE_DND")  # compositors draw no shadow under these
        window.change_property(self._display.intern_atom("_NET_WM_WINDOW_TYPE"), Xatom.ATOM, 32, [kind])
        window.shape_rectangles(shape.SO.Set, shape.SK.Input, X.Unsorted, 0, 0, [])
        alpha = patch.picture[..., 3]
        outline = self._bitmap(alpha > 0 if translucent else alpha >= 128)
        window.shape_mask(shape.SO.Set, shape.SK.Bounding, 0, 0, outline)
        window.map()
        window.configure(stack_mode=X.Above)
        for resource in (outline, pixmap):
            resource.free()
        colours.free()
        return window

    def _fill(self, pixmap: Any, pixels: NDArray[np.uint8], depth: int) -> None:
        from Xlib import X

        height, width = pixels.shape[:2]
        context = pixmap.create_gc()
        rows = max(1, CHUNK // (4 * width))
        for top in range(0, height, rows):
            part = pixels[top : top + rows]
            pixmap.put_image(context, 0, top, width, len(part), X.ZPixmap, depth, 0, part.tobytes())
        context.free()

    def _bitmap(self, mask: NDArray[np.bool_]) -> Any:
        """A pixmap of depth 1, sent in the server's bit order with its scanline padding."""
        from Xlib import X

        height, width = mask.shape
        info = self._display.display.info
        unit = info.bitmap_format_scanline_pad
        padded = np.zeros((height, -(-width // unit) * unit), np.uint8)
        padded[:, :width] = mask
        data = np.packbits(padded, axis=1, bitorder="little" if info.bitmap_format_bit_order == 0 else "big")
        pixmap = self._screen.root.create_pixmap(width, height, 1)
        context = pixmap.create_gc(foreground=1, background=0)
        rows = max(1, CHUNK // data.shape[1])
        for top in range(0, height, rows):
            part = data[top : top + rows]
            pixmap.put_image(context, 0, top, width, len(part), X.XYBitmap, 1, 0, part.tobytes())
        context.free()
        return pixmap


def _pixels(picture: RGBA, translucent: bool) -> NDArray[np.uint8]:
    """HxWx4 in the byte order B, G, R, A of a little-endian TrueColor visual, colours times alpha where that is shown."""
    pixels = np.ascontiguousarray(picture[..., [2, 1, 0, 3]])
    if translucent:
        alpha = pixels[..., 3:].astype(np.uint16)
        pixels[..., :3] = (pixels[..., :3] * alpha + 127) // 255
    return pixels
