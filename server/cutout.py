"""From a photograph to a cut-out: the one pipeline behind every command and every HTTP dialect."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from server.edges import enlarged, stretched
from server.errors import BadOption, NoObject
from server.foreground import take_foreground
from server.images import RGBA
from server.looking import View, look
from server.segmenter import RGB, Mask, Segmenter, Tap
from server.selection import OBJECT_THRESHOLD, Window, select_object

__all__ = ["MODES", "Box", "Cutout", "Stopwatch", "cut", "select_object"]

MODES = ("object", "ink", "sheet")
GLASS = ("auto", "on", "off")
TRACE = 4
"""Alpha levels (of 255) below this cannot be seen, but would widen the box; as near to opaque they would only cost time."""
MARGIN = 2
"""Pixels of the small map around the object, within which its edge may move at full size."""


@dataclass(frozen=True)
class Box:
    """Whole pixels of the upright photo; ``right`` and ``bottom`` are outside."""

    left: int
    top: int
    right: int
    bottom: int

    def as_list(self) -> list[int]:
        """[left, top, right, bottom], as JSON shows it."""
        return [self.left, self.top, self.right, self.bottom]


@dataclass(frozen=True, eq=False)
class Cutout:
    """An object without its surroundings.

    ``rgba`` is uint8 hxwx4, cropped to ``box``, straight (not premultiplied) alpha, RGB zero where alpha is zero.
    ``image_size`` is (width, height) of the upright photo, ``coverage`` the share of it that the alpha covers, ``score`` the
    model's mean probability over the object, both in [0, 1]. ``methods`` names what ran beside the model: ``boundary``,
    ``matting``, ``glass``, ``mode``.
    """

    rgba: RGBA
    box: Box
    image_size: tuple[int, int]
    coverage: float
    score: float
    model: str
    timings_ms: dict[str, float] = field(default_factory=dict)
    methods: dict[str, str] = field(default_factory=dict)

    def full(self) -> RGBA:
        """uint8 HxWx4 of the photo's size."""
        width, height = self.image_size
        canvas = np.zeros((height, width, 4), np.uint8)
        canvas[self.box.top : self.box.bottom, self.box.left : self.box.right] = self.rgba
        return canvas

    def mask(self) -> NDArray[np.uint8]:
        """The alpha as a grey map of the photo's size, uint8 HxW."""
        width, height = self.image_size
        canvas = np.zeros((height, width), np.uint8)
        canvas[self.box.top : self.box.bottom, self.box.left : self.box.right] = self.rgba[..., 3]
        return canvas

    def summary(self) -> dict[str, Any]:
        """What ``--json`` and the HTTP faces tell of it."""
        return {
            "status": "ok",
            "box": self.box.as_list(),
            "image_size": list(self.image_size),
            "coverage": round(self.coverage, 5),
            "score": round(self.score, 4),
            "model": self.model,
            "methods": self.methods,
            "timings_ms": {name: round(value, 1) for name, value in self.timings_ms.items()},
        }


class Stopwatch:
    """Milliseconds by stage, in the order in which the stages ran."""

    def __init__(self) -> None:
        self.timings_ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.timings_ms[name] = self.timings_ms.get(name, 0.0) + (time.perf_counter() - start) * 1000


def cut(
    image: RGB,
    segmenter: Segmenter,
    *,
    tap: Tap | None = None,
    mode: str = "object",
    refine: bool = False,
    matting: bool = False,
    glass: str = "off",
    post_process: bool = False,
    colours: bool = True,
) -> Cutout:
    """Cut the object out of a photo.

    ``image`` is uint8 HxWx3 RGB, upright; ``tap`` a position in its pixels (pixel centres at integers) that chooses the object
    under it or nearest to it. ``mode``: ``object``; ``ink``, the drawing on a paper; ``sheet``, the paper itself, rectified.
    ``refine`` spends more time on the boundary, ``matting`` finds the opacity of hair and the like, ``glass`` (``auto``,
    ``on``, ``off``) keeps glass transparent, ``post_process`` sharpens and smooths the map. ``Cutout.methods`` says what ran.
    Without ``colours`` only the alpha is wanted: RGB is left black, which saves time.

    Raises ``NoObject`` where the model sees none, ``BadOption`` for a tap outside the picture or an unknown mode,
    ``ModelUnavailable`` where ``glass`` is ``on`` and no model for it is installed.
    """
    height, width = image.shape[:2]
    if tap is not None and not (-0.5 <= tap[0] <= width - 0.5 and -0.5 <= tap[1] <= height - 0.5):
        raise BadOption(f"The tap {tap[0]:g},{tap[1]:g} is outside the {width} x {height} picture.", code="tap_outside")
    if mode not in MODES or glass not in GLASS:
        raise BadOption(f"mode is one of {', '.join(MODES)}, glass one of {', '.join(GLASS)}.")
    clock = Stopwatch()
    if mode == "ink":
        from server.ink import cut_ink

        return cut_ink(image, clock)
    if mode == "sheet":
        from server.sheet import cut_sheet

        return cut_sheet(image, segmenter, tap, clock)
    with clock.stage("predict"):
        view = look(image, segmenter, tap, refine=refine)
    methods: dict[str, str] = {}
    glass_mask: Mask | None = None
    if glass != "off":
        from server.glass import glass_of

        with clock.stage("glass"):
            found = glass_of(view, glass)
        if found is not None:
            methods["glass"], glass_mask = found
            probability = np.maximum(view.mask if view.region is not None else np.float32(0), glass_mask)
            view = View(view.picture, np.asarray(probability, np.float32), probability > 0)
    unsure = tap is None and _score(view.mask) < getattr(segmenter, "least_score", 0.0)
    if view.region is None or unsure:
        raise _nothing(tap)
    with clock.stage("boundary"):
        window, alpha = _alpha(image, view, refine, matting, post_process, methods)
    if alpha.max(initial=0) < TRACE:
        raise _nothing(tap)
    with clock.stage("compose"):
        return _compose(image, view, window, alpha, glass_mask, colours, segmenter.name, methods, clock)


