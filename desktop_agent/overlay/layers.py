"""Named layers over the screen with a time to live, and which pixels of a screenshot they cover."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from desktop_agent.geometry import Rect

RGBA = NDArray[np.uint8]
Mask = NDArray[np.bool_]

REMEMBERED_SECONDS = 1.2
"""A phone's frame shows what was on the screen when it was taken, some time before it arrives."""
MARGIN = 4
"""Pixels around what is drawn that a camera or a scaled screen mixes with it."""


@dataclass(frozen=True, eq=False)
class Patch:
    """``picture`` is uint8 HxWx4 with straight alpha; its first pixel lies at (``left``, ``top``) of the virtual desktop."""

    left: int
    top: int
    picture: RGBA

    @property
    def rect(self) -> Rect:
        height, width = self.picture.shape[:2]
        return Rect(self.left, self.top, width, height)


class Canvas(Protocol):
    """Where layers are drawn; calls come one after the other. Any exception means that nothing can be drawn any more."""

    @property
    def translucent(self) -> bool:
        """Whether an alpha between 0 and 255 shows what is below; else only where it is at least 128 is drawn."""
        ...

    def draw(self, layer: str, patches: Sequence[Patch]) -> None:
        """Replace the layer; it is on the screen when this returns."""
        ...

    def erase(self, layer: str) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, eq=False)
class _Trace:
    """What a layer covers or covered; ``until`` is None while it is shown."""

    rect: Rect
    mask: Mask
    until: float | None


class Overlay:
    """Layers on a canvas. A layer is gone when its time is over, whatever became of who asked for it. Thread-safe."""

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas
        self._changed = threading.Condition()
        self._ends: dict[str, float] = {}
        self._traces: dict[str, list[_Trace]] = {}
        self._quiet = 0
        self._closed = False
        self._thread = threading.Thread(target=self._expire, name="arcp-overlay")
        self._thread.start()

    @property
    def translucent(self) -> bool:
        return self._canvas.translucent

    def close(self) -> None:
        """Remove everything."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        with self._changed:
            self._canvas.close()

    def show(self, layer: str, patches: Sequence[Patch], seconds: float) -> bool:
        """Show these pictures as the layer for a while; whether they are on the screen now."""
        with self._changed:
            if self._closed or self._quiet:
                return False
            try:
                self._canvas.draw(layer, patches)
            except Exception as error:  # a preview is never worth a failed request
                logging.getLogger("desktop_agent").warning("nothing can be shown over the screen: %s", error)
                self._closed = True
                self._changed.notify_all()
                return False
            now = time.monotonic()
            self._leave(layer, now)
            self._traces.setdefault(layer, []).extend(_Trace(*_footprint(patch), None) for patch in patches)
            self._ends[layer] = now + seconds
            self._changed.notify_all()
            return True

    def hide(self, layer: str) -> bool:
        """Whether it was shown until now."""
        with self._changed:
            return self._erase(layer)

    def shows(self, layer: str) -> bool:
        with self._changed:
            return layer in self._ends

    @contextmanager
    def quiet(self) -> Iterator[bool]:
        """Nothing is shown meanwhile. Yields whether something was removed for it."""
        with self._changed:
            self._quiet += 1
            removed = [self._erase(layer) for layer in list(self._ends)]
        try:
            yield any(removed)
        finally:
            with self._changed:
                self._quiet -= 1

    def covered(self, area: Rect) -> Mask | None:
        """Which pixels of ``area`` (HxW) any layer covers or has just covered; None for none of them."""
        mask: Mask | None = None
        with self._changed:
            now = time.monotonic()
            self._forget(now)
            for trace in (trace for traces in self._traces.values() for trace in traces):
                common = trace.rect.intersection(area)
                if common is None:
                    continue
                if mask is None:
                    mask = np.zeros((area.height, area.width), np.bool_)
                mask[_slices(common, area)] |= trace.mask[_slices(common, trace.rect)]
        return mask

    def _erase(self, layer: str) -> bool:
        if self._ends.pop(layer, None) is None:
            return False
        try:
            self._canvas.erase(layer)
        except Exception as error:
            logging.getLogger("desktop_agent").warning("the screen is gone: %s", error)
            self._closed = True
        self._leave(layer, time.monotonic())
        return True

    def _leave(self, layer: str, now: float) -> None:
        """What the layer showed is remembered for a moment."""
        until = now + REMEMBERED_SECONDS
        traces = self._traces.get(layer, [])
        self._traces[layer] = [t if t.until is not None else _Trace(t.rect, t.mask, until) for t in traces]
        self._forget(now)

    def _forget(self, now: float) -> None:
        for layer, traces in list(self._traces.items()):
            kept = [trace for trace in traces if trace.until is None or trace.until > now]
            if kept:
                self._traces[layer] = kept
            else:
                del self._traces[layer]

    def _expire(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                for layer in [layer for layer, end in self._ends.items() if end <= now]:
                    self._erase(layer)
                self._changed.wait(max(0.01, min(self._ends.values()) - now) if self._ends else None)
            for layer in list(self._ends):
                self._erase(layer)


def _footprint(patch: Patch) -> tuple[Rect, Mask]:
    """The pixels that a patch covers, with a margin around them."""
    import cv2

    drawn = np.pad(patch.picture[..., 3], MARGIN)
    side = 2 * MARGIN + 1
    grown = cv2.dilate((drawn > 0).astype(np.uint8), np.ones((side, side), np.uint8))
    rect = patch.rect
    return Rect(rect.left - MARGIN, rect.top - MARGIN, rect.width + 2 * MARGIN, rect.height + 2 * MARGIN), grown > 0


def _slices(part: Rect, whole: Rect) -> tuple[slice, slice]:
    top, left = part.top - whole.top, part.left - whole.left
    return slice(top, top + part.height), slice(left, left + part.width)
