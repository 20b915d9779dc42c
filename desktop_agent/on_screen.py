"""What the agent itself shows on the screen: where a cut-out would land while a phone aims, and markers on request."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from desktop_agent.clips import Clip, ClipStore
from desktop_agent.geometry import Placement
from desktop_agent.locate import Location, MarkerGrid, Refusal, locate_by_markers
from desktop_agent.overlay import Overlay, Patch
from desktop_agent.screen import RGB, RGBA, Monitor, Screenshot, ScreenSource

GHOST_SECONDS = 0.8
"""A preview outlives the last frame that was located by this."""
GHOST_STEP = 1.0
"""Pixels that its edge must move before it is drawn anew."""
MARKER_SECONDS = 5.0
SETTLE_SECONDS, SETTLE_STEP = 0.6, 0.04
"""How long windows get to draw again what was covered."""
PREVIEWS = 8
HELPED = {Refusal.TOO_FEW_FEATURES, Refusal.NO_CONSISTENT_PLANE, Refusal.AMBIGUOUS, Refusal.UNSTABLE}
"""What markers may turn into an answer; a mirror image or a view of something beside the screen stays one."""


@dataclass(frozen=True, eq=False)
class _Ghost:
    placement: Placement
    drawn: float


class OnScreen:
    """The policy of the overlay. Without one nothing is shown, and the screen is looked at all the same. Thread-safe."""

    def __init__(
        self,
        screen: ScreenSource,
        clips: ClipStore,
        overlay: Overlay | None = None,
        *,
        ghost: bool = True,
        markers: bool = True,
    ) -> None:
        self._screen, self._clips, self._overlay = screen, clips, overlay
        self._ghost = ghost and overlay is not None
        self._markers = markers and overlay is not None
        self._lock = threading.Lock()
        self._previews: OrderedDict[tuple[str, str], RGBA] = OrderedDict()
        self._ghosts: dict[str, _Ghost] = {}
        self._unmarked: dict[str, list[Screenshot]] = {}

    @property
    def can_mark(self) -> bool:
        return self._markers

    def close(self) -> None:
        if self._overlay is not None:
            self._overlay.close()

    def look(self) -> list[Screenshot]:
        """Screenshots that know what of them is the agent's own. Raises ``ScreenUnavailable``."""
        shots = self._screen.grab()
        if self._overlay is None:
            return shots
        return [replace(shot, covered=self._overlay.covered(shot.monitor.rect)) for shot in shots]

    def preview(self, clip: Clip, target: Placement, monitors: list[Monitor]) -> None:
        """Show the clip where it would land, until the aim has been lost for ``GHOST_SECONDS``."""
        if not self._ghost or self._overlay is None:
            return
        from desktop_agent.overlay.ghost import ghost, moved

        layer, now = f"ghost {clip.device}", time.monotonic()
        with self._lock:
            last = self._ghosts.get(layer)
            reach = target.scale * float(np.hypot(*clip.size)) / 2
            settled = last is not None and moved(last.placement, target, reach) < GHOST_STEP
            if last is not None and settled and now - last.drawn < GHOST_SECONDS / 2 and self._overlay.shows(layer):
                return
            cutout = self._preview(clip)
            rects = [monitor.rect for monitor in monitors]
            patches = ghost(cutout, clip.size, target, rects, translucent=self._overlay.translucent)
            self._ghosts = {name: g for name, g in self._ghosts.items() if now - g.drawn < GHOST_SECONDS}
            if self._overlay.show(layer, patches, GHOST_SECONDS):
                self._ghosts[layer] = _Ghost(target, now)

    def show_markers(self, device: str, reason: Refusal | None, screenshots: list[Screenshot]) -> bool:
        """Show the marker grid for the device's next photo; False where that is not allowed or would not help."""
        if not self._markers or self._overlay is None or reason not in HELPED:
            return False
        patches = []
        for shot in screenshots:
            rect = shot.monitor.rect
            if shot.image.size:
                patches.append(Patch(rect.left, rect.top, MarkerGrid(shot.monitor).overlay()))
        with self._lock:
            if not patches or not self._overlay.show(_grid(device), patches, MARKER_SECONDS):
                return False
            self._unmarked = {name: s for name, s in self._unmarked.items() if self._overlay.shows(_grid(name))}
            self._unmarked[device] = screenshots
        return True

    def marked(self, device: str, view: RGB) -> tuple[Location, list[Screenshot]] | None:
        """Where the device's photo of the markers points, and the screenshots without them; the grid is gone then.

        None where no grid was shown for it.
        """
        with self._lock:
            screenshots = self._unmarked.pop(device, None)
        if screenshots is None or self._overlay is None or not self._overlay.hide(_grid(device)):
            return None
        return locate_by_markers(view, screenshots), screenshots

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """While something is pasted the screen shows nothing of the agent's, and has settled without it."""
        if self._overlay is None:
            yield
            return
        with self._overlay.quiet():
            if any(self._overlay.covered(monitor.rect) is not None for monitor in self._screen.monitors()):
                self._settle()
            yield

    def _settle(self) -> None:
        """Until two captures are the same, so that no window is still drawing what was covered."""
        deadline = time.monotonic() + SETTLE_SECONDS
        before = self._screen.grab()
        while time.monotonic() < deadline:
            time.sleep(SETTLE_STEP)
            now = self._screen.grab()
            same = (np.array_equal(a.image, b.image) for a, b in zip(before, now, strict=False))
            if len(before) == len(now) and all(same):
                return
            before = now

    def _preview(self, clip: Clip) -> RGBA:
        from desktop_agent.overlay.ghost import preview
        from server.images import decode_rgba

        key = (clip.device, clip.id)
        if key not in self._previews:
            self._previews[key] = preview(decode_rgba(self._clips.png(clip)))
        self._previews.move_to_end(key)
        while len(self._previews) > PREVIEWS:
            self._previews.popitem(last=False)
        return self._previews[key]


def _grid(device: str) -> str:
    return f"markers {device}"
