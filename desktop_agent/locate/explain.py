"""A picture of why a view was located where it was: view and screenshot side by side, tracks, outline and the point."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from desktop_agent.geometry import Homography, rectangle_quad
from desktop_agent.locate.location import Location

RGB = NDArray[np.uint8]

HEIGHT = 720
GREEN, RED, YELLOW, WHITE = (60, 220, 90), (240, 70, 60), (255, 220, 60), (255, 255, 255)


def explain(view: RGB, screen: RGB, location: Location) -> RGB:
    """uint8 HxWx3 RGB: left the view with the screen's outline, right the screen with the view's outline; the tracked points that
    fit (green, every twelfth joined) and that do not (red); a cross at the point; the verdict below."""
    left, to_left = _fitted(view)
    right, to_right = _fitted(screen)
    gap = left.shape[1] + 12
    canvas = np.full((HEIGHT + 44, gap + right.shape[1], 3), 24, np.uint8)
    canvas[:HEIGHT, : left.shape[1]] = left
    canvas[:HEIGHT, gap:] = right
    shifted = Homography.translation(gap, 0) @ to_right
    if location.homography is not None:
        _outline(canvas[:HEIGHT, : left.shape[1]], to_left @ location.homography.inverse(), screen.shape)
        _outline(canvas[:HEIGHT, gap:], to_right @ location.homography, view.shape)
    if location.evidence is not None:
        a = to_left.apply(location.evidence.view_xy)
        b = shifted.apply(location.evidence.screen_xy)
        for i, (p, q, fits) in enumerate(zip(a, b, location.evidence.inlier, strict=True)):
            colour = GREEN if fits else RED
            for xy in (p, q):
                cv2.circle(canvas, _pixel(xy), 2, colour, -1, cv2.LINE_AA)
            if fits and i % 12 == 0:
                cv2.line(canvas, _pixel(p), _pixel(q), colour, 1, cv2.LINE_AA)
    middle = np.array([(view.shape[1] / 2, view.shape[0] / 2)])
    _cross(canvas, to_left.apply(middle)[0])
    if location.point is not None:
        _cross(canvas, shifted.apply([(location.point.x, location.point.y)])[0])
    cv2.putText(canvas, _verdict(location), (10, HEIGHT + 28), cv2.FONT_HERSHEY_SIMPLEX, 0.6, WHITE, 1, cv2.LINE_AA)
    return canvas


def _verdict(location: Location) -> str:
    if location.point is None or location.evidence is None:
        return f"refused at {location.stage or 'the start'}: {location.reason}"
    x, y = location.point.external()
    e = location.evidence
    return (
        f"{location.stage}: x {x:.2f} y {y:.2f} +-{e.sigma:.2f} px, scale {location.scale:.4f}, rotation {location.rotation:.2f}, "
        f"confidence {location.confidence:.2f}, {e.inliers} tracks, correlation {e.correlation:.2f}"
    )


def _fitted(image: RGB) -> tuple[RGB, Homography]:
    """Scaled to the canvas' height, with the map from the picture's pixels."""
    factor = HEIGHT / image.shape[0]
    size = (max(1, round(image.shape[1] * factor)), HEIGHT)
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.uint8), Homography.scaling(size[0] / image.shape[1], factor)


def _outline(canvas: RGB, homography: Homography, shape: tuple[int, ...]) -> None:
    """The border of a picture of the given shape, drawn as far as it lies before the horizon."""
    corners = rectangle_quad(shape[1], shape[0]).array()
    steps = np.linspace(0, 1, 33)[:, None]
    border = np.vstack([a + (b - a) * steps for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)])
    ahead = homography.depth(border) > 1e-9
    xy = homography.apply(border)
    for i in range(len(border) - 1):
        if ahead[i] and ahead[i + 1] and np.abs(xy[i : i + 2]).max() < 1e5:
            cv2.line(canvas, _pixel(xy[i]), _pixel(xy[i + 1]), YELLOW, 2, cv2.LINE_AA)


def _cross(canvas: RGB, xy: NDArray[np.float64]) -> None:
    for colour, width in ((WHITE, 5), (RED, 2)):
        cv2.drawMarker(canvas, _pixel(xy), colour, cv2.MARKER_CROSS, 26, width, cv2.LINE_AA)


def _pixel(xy: NDArray[np.float64]) -> tuple[int, int]:
    x, y = np.clip(np.nan_to_num(xy), -30000, 30000)
    return int(np.floor(x)), int(np.floor(y))
