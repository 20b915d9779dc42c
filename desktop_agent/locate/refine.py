"""From a rough pose to a fraction of a pixel: the screenshot is drawn into the view and the difference is tracked away."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from desktop_agent.geometry import Homography, Point
from desktop_agent.locate.features import Grey
from desktop_agent.locate.screens import PreparedScreen

Float = NDArray[np.float64]
Light = NDArray[np.float32]

LENS_PRIOR, CAUTIOUS_LENS_PRIOR = 0.015, 0.003
"""Standard deviation of a phone's remaining radial coefficient, in units of the focal length; the second one for fewer than
``MANY`` tracks, which cannot tell lens from tilt."""
MANY = 40
BEZEL = 5
"""Pixels of the view on either side of the screen's edge whose brightness is compared."""
SETTLED = 1e-6
"""Half long sides of the view by which a last step no longer matters."""
STEPS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 0.02)
"""At most so many of Lucas and Kanade's steps a level, until one is shorter than so many pixels."""


@dataclass(frozen=True, eq=False)
class Rendering:
    """What the view (HxW) would show: ``image`` HxW uint8, ``inside`` HxW bool: the screen, without what the agent drew; ``beside``
    HxW bool: what is not the screen."""

    image: Grey
    inside: NDArray[np.bool_]
    beside: NDArray[np.bool_]

    def with_bezel(self, view: Grey) -> Grey:
        """The image with a bezel around the screen, brighter or darker than its rim by as much as in the view, whose corners can be
        tracked too: they hold a pose far from the rest."""
        around = np.ones((2 * BEZEL + 1, 2 * BEZEL + 1), np.uint8)
        bezel = self.beside & (cv2.dilate((~self.beside).astype(np.uint8), around) > 0)
        rim = ~self.beside & (cv2.dilate(self.beside.astype(np.uint8), around) > 0)
        if not bezel.any() or not rim.any():
            return self.image
        level = np.median(self.image[rim]) + np.median(view[bezel]) - np.median(view[rim])
        return np.where(self.beside, np.uint8(np.clip(level, 0, 255)), self.image)


@dataclass(frozen=True, eq=False)
class Refined:
    """The better homography, its tracked points (Nx2 view and screen pixels, which fit), the radial coefficient and the standard
    deviation of the point under the view's centre in screen pixels."""

    homography: Homography
    view_xy: Float
    screen_xy: Float
    inlier: NDArray[np.bool_]
    lens: float
    sigma: float

    @property
    def tracks(self) -> int:
        return int(self.inlier.sum())


