"""Models whose time on the device the test decides, with an answer that tells whose picture it was."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from server.segmenter import RGB, Mask, Stages, Tap


@dataclass
class StubModel:
    """Its map has the picture's first red value, over 255, everywhere. ``gate`` holds the device while it is not set."""

    name: str = "stub"
    fixed_s: float = 0.0
    each_s: float = 0.0
    gate: threading.Event = field(default_factory=threading.Event)
    batches: list[int] = field(default_factory=list)
    started: threading.Event = field(default_factory=threading.Event)
    fits: int = 1 << 30
    broken: int | None = None

    def __post_init__(self) -> None:
        self.gate.set()

    def predict(self, image: RGB, tap: Tap | None = None) -> Mask:
        stages = self.stages()
        return stages.finish(stages.infer([stages.prepare(image, tap)])[0], image)

    def stages(self) -> Stages:
        return Stages(lambda image, tap: int(image[0, 0, 0]), self.infer, self.finish)

    def infer(self, items: Sequence[int]) -> list[Any]:
        self.started.set()
        self.gate.wait(30)
        if len(items) > self.fits:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        if self.broken in items:
            raise ValueError(f"picture {self.broken} cannot be done")
        self.batches.append(len(items))
        if self.fixed_s or self.each_s:
            time.sleep(self.fixed_s + self.each_s * (len(items) - 1))
        return [item / 255 for item in items]

    @staticmethod
    def finish(value: float, image: RGB) -> Mask:
        return np.full(image.shape[:2], value, np.float32)


def picture(red: int, side: int = 16) -> RGB:
    """uint8 side x side x 3 of one colour."""
    return np.full((side, side, 3), (red, 0, 0), np.uint8)
