"""Find the page on a screenshot by its four corner marks: the affine from the page's device pixels to pixels of the image.

A mark is two opposite quarters of a disc. Which two, of each mark, spells the page's code, so one open board is told from another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from desktop_agent.board.pages import View
from desktop_agent.screen import RGB

Float = NDArray[np.float64]

PLATE = 3  # device pixels of plain paper around a mark's disc, as the page draws it
SUPERSAMPLING = 8
MIN_CORRELATION = 0.8
MIN_MARKS = 3  # two could be the lower ones taken for the upper ones, or another page's
STRIP = 96  # the marks are this close to the left or right edge of most windows
TOLERANCE_PX = 1.5
# The capture may have other pixels than the page (a compositor that scales); one to one is the rule.
CAPTURE_SCALES = (1.0, 0.5, 2.0, 2 / 3, 1.5, 0.75, 4 / 3, 0.8, 1.25)


@dataclass(frozen=True)
class PageFit:
    """A point p of the page (device pixels) is at ``scale * p + (x, y)`` in the image; ``residual_px`` is the worst mark's."""

    scale: float
    x: float
    y: float
    marks: int
    residual_px: float


@dataclass(frozen=True)
class _Found:
    """A mark in the image; ``bit`` is 0 where it is darker at its top left and bottom right."""

    x: float
    y: float
    bit: int
    quarters: int
    correlation: float


def find_page(image: RGB, view: View, scales: Sequence[float] = CAPTURE_SCALES) -> PageFit | None:
    """The page of ``view`` in a uint8 HxWx3 image; None unless three marks or more agree with what the page reported."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    for scale in scales:
        radius = view.radius * scale
        if radius < 4 or min(gray.shape) < 4 * radius:
            continue
        for columns in _search_columns(gray.shape[1]):
            found = [mark for left, right in columns for mark in _find_marks(gray, left, right, radius)]
            fit = _best_fit(gray, found, view, scale)
            if fit is not None:
                return fit
    return None


def _search_columns(width: int) -> Iterator[list[tuple[int, int]]]:
    if width > 4 * STRIP:
        yield [(0, STRIP), (width - STRIP, width)]
    yield [(0, width)]


def _template(radius: float, quarters: int, dx: float = 0.0, dy: float = 0.0) -> NDArray[np.float32]:
    """Coverage of a mark's two quarters, 0: top left and bottom right, 1: the others; centre (dx, dy) off the middle."""
    side = _side(radius)
    grid = (np.arange(side * SUPERSAMPLING) + 0.5) / SUPERSAMPLING - side / 2
    x, y = grid[None, :] - dx, grid[:, None] - dy
    inside = (x**2 + y**2 < radius**2) & ((x * y > 0) == (quarters == 0))
    blocks = inside.reshape(side, SUPERSAMPLING, side, SUPERSAMPLING)
    return blocks.mean(axis=(1, 3)).astype(np.float32)


def _side(radius: float) -> int:
    """An even number of pixels, so that the mark's centre is a pixel's corner as on the page."""
    return 2 * int(radius + PLATE * radius / (radius + 1))


def _find_marks(gray: NDArray[np.float32], left: int, right: int, radius: float) -> Iterator[_Found]:
    strip = gray[:, left:right]
    half = _side(radius) / 2
    for quarters in (0, 1):
        response = cv2.matchTemplate(strip, _template(radius, quarters), cv2.TM_CCOEFF_NORMED)
        response[~np.isfinite(response)] = 0
        strength = np.abs(response)
        peaks = (strength > MIN_CORRELATION) & (strength == cv2.dilate(strength, np.ones((7, 7), np.uint8)))
        for row, column in np.argwhere(peaks)[:64]:
            # Dark quarters at the top left spell 0, and so do light ones at the top right.
            bit = quarters if response[row, column] < 0 else 1 - quarters
            yield _Found(left + column + half, row + half, bit, quarters, float(strength[row, column]))


def _best_fit(gray: NDArray[np.float32], found: list[_Found], view: View, scale: float) -> PageFit | None:
    best: list[tuple[int, _Found]] = []
    for anchor in found:
        for corner in range(4):
            if anchor.bit != _bit(view, corner):
                continue
            agreeing = _agreeing(found, view, scale, anchor, corner)
            if (len(agreeing), _support(agreeing)) > (len(best), _support(best)):
                best = agreeing
    if len(best) < MIN_MARKS:
        return None
    page = np.array([view.marks[corner] for corner, _ in best])
    image = np.array([_refined(gray, mark, view.radius * scale) for _, mark in best])
    return _similarity(page, image)


def _support(marks: list[tuple[int, _Found]]) -> float:
    return sum(mark.correlation for _, mark in marks)


def _bit(view: View, corner: int) -> int:
    return (view.code >> corner) & 1


def _agreeing(found: list[_Found], view: View, scale: float, anchor: _Found, corner: int) -> list[tuple[int, _Found]]:
    """For each corner the mark that lies where ``anchor``, taken as mark ``corner``, says it must."""
    agreeing = []
    for other in range(4):
        x = anchor.x + scale * (view.marks[other][0] - view.marks[corner][0])
        y = anchor.y + scale * (view.marks[other][1] - view.marks[corner][1])
        near = [
            mark
            for mark in found
            if mark.bit == _bit(view, other) and abs(mark.x - x) <= TOLERANCE_PX and abs(mark.y - y) <= TOLERANCE_PX
        ]
        if near:
            agreeing.append((other, max(near, key=lambda mark: mark.correlation)))
    return agreeing


def _refined(gray: NDArray[np.float32], mark: _Found, radius: float) -> tuple[float, float]:
    """The centre to a few hundredths of a pixel: least squares on position, brightness and contrast (Lucas & Kanade 1981)."""
    side = _side(radius)
    left, top = round(mark.x - side / 2), round(mark.y - side / 2)
    patch = gray[top : top + side, left : left + side].astype(np.float64).ravel()
    dx, dy, step = mark.x - side / 2 - left, mark.y - side / 2 - top, 0.25
    for _ in range(6):
        model = _template(radius, mark.quarters, dx, dy).ravel()
        slope_x = (
            _template(radius, mark.quarters, dx + step, dy) - _template(radius, mark.quarters, dx - step, dy)
        ).ravel()
        slope_y = (
            _template(radius, mark.quarters, dx, dy + step) - _template(radius, mark.quarters, dx, dy - step)
        ).ravel()
        design = np.column_stack([model, slope_x / (2 * step), slope_y / (2 * step), np.ones_like(model)])
        contrast, along_x, along_y, _ = np.linalg.lstsq(design, patch, rcond=None)[0]
        if abs(contrast) < 1:
            break
        move_x, move_y = np.clip([along_x / contrast, along_y / contrast], -0.5, 0.5)
        dx, dy = dx + move_x, dy + move_y
        if max(abs(move_x), abs(move_y)) < 0.005:
            break
    return left + side / 2 + dx, top + side / 2 + dy


def _similarity(page: Float, image: Float) -> PageFit | None:
    """Least squares over scale and shift; None where the marks contradict each other by more than a pixel."""
    page_mean, image_mean = page.mean(axis=0), image.mean(axis=0)
    spread = page - page_mean
    scale = float((spread * (image - image_mean)).sum() / (spread**2).sum())
    x, y = image_mean - scale * page_mean
    residual = float(np.abs(scale * page + [x, y] - image).max())
    return PageFit(scale, float(x), float(y), len(page), residual) if residual <= 1.0 else None
