"""Measure where a cut-out lies on a screenshot: its rendering is fitted to the pixels that changed.

Forward-additive Lucas-Kanade over shift, scale and rotation, coarse to fine, with the mix alpha * object + (1 - alpha) * before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from desktop_agent.geometry import Placement, Point, Rect
from desktop_agent.paste.driver import RGBA
from desktop_agent.screen import RGB

Image = NDArray[np.float32]

MARGIN = 24  # pixels around the expected place that may hold the displaced object
LONG_SIDE = 400  # larger regions are measured at a lower resolution
FAINT = 3.0  # grey levels; a rendering that changes less cannot be seen
MAX_UNEXPLAINED = 0.35


@dataclass(frozen=True)
class Measured:
    """``placement`` is where the object was seen; None where the screen does not show it. ``visible`` is False where a perfect
    rendering would have changed nothing that can be measured (white on white, wholly transparent, off the screen)."""

    placement: Placement | None
    visible: bool

    def error_px(self, expected: Placement) -> float | None:
        return self.placement.center.distance(expected.center) if self.placement else None


def measure(before: RGB, after: RGB, cutout: RGBA, expected: Placement) -> Measured:
    """Fit ``cutout`` near ``expected`` (pixels of the screenshots, uint8 HxWx3, one size)."""
    height, width = cutout.shape[:2]
    screen = Rect(0, 0, before.shape[1], before.shape[0])
    bounds = expected.bounds(width, height)
    region = Rect(
        bounds.left - MARGIN, bounds.top - MARGIN, bounds.width + 2 * MARGIN, bounds.height + 2 * MARGIN
    ).intersection(screen)
    if region is None:
        return Measured(None, False)
    rows, columns = slice(region.top, region.bottom), slice(region.left, region.right)
    images = before[rows, columns].astype(np.float32), after[rows, columns].astype(np.float32), _premultiplied(cutout)
    place = _moved(expected, -region.left, -region.top, 1.0)
    side = max(region.width, region.height)
    finest = min(1.0, LONG_SIDE / side)
    if not _Scene.at(finest, *images, expected.scale).visible(place, finest):
        return Measured(None, False)
    factors = [finest * part for part in (0.125, 0.25, 0.5) if finest * part * side >= 40]
    for factor in [*factors, finest]:
        scene = _Scene.at(factor, *images, expected.scale)
        place = scene.fit(place, factor)
    if scene.unexplained(place, finest) > MAX_UNEXPLAINED:
        return Measured(None, True)
    return Measured(_moved(place, region.left, region.top, 1.0), True)


def _moved(placement: Placement, dx: float, dy: float, factor: float) -> Placement:
    center = Point(placement.center.x * factor + dx, placement.center.y * factor + dy)
    return Placement(center, placement.scale * factor, placement.rotation)


def _premultiplied(cutout: RGBA) -> Image:
    image = cutout.astype(np.float32)
    image[..., :3] *= image[..., 3:] / 255
    return image


@dataclass(frozen=True)
class _Scene:
    """A region before and after at one resolution, HxWx3, and the cut-out premultiplied, shrunken to about its size there."""

    before: Image
    after: Image
    layer: Image
    raster: tuple[int, int]  # the cut-out's width and height before shrinking

    @classmethod
    def at(cls, factor: float, before: Image, after: Image, cutout: Image, scale: float) -> _Scene:
        """``factor`` times the region's resolution, where the cut-out is shown at ``scale * factor``."""
        height, width = cutout.shape[:2]
        shrink = min(1.0, scale * factor)
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        layer = (
            cutout if shrink == 1 else np.asarray(cv2.resize(cutout, size, interpolation=cv2.INTER_AREA), np.float32)
        )
        return cls(_shrunken(before, factor), _shrunken(after, factor), layer, (width, height))

    def render(self, place: Placement, factor: float) -> Image:
        """What the region should look like with the cut-out at ``place`` (pixels of the full region)."""
        matrix = _moved(place, 0, 0, factor).matrix(*self.raster)
        matrix[:, :2] *= (self.raster[0] / self.layer.shape[1], self.raster[1] / self.layer.shape[0])
        layer = _warped(self.layer, matrix, self.before.shape[1], self.before.shape[0])
        return np.asarray(layer[..., :3] + (1 - layer[..., 3:] / 255) * self.before, dtype=np.float32)

    def visible(self, place: Placement, factor: float) -> bool:
        change = np.abs(self.render(place, factor) - self.before).max(axis=2)
        return bool((change > FAINT).sum() >= 12)

    def fit(self, place: Placement, factor: float) -> Placement:
        """``place`` improved on this resolution."""
        radius = max(4.0, math.sqrt(self.raster[0] * self.raster[1]) * place.scale * factor / 2)
        for _ in range(12):
            model = self.render(place, factor)
            residual = (self.after - model).ravel()
            steps = (0.5, 0.5, 0.5 / radius, 0.5 / radius)  # half a pixel each: shift, shift, growth, turn in radians
            slopes = [self._slope(place, axis, step, factor) for axis, step in enumerate(steps)]
            design = np.column_stack(slopes).astype(np.float64)
            # What covers the object (a toolbar, a notice) is an outlier, not a reason to move.
            weight = 1 / np.maximum(1.0, np.abs(residual) / max(6.0, 1.5 * float(np.median(np.abs(residual)))))
            normal = design.T @ (design * weight[:, None]) + np.diag([1e-3, 1e-3, 1e-3 * radius**2, 1e-3 * radius**2])
            solved = np.linalg.solve(normal, design.T @ (residual * weight))
            limit = np.array([4.0, 4.0, 0.1, 0.1])
            solved = np.clip(solved, -limit, limit)
            for axis, amount in enumerate(solved):
                place = _nudged(place, axis, float(amount), factor)
            if np.abs(solved * [1, 1, radius, radius]).max() < 0.01:
                break
        return place

    def _slope(self, place: Placement, axis: int, step: float, factor: float) -> Image:
        """The rendering's derivative along one of ``_nudged``'s axes, flat."""
        further, less = (self.render(_nudged(place, axis, sign * step, factor), factor) for sign in (1, -1))
        return np.asarray((further - less).ravel() / (2 * step), np.float32)

    def unexplained(self, place: Placement, factor: float) -> float:
        """The part of the change that the rendering leaves, 0 to 1, where the object is expected."""
        model = self.render(place, factor)
        touched = np.abs(model - self.before).max(axis=2) > FAINT
        if not touched.any():
            return 1.0
        expected = np.abs(model - self.before)[touched].sum()
        return float(np.abs(self.after - model)[touched].sum() / expected)


