"""The paste-driver interface: what the agent asks of every way to put a cut-out into an application."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from desktop_agent.geometry import Placement
from desktop_agent.windows import Window

RGBA = NDArray[np.uint8]


@dataclass(frozen=True)
class Landing:
    """What is known after a paste. ``landing_error_px`` is measured on the screen, None where it was not or cannot be measured."""

    driver: str
    application: str
    anchor: Literal["point", "caret"] = "point"
    landing_error_px: float | None = None


class PasteDriver(Protocol):
    """One way to paste. ``paste`` is called at most once for one request of a phone."""

    name: str

    def can_handle(self, window: Window | None) -> bool:
        """True where this driver knows how to paste into the window (None: the bare desktop)."""
        ...

    def paste(self, cutout: RGBA, placement: Placement, window: Window | None) -> Landing:
        """Put the uint8 HxWx4 cut-out on the screen at ``placement`` (virtual desktop pixels).

        Raises ``PasteFailed`` with a code and a sentence that says what to do; nothing was pasted then, or the
        sentence says what was.
        """
        ...
