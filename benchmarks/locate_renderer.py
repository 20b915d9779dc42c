"""A second way to photograph a screen, sharing no code with the simulated camera: Lanczos warping, another lens, photon noise.

It proves that nothing is tuned to one simulator. Pixel centres lie at integers + 0.5.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

RGB = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Photo:
    """``jpeg`` and the truth: the screen position under the view's centre, screen pixels a view pixel, degrees clockwise."""

    jpeg: bytes
    point: tuple[float, float]
    scale: float
    rotation: float
    coverage: float
    tilt: float
    blur: float
    size: tuple[int, int]
    marks: NDArray[np.float64]
    """The view positions of the given screen positions, Nx2."""


def photograph(screen: RGB, aim: tuple[float, float], rng: np.random.Generator, marks: NDArray[np.float64]) -> Photo:
    """Photograph ``screen`` (HxWx3) so that ``aim`` lies under the centre; ``marks`` (Nx2 screen) are mapped into the view."""
    long = int(rng.choice([720, 1080, 1440]))
    width, height = (long * 3 // 4, long) if rng.random() < 0.8 else (long, long * 9 // 16)
    coverage = float(np.exp(rng.uniform(math.log(0.2), math.log(1.1))))
    focal = long * float(rng.uniform(0.66, 0.95))
    tilt, towards = float(abs(rng.normal(0, 18))) % 50, float(rng.uniform(0, 2 * math.pi))
    roll = float(rng.choice([0, 0, 0, 90, -90]) + rng.normal(0, 6))
    to_screen = _plane(aim, (width, height), focal, coverage * screen.shape[1] / width, tilt, towards, roll)
    bend = float(rng.uniform(-0.03, 0.03))
    picture = _warped(screen, to_screen, (width, height), focal, bend, rng)
    blur = float(rng.uniform(0, 0.0012)) * long if rng.random() < 0.6 else 0.0
    jpeg = _exposed(picture, blur, rng)
    middle = np.array([width / 2, height / 2])
    ideal = _apply(np.linalg.inv(to_screen), marks) - middle
    squared = (ideal**2).sum(axis=1, keepdims=True) / focal**2
    corners = middle + ideal * (1 + bend * squared)
    j = _jacobian(to_screen, middle)
    return Photo(
        jpeg,
        aim,
        math.sqrt(abs(float(np.linalg.det(j)))),
        math.degrees(math.atan2(j[1, 0] - j[0, 1], j[0, 0] + j[1, 1])),
        coverage,
        tilt,
        blur / long,
        (width, height),
        corners,
    )


def _plane(
    aim: tuple[float, float],
    size: tuple[int, int],
    focal: float,
    scale: float,
    tilt: float,
    towards: float,
    roll: float,
) -> NDArray[np.float64]:
    """View -> screen, 3x3, by Rodrigues rotation about an axis in the screen's plane."""
    axis = np.array([math.cos(towards), math.sin(towards), 0.0]) * math.radians(tilt)
    rotation = cv2.Rodrigues(axis)[0] @ cv2.Rodrigues(np.array([0, 0, math.radians(roll)]))[0]
    rays = rotation @ np.array(
        [[1 / focal, 0, -size[0] / 2 / focal], [0, 1 / focal, -size[1] / 2 / focal], [0, 0, 1.0]]
    )
    distance = scale * focal
    eye = np.array([aim[0], aim[1], 0.0]) - distance * rotation[:, 2]
    hit = np.array([[-eye[2], 0, eye[0]], [0, -eye[2], eye[1]], [0, 0, 1.0]])
    return hit @ rays


def _warped(
    screen: RGB,
    to_screen: NDArray[np.float64],
    size: tuple[int, int],
    focal: float,
    bend: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Gamma-space picture in [0, 1] with a flat surrounding, drawn twice as large and bent by the lens."""
    around = rng.uniform(20, 160, 3)
    border = max(8, screen.shape[1] // 40)
    framed = cv2.copyMakeBorder(
        screen, *[border] * 4, cv2.BORDER_CONSTANT, value=[float(v) for v in rng.uniform(5, 60, 3)]
    )
    coarse = math.sqrt(abs(np.linalg.det(_jacobian(to_screen, np.array(size) / 2))))
    softened = np.asarray(Image.fromarray(framed).filter(ImageFilter.GaussianBlur(max(0.0, 0.25 * coarse))))
    half, border_shift = np.eye(3), np.eye(3)
    half[:2, 2], border_shift[:2, 2] = -0.5, border
    twice = np.diag([0.5, 0.5, 1.0])
    shift = np.eye(3)
    shift[:2, 2] = 0.5
    matrix = half @ border_shift @ to_screen @ twice @ shift
    large = (2 * size[0], 2 * size[1])
    colour = [float(v) for v in around]
    flat = cv2.warpPerspective(
        softened,
        matrix,
        large,
        flags=cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=colour,
    )
    y, x = (np.mgrid[0 : large[1], 0 : large[0]] + 0.5).astype(np.float32)
    x, y = x - size[0], y - size[1]
    seen = (x**2 + y**2) / (2 * focal) ** 2
    ideal = seen
    for _ in range(5):  # bent radius = ideal radius * (1 + bend * ideal radius squared), solved for the ideal one
        ideal = seen / (1 + bend * ideal) ** 2
    inward = 1 / (1 + bend * ideal)
    bent = cv2.remap(
        flat, x * inward + size[0] - 0.5, y * inward + size[1] - 0.5, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return cv2.resize(bent, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def _exposed(picture: NDArray[np.float32], blur: float, rng: np.random.Generator) -> bytes:
    light = picture**2.2
    if blur > 0.2:
        light = cv2.GaussianBlur(light, (0, 0), blur)
    light *= rng.uniform(0.5, 1.3) * rng.uniform(0.88, 1.14, 3)
    photons = float(rng.uniform(300, 4000))
    light = rng.poisson(np.clip(light, 0, 1) * photons).astype(np.float32) / photons
    grown = np.clip(light + 0.02, 0, 1) ** (1 / 2.2)
    stream = io.BytesIO()
    picture8 = Image.fromarray((grown * 255 + 0.5).clip(0, 255).astype(np.uint8))
    picture8.save(stream, "JPEG", quality=int(rng.integers(60, 92)), subsampling=2)
    return stream.getvalue()


def _apply(matrix: NDArray[np.float64], xy: NDArray[np.float64]) -> NDArray[np.float64]:
    mapped = np.column_stack([xy, np.ones(len(xy))]) @ matrix.T
    return np.where(mapped[:, 2:] > 0, mapped[:, :2] / mapped[:, 2:], np.nan)


def _jacobian(matrix: NDArray[np.float64], xy: NDArray[np.float64]) -> NDArray[np.float64]:
    step = 1e-3
    steps = xy + np.array([(step, 0), (-step, 0), (0, step), (0, -step)])
    a, b, c, d = (np.append(step, 1) @ matrix.T for step in steps)
    right, left, down, up = (p[:2] / p[2] for p in (a, b, c, d))
    return np.column_stack([right - left, down - up]) / (2 * step)