def _nudged(place: Placement, axis: int, amount: float, factor: float) -> Placement:
    """Moved by ``amount`` pixels of a resolution along x or y, or grown by a factor 1 + amount, or turned by radians."""
    x, y = place.center.x, place.center.y
    if axis == 0:
        return Placement(Point(x + amount / factor, y), place.scale, place.rotation)
    if axis == 1:
        return Placement(Point(x, y + amount / factor), place.scale, place.rotation)
    if axis == 2:
        return Placement(place.center, place.scale * math.exp(amount), place.rotation)
    return Placement(place.center, place.scale, place.rotation + math.degrees(amount))


def _shrunken(image: Image, factor: float) -> Image:
    """The image at ``factor`` <= 1 times its resolution, exactly, with the last row and column cut by the border."""
    if factor >= 1:
        return image
    height, width = image.shape[:2]
    small = (max(1, round(width * factor)), max(1, round(height * factor)))
    source = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    matrix = np.array([[factor * width / small[0], 0, 0], [0, factor * height / small[1], 0]])
    return _warped(source, matrix, math.ceil(width * factor), math.ceil(height * factor))


def _warped(image: Image, matrix: NDArray[np.float64], width: int, height: int) -> Image:
    """Resample by a 2x3 affine between coordinates whose pixel centres lie at integers + 0.5."""
    to_cv = matrix.copy()
    to_cv[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    return np.asarray(cv2.warpAffine(image, to_cv, (width, height), flags=cv2.INTER_LINEAR), dtype=np.float32)