def render(screen: PreparedScreen, homography: Homography, size: tuple[int, int]) -> Rendering:
    """Draw the screenshot as a view of ``size`` (width, height) would show it under ``homography`` (view -> screen)."""
    width, height = size
    center = Point(width / 2, height / 2)
    wanted = math.log2(max(homography.scale_at(center), 1e-6))
    level = screen.levels[min(max(round(wanted), 0), len(screen.levels) - 1)]
    ratio = Homography.scaling(level.shape[1] / screen.width, level.shape[0] / screen.height)
    half = Homography.translation(-0.5, -0.5)
    matrix = (half @ ratio @ homography @ Homography.translation(0.5, 0.5)).matrix
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    image = cv2.warpPerspective(level, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    corners = np.array([(0.5, 0.5), (width - 0.5, 0.5), (width - 0.5, height - 0.5), (0.5, height - 0.5)])
    mapped = homography.apply(corners)
    ahead = (homography.depth(corners) > 0).all()
    if ahead and (mapped > 0).all() and (mapped < (screen.width, screen.height)).all():
        beside = np.zeros((height, width), bool)
    else:
        beside = cv2.warpPerspective(np.full(level.shape, 255, np.uint8), matrix, size, flags=flags) <= 127
    inside = ~beside
    if screen.clear is not None:
        known = cv2.resize(screen.clear, level.shape[::-1], interpolation=cv2.INTER_AREA)
        inside &= cv2.warpPerspective(known, matrix, size, flags=flags) > 127
    return Rendering(np.asarray(image, dtype=np.uint8), np.asarray(inside, np.bool_), np.asarray(beside, np.bool_))


def normalised(grey: Grey, radius: int) -> Grey:
    """Contrast normalised in a square of 2 ``radius`` + 1: mean 128, a standard deviation 40 grey levels; noise stays small."""
    image = grey.astype(np.float32)
    side = (2 * radius + 1, 2 * radius + 1)
    mean = cv2.blur(image, side)
    deviation = cv2.sqrt(np.maximum(cv2.blur(image * image, side) - mean * mean, 0))
    return np.asarray(cv2.convertScaleAbs((image - mean) / (deviation + 6) * 40 + 128), dtype=np.uint8)


def refine(
    view: Grey,
    screen: PreparedScreen,
    homography: Homography,
    *,
    points: int = 220,
    window: int = 21,
    levels: int = 2,
    bezel: bool = False,
) -> Refined | None:
    """Track the drawn screenshot to the view (Lucas-Kanade, forward and backward) and fit plane and lens to the tracks.

    ``homography`` maps this ``view``'s pixels; the error it bears is about ``window`` 2^``levels`` / 2 pixels. ``bezel``: with
    one drawn around the screen. None when fewer than eight tracks agree, or there would be no bezel to see.
    """
    height, width = view.shape
    drawn = render(screen, homography, (width, height))
    if bezel and not drawn.beside.any():
        return None
    radius = max(6, round(width / 36))
    target, source = normalised(view, radius), normalised(drawn.with_bezel(view) if bezel else drawn.image, radius)
    near = np.ones((5, 5), np.uint8)
    usable = cv2.erode((drawn.inside | drawn.beside if bezel else drawn.inside).astype(np.uint8), near, borderValue=1)
    if bezel:
        usable &= cv2.dilate((~drawn.beside).astype(np.uint8), near)
    corners = cv2.goodFeaturesToTrack(source, points, 0.01, max(4.0, width / 110), mask=usable, blockSize=5)
    if corners is None or len(corners) < 8:
        return None
    start = corners.reshape(-1, 1, 2).astype(np.float32)
    search: dict[str, Any] = {"winSize": (window, window), "maxLevel": levels, "criteria": STEPS}
    there, ok, _ = cv2.calcOpticalFlowPyrLK(source, target, start, None, **search)
    back, ok_back, _ = cv2.calcOpticalFlowPyrLK(target, source, there, None, **search)
    loop = np.hypot(*(back - start)[:, 0].T)
    good = (ok.ravel() == 1) & (ok_back.ravel() == 1) & (loop < 0.7)
    if good.sum() < 8:
        return None
    view_xy = there[good, 0].astype(np.float64) + 0.5
    screen_xy = homography.apply(start[good, 0].astype(np.float64) + 0.5)
    return fit_plane_and_lens(homography, view_xy, screen_xy, (width, height))


def fit_plane_and_lens(
    homography: Homography, view_xy: Float, screen_xy: Float, view_size: tuple[int, int]
) -> Refined | None:
    """Least squares over the screen -> view homography and one radial coefficient, after a robust start; None without one."""
    center = np.array(view_size, np.float64) / 2
    unit = max(view_size) / 2
    drift = np.hypot(*(homography.inverse().apply(screen_xy) - view_xy).T)
    start, mask = cv2.findHomography(screen_xy, view_xy, cv2.USAC_MAGSAC, 2.0, maxIters=2000, confidence=0.999)
    if start is None or mask.sum() < 8 or not np.isfinite(drift).all():
        return None
    to_unit = Homography(np.array([[1 / unit, 0, -center[0] / unit], [0, 1 / unit, -center[1] / unit], [0, 0, 1.0]]))
    middle, reach = screen_xy.mean(axis=0), max(float(screen_xy.std()), 1e-6)
    from_unit = Homography(np.array([[reach, 0, middle[0]], [0, reach, middle[1]], [0, 0, 1.0]]))
    seen = to_unit.apply(view_xy)
    plane = (screen_xy - middle) / reach
    inner = to_unit @ Homography(start) @ from_unit
    fitted = _gauss_newton(inner.matrix / inner.matrix[2, 2], plane, seen, noise=1.0 / unit)
    if fitted is None:
        return None
    matrix, lens, inlier, covariance = fitted
    found = (from_unit @ Homography(matrix).inverse() @ to_unit).matrix
    result = Homography(found / float(found[2] @ (*center, 1)))
    spot = Point(float(center[0]), float(center[1]))
    jacobian = result.jacobian(spot) * unit
    back = Homography(matrix).inverse().apply([(0.0, 0.0)])
    rows = _plane_rows(matrix, back, np.zeros((1, 2)))[:, :8]
    sigma = math.sqrt(max(0.0, float(np.trace(jacobian @ rows @ covariance[:8, :8] @ rows.T @ jacobian.T)) / 2))
    return Refined(result, view_xy, screen_xy, inlier, lens, sigma)


def _plane_rows(matrix: Float, plane: Float, seen: Float) -> Float:
    """Derivatives of the residual G(plane) - bend(seen): 2Nx9, by the eight plane parameters and the lens, x rows before y rows."""
    x, y = plane.T
    depth = plane @ matrix[2, :2] + matrix[2, 2]
    u = (plane @ matrix[0, :2] + matrix[0, 2]) / depth
    v = (plane @ matrix[1, :2] + matrix[1, 2]) / depth
    o = np.zeros_like(x)
    square = (seen**2).sum(axis=1)
    one = np.ones_like(x)
    by_x = np.stack([x, y, one, o, o, o, -u * x, -u * y], axis=1) / depth[:, None]
    by_y = np.stack([o, o, o, x, y, one, -v * x, -v * y], axis=1) / depth[:, None]
    return np.vstack([np.column_stack([by_x, -seen[:, 0] * square]), np.column_stack([by_y, -seen[:, 1] * square])])


def _gauss_newton(
    matrix: Float, plane: Float, seen: Float, noise: float
) -> tuple[Float, float, NDArray[np.bool_], Float] | None:
    """Iteratively reweighted (Cauchy) fit; ``noise`` is about one pixel in the units of ``seen``."""
    lens, prior = 0.0, LENS_PRIOR if len(plane) >= MANY else CAUTIOUS_LENS_PRIOR
    width = 1.5 * noise
    covariance = np.eye(9)
    for step in range(8):
        projected = Homography(matrix).apply(plane)
        residual = (projected - seen * (1 + lens * (seen**2).sum(axis=1, keepdims=True))).T.ravel()
        distance = np.hypot(residual[: len(plane)], residual[len(plane) :])
        if step:
            width = max(0.15 * noise, 1.5 * float(np.median(distance)))
        weight = 1 / (1 + (distance / width) ** 2)
        weights = np.concatenate([weight, weight])
        rows = _plane_rows(matrix, plane, seen)
        spread = max(float((weights * residual**2).sum() / max(weights.sum() - 9, 1.0)), (0.03 * noise) ** 2)
        normal = (rows * weights[:, None]).T @ rows / spread
        normal[8, 8] += 1 / prior**2
        gradient = (rows * weights[:, None]).T @ residual / spread
        gradient[8] += lens / prior**2
        try:
            covariance = np.linalg.inv(normal)
        except np.linalg.LinAlgError:
            return None
        change = -covariance @ gradient
        matrix = matrix + np.append(change[:8], 0).reshape(3, 3)
        lens += float(change[8])
        if not np.isfinite(matrix).all() or abs(lens) > 0.3:
            return None
        if step > 2 and np.abs(change).max() < SETTLED:
            break
    inlier = distance < max(3 * width, noise)
    if inlier.sum() < 8:
        return None
    return matrix, lens, inlier, covariance