def _alpha(
    image: RGB, view: View, refine: bool, matting: bool, post_process: bool, methods: dict[str, str]
) -> tuple[Window, NDArray[np.uint8]]:
    """The window of the photo that holds the object, and the alpha in it, at the photo's resolution."""
    mask = view.mask
    if post_process:
        from server.smoothing import smoothed

        mask = smoothed(mask)
    window = _around(mask, image)
    if matting:
        from server.matting import matte

        name, alpha = matte(image, view.picture, mask, window)
        methods["matting"] = name
        return window, alpha
    if refine:
        from server.boundary import refined

        name, alpha = refined(image, view.picture, mask, window)
        methods["boundary"] = name
        return window, alpha
    return window, enlarged(view.picture, mask, image, window)


def _around(mask: Mask, image: RGB) -> Window:
    """The part of the photo under the small mask's support."""
    left, top, across, down = cv2.boundingRect((mask > 1 / 510).astype(np.uint8))
    scale_x, scale_y = image.shape[1] / mask.shape[1], image.shape[0] / mask.shape[0]
    margin = MARGIN if mask.shape != image.shape[:2] else 0
    return Window(
        max(0, int((left - margin) * scale_x)),
        max(0, int((top - margin) * scale_y)),
        min(image.shape[1], round((left + across + margin) * scale_x)),
        min(image.shape[0], round((top + down + margin) * scale_y)),
    )


def _compose(
    image: RGB,
    view: View,
    window: Window,
    alpha: NDArray[np.uint8],
    glass: Mask | None,
    colours: bool,
    model: str,
    methods: dict[str, str],
    clock: Stopwatch,
) -> Cutout:
    alpha = visible(alpha)
    left, top, width, height = cv2.boundingRect(alpha)
    box = Box(window.left + left, window.top + top, window.left + left + width, window.top + top + height)
    alpha = np.ascontiguousarray(alpha[top : top + height, left : left + width])
    here = Window(*box.as_list())
    if colours or glass is not None:  # what glass lets through is told by its colours
        rgba = cv2.cvtColor(image[here.slices], cv2.COLOR_RGB2RGBA)
        take_foreground(rgba, alpha, _same_view(view.picture, image, box))
    else:
        rgba = np.zeros((height, width, 4), np.uint8)
    if glass is not None:
        from server.glass import continued_background, seen_through

        behind = continued_background(view.picture, view.mask)
        rgba[..., :3], alpha = seen_through(
            rgba[..., :3], alpha, stretched(glass, image, here), stretched(behind, image, here)
        )
    return Cutout(
        rgba=_with_alpha(rgba, alpha),
        box=box,
        image_size=(image.shape[1], image.shape[0]),
        coverage=cv2.sumElems(alpha)[0] / 255 / image.shape[0] / image.shape[1],
        score=_score(view.mask),
        model=model,
        methods=methods,
        timings_ms=clock.timings_ms,
    )


def visible(alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Without traces: see ``TRACE``."""
    opaque = cv2.compare(alpha, 255 - TRACE, cv2.CMP_GT)
    return np.asarray(cv2.max(cv2.threshold(alpha, TRACE - 1, 0, cv2.THRESH_TOZERO)[1], opaque))


def _with_alpha(rgba: RGBA, alpha: NDArray[np.uint8]) -> RGBA:
    """The alpha put in, and nothing left of what it hides."""
    cv2.insertChannel(alpha, rgba, 3)
    pixels = rgba.view(np.int32)
    return np.asarray(cv2.copyTo(pixels, alpha)).view(np.uint8).reshape(rgba.shape)


def _same_view(picture: RGB, image: RGB, box: Box) -> RGB:
    """The box in the small picture."""
    across, down = picture.shape[1] / image.shape[1], picture.shape[0] / image.shape[0]
    left, top = int(box.left * across), int(box.top * down)
    return picture[top : max(top + 1, round(box.bottom * down)), left : max(left + 1, round(box.right * across))]


def _nothing(tap: Tap | None) -> NoObject:
    hint = "" if tap else "tap the one that you mean, "
    return NoObject(
        f"No object was found in the picture: {hint}come closer, or put the object on a plainer background."
    )


def _score(mask: Mask) -> float:
    """The mean probability over the object; a matte may leave some where the map is low everywhere."""
    solid = mask[mask > OBJECT_THRESHOLD]
    return float(solid.mean()) if solid.size else float(mask.max())
