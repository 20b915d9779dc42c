"""Screenshots made ready for searching: grey levels at several resolutions and features, computed once per content."""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict

import cv2
import numpy as np

from desktop_agent.locate.features import Detail, Features, Grey, extract, to_grey
from desktop_agent.screen import Screenshot


class PreparedScreen:
    """One monitor's content; features are computed on first use and kept. Thread-safe."""

    def __init__(self, screenshot: Screenshot) -> None:
        self.monitor = screenshot.monitor
        self.height, self.width = screenshot.image.shape[:2]
        self.levels = [to_grey(screenshot.image)]
        while min(self.levels[-1].shape) >= 64 and len(self.levels) < 5:
            height, width = self.levels[-1].shape
            smaller = cv2.resize(self.levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
            self.levels.append(np.asarray(smaller, dtype=np.uint8))
        self._features: dict[Detail, Features] = {}
        self._lock = threading.Lock()

    @property
    def diagonal(self) -> float:
        return float(np.hypot(self.width, self.height))

    @property
    def grey(self) -> Grey:
        return self.levels[0]

    def features(self, detail: Detail) -> Features:
        with self._lock:
            if detail not in self._features:
                self._features[detail] = extract(self.grey, detail)
            return self._features[detail]


class ScreenCache:
    """The last ``capacity`` screen contents, found by monitor and pixels."""

    def __init__(self, capacity: int = 6) -> None:
        self._capacity = capacity
        self._screens: OrderedDict[tuple[int, tuple[int, ...], int], PreparedScreen] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, screenshot: Screenshot) -> PreparedScreen:
        image = np.ascontiguousarray(screenshot.image)
        key = (screenshot.monitor.index, image.shape, zlib.crc32(image.data))
        with self._lock:
            screen = self._screens.get(key)
            if screen is None:
                screen = self._screens[key] = PreparedScreen(screenshot)
            self._screens.move_to_end(key)
            while len(self._screens) > self._capacity:
                self._screens.popitem(last=False)
            return screen
