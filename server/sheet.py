"""``--mode sheet``: a sheet of paper, a screen or a card, seen obliquely, becomes the upright rectangle that it is."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from server.cutout import Box, Cutout, Stopwatch
from server.errors import NoObject
from server.looking import look, shrunk
from server.segmenter import RGB, Segmenter, Tap
from server.selection import select_object

SIDE = 512
FILL = 0.85
"""A region is a sheet where it fills at least so much of its quadrilateral, and the other way round."""
LEAST_AREA, LARGEST_AREA = 0.03, 0.97
"""Of the picture: what fills all of it shows no corners."""
PAPER_CHROMA = 28

Quad = NDArray[np.float64]


def cut_sheet(image: RGB, segmenter: Segmenter, tap: Tap | None, clock: Stopwatch) -> Cutout:
    """The rectified sheet, opaque; the cut-out's ``image_size`` is its own. Raises ``NoObject`` where no quadrilateral is seen.

    Bright paper is looked for first, then what the model takes for the object.
    """
    with clock.stage("find"):
        small = shrunk(image, SIDE)
        scale = np.array([image.shape[1] / small.shape[1], image.shape[0] / small.shape[0]])
        small_tap = None if tap is None else ((tap[0] + 0.5) / scale[0] - 0.5, (tap[1] + 0.5) / scale[1] - 0.5)
        quad = _quad_of(select_object(paper_map(small), small_tap))
        if quad is None:
            view = look(small, segmenter, small_tap)
            quad = _quad_of(None if view.region is None else view.mask > 0.5)
        if quad is None:
            raise NoObject("No sheet with four corners was found: photograph all of it, on a darker background.")
    with clock.stage("rectify"):
        rgb = rectified(image, (quad + 0.5) * scale - 0.5)
    height, width = rgb.shape[:2]
    return Cutout(
        rgba=np.dstack([rgb, np.full((height, width), 255, np.uint8)]),
        box=Box(0, 0, width, height),
        image_size=(width, height),
        coverage=1.0,
        score=1.0,
        model="sheet",
        methods={"mode": "sheet"},
        timings_ms=clock.timings_ms,
    )


def paper_map(image: RGB) -> NDArray[np.float32]:
    """Where the picture is as bright and colourless as paper: 0 or 1, float32 HxW, gaps of writing closed."""
    lab = cv2.cvtColor(cv2.GaussianBlur(image, (0, 0), 1.5), cv2.COLOR_RGB2LAB)
    threshold, _ = cv2.threshold(lab[..., 0], 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    chroma = np.hypot(lab[..., 1].astype(np.float32) - 128, lab[..., 2].astype(np.float32) - 128)
    paper = ((lab[..., 0] > threshold) & (chroma < PAPER_CHROMA)).astype(np.uint8)
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    opened = cv2.morphologyEx(cv2.morphologyEx(paper, cv2.MORPH_CLOSE, element), cv2.MORPH_OPEN, element)
    outlines, _ = cv2.findContours(opened, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(opened)
    largest = sorted(outlines, key=cv2.contourArea, reverse=True)[:5]
    cv2.drawContours(filled, largest, -1, 1, cv2.FILLED)
    return filled.astype(np.float32)


def _quad_of(region: NDArray[np.bool_] | None) -> Quad | None:
    """The four corners (x, y; from the top left, clockwise) of the region's largest part, None where it is no quadrilateral."""
    if region is None:
        return None
    outlines, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=cv2.contourArea, default=None)
    if outline is None or not LEAST_AREA * region.size <= cv2.contourArea(outline) <= LARGEST_AREA * region.size:
        return None
    hull = cv2.convexHull(outline)
    length = cv2.arcLength(hull, True)
    for tolerance in np.linspace(0.01, 0.08, 15):
        corners = cv2.approxPolyDP(hull, tolerance * length, True)
        if len(corners) == 4:
            quad = ordered(corners[:, 0].astype(np.float64))
            area, covered = cv2.contourArea(corners), cv2.contourArea(outline)
            return _sharpened(quad, outline[:, 0]) if covered >= FILL * area >= FILL**2 * covered else None
    return None


