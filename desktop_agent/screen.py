"""Screen capture: all monitors in physical pixels, or a picture where there is no display."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from desktop_agent.geometry import Point, Rect

RGB = NDArray[np.uint8]


@dataclass(frozen=True)
class Monitor:
    """``index`` is mss's (1 is the first), ``rect`` lies in the virtual desktop's pixels and may have negative offsets."""

    index: int
    rect: Rect


@dataclass(frozen=True, eq=False)
class Screenshot:
    """``image`` is uint8 HxWx3 RGB of the monitor's size."""

    monitor: Monitor
    image: RGB

    def to_desktop(self, point: Point) -> Point:
        """From this monitor's pixels to the virtual desktop's."""
        return point.shifted(self.monitor.rect.left, self.monitor.rect.top)


class ScreenSource(Protocol):
    """What the agent looks at; replace it in tests."""

    def monitors(self) -> list[Monitor]: ...

    def grab(self) -> list[Screenshot]:
        """A screenshot of every monitor, in the order of ``monitors``. Raises ``ScreenUnavailable``."""
        ...
