"""Screenshots made ready for searching: grey levels at several resolutions and features, computed once per content."""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict

import cv2
import numpy as np

from desktop_agent.locate.copies import Copy, copies
from desktop_agent.locate.features import Detail, Features, Grey, extract, to_grey
from desktop_agent.screen import Screenshot

FAST_SCREEN = Detail(960, 2500)
SQUARE_SCREEN = Detail(1600, 4000, 0.02, upright=True)
LITTLE = 0.05
"""Part of a screen that may differ (a clock, a cursor, a small video) while its key points are still good to search with."""


class PreparedScreen:
    """One monitor's content; features are computed on first use and kept. Thread-safe.

    A content that differs little from ``known`` borrows its features until ``renew``: the pixels that a pose is refined and
    compared with are always its own. What the agent has drawn over the screen is neither searched nor compared.
    """

    def __init__(self, screenshot: Screenshot, known: PreparedScreen | None = None) -> None:
        self.monitor = screenshot.monitor
        self.height, self.width = screenshot.image.shape[:2]
        covered = screenshot.covered
        self.clear: Grey | None = (
            None if covered is None or not covered.any() else np.where(covered, 0, 255).astype(np.uint8)
        )
        self.levels = [to_grey(screenshot.image)]
        while min(self.levels[-1].shape) >= 64 and len(self.levels) < 5:
            height, width = self.levels[-1].shape
            smaller = cv2.resize(self.levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
            self.levels.append(np.asarray(smaller, dtype=np.uint8))
        lender = None if known is None else known._lender or known
        self._lender: PreparedScreen | None = lender if lender is not None and self._differs_little(lender) else None
        self._features: dict[Detail, Features] = {}
        self._copies: list[Copy] | None = None
        self._lock = threading.Lock()

    @property
    def diagonal(self) -> float:
        return float(np.hypot(self.width, self.height))

    @property
    def grey(self) -> Grey:
        return self.levels[0]

    @property
    def borrows(self) -> bool:
        return self._lender is not None

    def features(self, detail: Detail) -> Features:
        lender = self._lender
        if lender is not None:
            return lender.features(detail)
        with self._lock:
            if detail not in self._features:
                self._features[detail] = extract(self.grey, detail, self.clear)
            return self._features[detail]

    def copies(self) -> list[Copy]:
        """Where the screen looks the same in another place."""
        lender = self._lender
        if lender is not None:
            return lender.copies()
        features = self.features(FAST_SCREEN)
        with self._lock:
            if self._copies is None:
                self._copies = copies(features, self.diagonal)
            return self._copies

    def renew(self) -> None:
        """From now on search with this content's own features."""
        self._lender = None

    def _differs_little(self, other: PreparedScreen) -> bool:
        if other.grey.shape != self.grey.shape:
            return False
        level = min(2, len(self.levels) - 1)
        differs = cv2.absdiff(self.levels[level], other.levels[level]) > 8
        for clear in (self.clear, other.clear):
            if clear is not None:
                differs &= cv2.resize(clear, differs.shape[::-1], interpolation=cv2.INTER_AREA) == 255
        return float(differs.mean()) < LITTLE


class ScreenCache:
    """The last ``capacity`` screen contents, found by monitor and pixels."""

    def __init__(self, capacity: int = 6) -> None:
        self._capacity = capacity
        self._screens: OrderedDict[tuple[int, tuple[int, ...], int, int], PreparedScreen] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, screenshot: Screenshot) -> PreparedScreen:
        image = np.ascontiguousarray(screenshot.image)
        covered = 0 if screenshot.covered is None else zlib.crc32(np.packbits(screenshot.covered).data)
        key = (screenshot.monitor.index, image.shape, zlib.crc32(image.data), covered)
        with self._lock:
            screen = self._screens.get(key)
            if screen is None:
                before = [known for (index, *_), known in self._screens.items() if index == screenshot.monitor.index]
                screen = self._screens[key] = PreparedScreen(screenshot, before[-1] if before else None)
            self._screens.move_to_end(key)
            while len(self._screens) > self._capacity:
                self._screens.popitem(last=False)
            return screen
