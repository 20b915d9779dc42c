"""The ``inkscape`` driver: the cut-out at full resolution in an SVG on the clipboard, corrected by Inkscape's own actions.

Inkscape puts what it pastes with its centre under the pointer, in user units; how many pixels those are (the zoom) and the
last half pixel are seen on the screen and corrected through the actions it exports on the session bus.
"""

from __future__ import annotations

import base64
import math

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Placement, normalized_degrees
from desktop_agent.paste.closed_loop import Desk, Watch, paste_by_clipboard
from desktop_agent.paste.driver import RGBA, Landing
from desktop_agent.paste.match import Match
from desktop_agent.paste.png import encode_png
from desktop_agent.paste.session_bus import call
from desktop_agent.windows import Window

SVG = "image/x-inkscape-svg"
GOOD_PX, GOOD_SCALE, GOOD_DEGREES = 0.3, 0.004, 0.15
CORRECTIONS = 3
REDRAW_SECONDS = 0.5  # some corrections are too small to be seen


class InkscapeDriver:
    name = "inkscape"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._zoom: dict[int, float] = {}  # window id -> screen pixels per user unit when last seen

    def can_handle(self, window: Window | None) -> bool:
        return window is not None and "inkscape" in window.app_class.lower()

    def paste(self, cutout: RGBA, placement: Placement, window: Window | None) -> Landing:
        """Raises ``PasteFailed``; the cut-out stays selected after a paste."""
        if window is None:
            raise PasteFailed("There is no Inkscape window under the point.", code="no_window")
        known = self._zoom.get(window.id)
        units = placement.scale / (known or 1.0)  # user units per cut-out pixel
        scales = (0.8, 1.25) if known else (0.1, 8.0)

        def seen(watch: Watch) -> Match:
            try:
                return watch.find(cutout, placement, scales=scales)
            except PasteFailed:
                if not known:
                    raise
                return watch.find(cutout, placement, scales=(0.1, 8.0), seconds=0)  # the zoom was changed meanwhile

        svg = {SVG: _svg(cutout, units, placement.rotation)}
        watch, match = paste_by_clipboard(self._desk, window, placement, svg, then=seen)
        zoom = self._zoom[window.id] = match.placement.scale / units
        landed = self._correct(watch, cutout, match.placement, placement, zoom)
        return Landing(self.name, window.app_class, landing_error_px=landed.center.distance(placement.center))

    def _correct(self, watch: Watch, cutout: RGBA, landed: Placement, wanted: Placement, zoom: float) -> Placement:
        """Move, scale and turn the selected object until it is there, or nothing improves."""
        for _ in range(CORRECTIONS):
            ratio = wanted.scale / landed.scale
            turn = normalized_degrees(wanted.rotation - landed.rotation)
            dx, dy = wanted.center.x - landed.center.x, wanted.center.y - landed.center.y
            right_size = abs(ratio - 1) < GOOD_SCALE and abs(turn) < GOOD_DEGREES
            if right_size and math.hypot(dx, dy) < GOOD_PX:
                break
            was = watch.now()
            if abs(turn) >= GOOD_DEGREES:
                _act("transform-rotate", f"{turn:.4f}")
            if abs(ratio - 1) >= GOOD_SCALE:
                _act("transform-scale", f"{ratio:.6f}")
            _act("transform-translate", f"'{dx / zoom:.5f},{dy / zoom:.5f}'")
            watch.wait_for_change(was, REDRAW_SECONDS)
            found = watch.refind(cutout, wanted)
            if found is None:
                raise PasteFailed(
                    "The cut-out was pasted, but moving it in Inkscape lost it from view: undo (Ctrl+Z) and try again.",
                    code="lost",
                )
            landed = found.placement
        return landed


def _act(action: str, argument: str) -> None:
    call("org.inkscape.Inkscape", "/org/inkscape/Inkscape", "org.gtk.Actions.Activate", action, f"[<{argument}>]", "{}")


def _svg(cutout: RGBA, units: float, rotation: float) -> bytes:
    """An SVG document that holds the cut-out once, ``units`` user units per pixel, turned about its centre."""
    height, width = cutout.shape[:2]
    data = base64.b64encode(encode_png(cutout)).decode()
    side = math.hypot(width, height) * units
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{side:.6f}" height="{side:.6f}" viewBox="0 0 {side:.6f} {side:.6f}">'
        f'<image width="{width}" height="{height}" preserveAspectRatio="none" '
        f'transform="translate({side / 2:.6f} {side / 2:.6f}) rotate({rotation:.6f}) scale({units:.8f}) '
        f'translate({-width / 2} {-height / 2})" xlink:href="data:image/png;base64,{data}"/></svg>'
    ).encode()
