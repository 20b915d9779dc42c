"""Each phone's aim, followed over its frames; the photo that ends it starts where the last frame was."""

from __future__ import annotations

import threading
from collections import OrderedDict

from desktop_agent.locate import Localizer, Location, Tracker
from desktop_agent.screen import RGB, Screenshot

PHONES = 16


class Aims:
    """One tracker a device, of the devices that aimed last. Thread-safe."""

    def __init__(self, localizer: Localizer, capacity: int = PHONES) -> None:
        self._localizer, self._capacity = localizer, capacity
        self._trackers: OrderedDict[str, Tracker] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._trackers)

    def follow(self, device: str, frame: RGB, screenshots: list[Screenshot]) -> Location:
        """Locate the device's next small frame."""
        return self._tracker(device).update(frame, screenshots)

    def photo(self, device: str, view: RGB, screenshots: list[Screenshot], *, patient: bool = True) -> Location:
        """Locate the photo that ends the aim, by every means; without ``patient`` by those that take no seconds."""
        tracker = self._tracker(device)
        prior, monitor = tracker.prior(view), tracker.monitor
        return self._localizer.locate(view, screenshots, prior=prior, monitor=monitor, patient=patient)

    def forget(self, device: str) -> None:
        with self._lock:
            self._trackers.pop(device, None)

    def _tracker(self, device: str) -> Tracker:
        with self._lock:
            tracker = self._trackers.setdefault(device, Tracker(self._localizer))
            self._trackers.move_to_end(device)
            while len(self._trackers) > self._capacity:
                self._trackers.popitem(last=False)
            return tracker