def _sharpened(quad: Quad, outline: NDArray[np.int32]) -> Quad:
    """Corners where lines fitted to the middle of each side meet: rounded or bitten corners do not shift them."""
    lines = []
    for start, end in zip(quad, np.roll(quad, -1, axis=0), strict=True):
        along = (end - start) / max(float(np.linalg.norm(end - start)), 1e-6)
        offset = outline - start
        position = offset @ along / max(float(np.linalg.norm(end - start)), 1e-6)
        distance = np.abs(offset @ np.array([-along[1], along[0]]))
        near = outline[(position > 0.1) & (position < 0.9) & (distance < 0.03 * np.linalg.norm(end - start) + 2)]
        if len(near) < 8:
            return quad
        vx, vy, x, y = cv2.fitLine(near.astype(np.float32), cv2.DIST_HUBER, 0, 0.01, 0.01).ravel().astype(np.float64)
        lines.append(np.array([vy, -vx, vx * y - vy * x]))
    corners = []
    for before, after in zip(np.roll(lines, 1, axis=0), lines, strict=True):
        point = np.cross(before, after)
        if abs(point[2]) < 1e-6:
            return quad
        corners.append(point[:2] / point[2])
    sharp = np.array(corners)
    return sharp if np.abs(sharp - quad).max() < 0.1 * np.ptp(quad, axis=0).max() else quad


def ordered(corners: Quad) -> Quad:
    """From the corner nearest to the top left, clockwise on the picture."""
    centre = corners.mean(axis=0)
    clockwise = corners[np.argsort(np.arctan2(corners[:, 1] - centre[1], corners[:, 0] - centre[0]))]
    return np.roll(clockwise, -int(np.argmin(clockwise.sum(axis=1))), axis=0)


def rectified(image: RGB, quad: Quad) -> RGB:
    """The quadrilateral as a rectangle of its true proportions, at the resolution of its longer sides."""
    sides = np.linalg.norm(np.roll(quad, -1, axis=0) - quad, axis=1)
    width, height = max(sides[0], sides[2]), max(sides[1], sides[3])
    proportion = true_proportion(quad, image.shape[1], image.shape[0]) or width / height
    if proportion > width / height:
        width = height * proportion
    else:
        height = width / proportion
    size = max(1, round(width)), max(1, round(height))
    target = np.array([[0, 0], [size[0], 0], size, [0, size[1]]], np.float32) - np.float32(0.5)
    homography = cv2.getPerspectiveTransform(quad.astype(np.float32), target)
    return np.asarray(
        cv2.warpPerspective(image, homography, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    )


def true_proportion(quad: Quad, width: int, height: int) -> float | None:
    """Width over height of the rectangle whose picture ``quad`` is, None where the view is too frontal to tell.

    Zhang and He, "Whiteboard Scanning and Image Enhancement" (2007), section 3: the camera's axis goes through the middle of the
    picture, its pixels are square, the focal length follows from the two vanishing points.
    """
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    m1, m2, m4, m3 = (np.append(corner - centre, 1.0) for corner in quad)  # the paper counts 1 2 over 3 4
    k2 = np.dot(np.cross(m1, m4), m3) / np.dot(np.cross(m2, m4), m3)
    k3 = np.dot(np.cross(m1, m4), m2) / np.dot(np.cross(m3, m4), m2)
    n2, n3 = k2 * m2 - m1, k3 * m3 - m1
    if abs(n2[2]) < 1e-3 or abs(n3[2]) < 1e-3:
        return None
    focal2 = -(n2[0] * n3[0] + n2[1] * n3[1]) / (n2[2] * n3[2])
    if not (0.3 * max(width, height)) ** 2 < focal2 < (10 * max(width, height)) ** 2:
        return None
    scale = np.array([1 / focal2, 1 / focal2, 1.0])
    return float(np.sqrt((n2 * n2 * scale).sum() / (n3 * n3 * scale).sum()))
