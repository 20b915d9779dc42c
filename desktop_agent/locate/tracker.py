"""Following the aim from frame to frame: the last pose predicts, a coarse shift and a local refinement confirm."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from desktop_agent.geometry import Homography
from desktop_agent.locate.candidate import Candidate, View, grow
from desktop_agent.locate.features import RGB, shrink
from desktop_agent.locate.localizer import Localizer
from desktop_agent.locate.location import Location
from desktop_agent.locate.refine import normalised, render
from desktop_agent.locate.screens import PreparedScreen
from desktop_agent.screen import Screenshot

FRAME_FINE, FRAME_COARSE, FRAME_SHIFT = 480, 320, 160
FRAME_POINTS = 140
THOROUGH_EVERY = 4
"""A lost aim is searched for cheaply, and thoroughly in every fourth frame."""
LOCK_SECONDS = 10.0
"""After a longer pause the phone may point anywhere, at the other one of two equal windows too."""


class Tracker:
    """One phone's aim; keeps only the last pose, for ``LOCK_SECONDS``. Thread-safe: frames are taken one after the other."""

    def __init__(self, localizer: Localizer, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._localizer, self._clock = localizer, clock
        self._lock = threading.Lock()
        self._pose: Homography | None = None
        self._monitor: int | None = None
        self._seen = 0.0
        self._lost = 0

    @property
    def locked(self) -> bool:
        return self._pose is not None and self._clock() - self._seen < LOCK_SECONDS

    @property
    def monitor(self) -> int | None:
        """The monitor (mss's index) that ``prior`` is about; None when lost."""
        return self._monitor if self.locked else None

    def update(self, view: RGB, screenshots: list[Screenshot]) -> Location:
        """Locate one frame (uint8 HxWx3 RGB, about 480-640 pixels long)."""
        started = time.perf_counter()
        with self._lock:
            location = self._followed(view, screenshots) or self._searched(view, screenshots)
            self._remember(location, view)
        return replace(location, elapsed_ms=(time.perf_counter() - started) * 1000)

    def prior(self, view: RGB) -> Homography | None:
        """The guessed pose of another picture of the same aim (the final photo), whatever its size; None when lost."""
        pose, (height, width) = self._pose, view.shape[:2]
        return pose @ _centered(width, height) if pose is not None and self.locked and view.size else None

    def forget(self) -> None:
        """Start afresh with the next frame."""
        with self._lock:
            self._pose, self._monitor, self._lost = None, None, 0

    def _followed(self, view: RGB, screenshots: list[Screenshot]) -> Location | None:
        shot = next((s for s in screenshots if s.monitor.index == self._monitor and s.image.size), None)
        if self._pose is None or not self.locked or shot is None or min(view.shape[:2]) < FRAME_SHIFT // 4:
            return None
        screen = self._localizer.screens([shot])[0]
        frame = View(view, fine=FRAME_FINE, coarse=FRAME_COARSE)
        pose = self._pose @ _centered(frame.width, frame.height)
        candidate = follow(frame, screen, pose)
        return candidate.located(frame, "track") if candidate is not None else None

    def _searched(self, view: RGB, screenshots: list[Screenshot]) -> Location:
        thorough = self._lost % THOROUGH_EVERY == 0
        return self._localizer.locate(view, screenshots, thorough=thorough, patient=False)

    def _remember(self, location: Location, view: RGB) -> None:
        if location.homography is None:
            self._pose, self._monitor = None, None
            self._lost += 1
        else:
            height, width = view.shape[:2]
            self._pose = location.homography @ _centered(width, height).inverse()
            self._monitor = location.monitor
            self._seen = self._clock()
            self._lost = 0


def follow(frame: View, screen: PreparedScreen, pose: Homography) -> Candidate | None:
    """Confirm a guessed pose (frame -> screen) that is off by up to a fifth of the frame; None when it is not confirmed."""
    for guess in (pose @ _shift(frame, screen, pose), pose):
        grown = grow(frame, screen, guess, points=FRAME_POINTS, levels=3)
        if isinstance(grown, Candidate) and grown.proven:
            return grown
    return None


def _shift(frame: View, screen: PreparedScreen, pose: Homography) -> Homography:
    """How far the frame has moved from where the pose expects it, by phase correlation: frame -> expected frame."""
    small = shrink(frame.full, FRAME_SHIFT)
    to_frame = frame.from_smaller(small)
    drawn = render(screen, pose @ to_frame, (small.shape[1], small.shape[0]))
    a, b = (normalised(image, 8).astype(np.float32) - 128 for image in (drawn.image, small))
    a[~drawn.inside] = 0
    window = cv2.createHanningWindow((small.shape[1], small.shape[0]), cv2.CV_32F)
    (dx, dy), response = cv2.phaseCorrelate(a, b, window)
    if response < 0.05 or max(abs(dx), abs(dy)) > 0.25 * max(small.shape):
        return Homography.identity()
    ratio = frame.width / small.shape[1]
    return Homography.translation(-dx * ratio, -dy * ratio)


def _centered(width: int, height: int) -> Homography:
    """From a picture's pixels to offsets from its centre in long sides, which pictures of one aim share."""
    long = max(width, height)
    return Homography(np.array([[1 / long, 0, -width / 2 / long], [0, 1 / long, -height / 2 / long], [0, 0, 1.0]]))
