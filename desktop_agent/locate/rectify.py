"""The screen's axes from straight lines: bezels, window borders and text rows meet in two orthogonal vanishing points.

A view whose axes are known can be drawn as if the phone looked at the screen squarely; what then remains is one scale, a shift
and a number of quarter turns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from desktop_agent.geometry import Homography, Point
from desktop_agent.locate.features import Grey

Float = NDArray[np.float64]

FOCALS = {0.78: 1.0, 0.66: 0.96, 0.95: 0.96, 1.5: 0.9}
"""Focal lengths in long sides (fields of view of 65, 74, 56 and, zoomed in, 37 degrees) and how readily each is believed."""

STEEPEST = 60.0
"""Degrees between the optical axis and the screen's normal beyond which nothing can be read."""

CLOSE, LOOSE = math.sin(math.radians(1.2)), math.sin(math.radians(3))

APART = math.cos(math.radians(6))
"""Of the angle between two normals of the screen that are worth telling apart."""
MOST_AXES = 3


@dataclass(frozen=True, eq=False)
class Axes:
    """``rotation`` 3x3: the columns are the screen's x, y and inward directions in camera axes, x within 45 degrees of the
    camera's; ``support`` the length of the lines that agree, in long sides of the view, ``focal`` the focal length
    that suits them best, in the same unit."""

    rotation: Float
    support: float
    focal: float

    @property
    def tilt(self) -> float:
        """Degrees between the optical axis and the screen's normal."""
        return math.degrees(math.acos(min(1.0, float(self.rotation[2, 2]))))

    def alike(self, other: Axes) -> bool:
        """Whether the two tell about the same tilt."""
        return float(self.rotation[:, 2] @ other.rotation[:, 2]) > APART


@dataclass(frozen=True, eq=False)
class Upright:
    """``image`` HxW, the view as seen squarely; ``to_view`` maps its pixels to the view's; black where the view shows nothing."""

    image: Grey
    to_view: Homography
    seen: NDArray[np.bool_]


def line_segments(view: Grey, least: float = 0.035) -> Float:
    """Nx4 end points x1, y1, x2, y2 of straight edges (von Gioi 2012) of at least ``least`` long sides, pixels, longest first."""
    lines = cv2.createLineSegmentDetector(cv2.LSD_REFINE_STD).detect(cv2.GaussianBlur(view, (0, 0), 0.8))[0]
    if lines is None:
        return np.zeros((0, 4))
    ends = lines.reshape(-1, 4).astype(np.float64) + 0.5
    length = np.hypot(ends[:, 2] - ends[:, 0], ends[:, 3] - ends[:, 1])
    order = np.argsort(-length)
    return np.asarray(ends[order][length[order] >= least * max(view.shape)][:250])


def screen_axes(ends: Float, shape: tuple[int, ...]) -> list[Axes]:
    """The orthogonal pairs of directions that much length of the lines agrees on, best first and different from each other.

    ``ends`` are the ``line_segments`` of a view of that ``shape`` (H, W). Few lines suit several focal lengths and tilts; none
    where too few agree on anything.
    """
    if len(ends) < 4:
        return []
    every = [axes for focal in FOCALS for axes in _axes(ends, shape, focal)]
    found: list[Axes] = []
    for axes in sorted(every, key=lambda axes: -axes.support * FOCALS[axes.focal]):
        if len(found) < MOST_AXES and not any(axes.alike(other) for other in found):
            found.append(axes)
    return found


def level_axes(ends: Float, shape: tuple[int, ...]) -> Axes:
    """The least tilted axes of which lines support at least one; those of an untilted, unturned phone when there is no line.

    Two lines, or one and no tilt, give the first axis; the second is where the tilt is smallest.
    """
    focal = next(iter(FOCALS))
    if not len(ends):
        return Axes(np.eye(3), 0.0, focal)
    normals, weight = _planes(ends, shape, focal)
    flat = np.column_stack([ends[:, 2:] - ends[:, :2], np.zeros(len(ends))])
    i, j = np.triu_indices(min(len(ends), 40), 1)
    meeting = np.cross(normals[i], normals[j])
    meeting = meeting[np.linalg.norm(meeting, axis=1) > 0.02]
    first = _unit(np.vstack([flat, meeting]))
    first = first[np.abs(first[:, 2]) < math.sin(math.radians(STEEPEST))]
    inward = _unit(np.array([0, 0, 1.0]) - first[:, 2:] * first)
    second = np.cross(inward, first)
    off = np.minimum(np.abs(normals @ first.T), np.abs(normals @ second.T))
    score = (weight[:, None] * np.maximum(0, 1 - (off / LOOSE) ** 2)).sum(axis=0) * inward[:, 2] ** 2
    best = int(score.argmax())
    return Axes(_turned_upright(first[best], second[best]), float(score[best]), focal)


def _planes(ends: Float, shape: tuple[int, ...], focal: float) -> tuple[Float, Float]:
    """For each line the normal of the plane through it and the camera (Nx3), and its length in long sides."""
    long = max(shape)
    middle = np.array([shape[1], shape[0]]) / 2
    a = np.column_stack([(ends[:, :2] - middle) / (focal * long), np.ones(len(ends))])
    b = np.column_stack([(ends[:, 2:] - middle) / (focal * long), np.ones(len(ends))])
    return _unit(np.cross(a, b)), np.hypot(*(ends[:, 2:] - ends[:, :2]).T) / long


def _turned_upright(first: Float, second: Float) -> Float:
    """The rotation whose x axis is the one of the two directions that is nearer to the camera's."""
    if abs(first[0]) < abs(second[0]):
        first, second = second, first
    first = first if first[0] > 0 else -first
    second = second if np.cross(first, second)[2] > 0 else -second
    return np.column_stack([first, second, np.cross(first, second)])


def _axes(ends: Float, shape: tuple[int, ...], focal: float, tries: int = 400) -> list[Axes]:
    """The best of ``tries`` pairs of directions for one focal length that differ; two lines give the first, a third the second."""
    normals, weight = _planes(ends, shape, focal)
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(ends), (tries, 3), p=np.sqrt(weight) / np.sqrt(weight).sum())
    first = np.cross(normals[chosen[:, 0]], normals[chosen[:, 1]])
    apart = np.linalg.norm(first, axis=1) > 1e-3
    first = _unit(first[apart])
    second = np.cross(first, normals[chosen[apart, 2]])
    apart = np.linalg.norm(second, axis=1) > 0.3
    first, second = first[apart], _unit(second[apart])
    inward = np.cross(first, second)
    inward *= np.where(inward[:, 2:] < 0, -1, 1)
    good = inward[:, 2] > math.cos(math.radians(STEEPEST))
    first, second, inward = first[good], second[good], inward[good]
    off = np.minimum(np.abs(normals @ first.T), np.abs(normals @ second.T))
    score = (weight[:, None] * np.maximum(0, 1 - (off / CLOSE) ** 2)).sum(axis=0) * (0.7 + 0.3 * inward[:, 2])
    found: list[Axes] = []
    for _ in range(MOST_AXES):
        if not score.any():
            break
        best = int(score.argmax())
        axes = _polished(first[best], second[best], normals, weight, focal)
        found.extend([axes] if axes is not None else [])
        score[inward @ inward[best] > APART] = 0
    return found


def _polished(first: Float, second: Float, normals: Float, weight: Float, focal: float) -> Axes | None:
    for _ in range(4):
        offs = np.abs(normals @ np.column_stack([first, second]))
        axis = offs.argmin(axis=1)
        gain = weight * np.maximum(0, 1 - (offs.min(axis=1) / CLOSE) ** 2)
        if min(gain[axis == 0].sum(), gain[axis == 1].sum()) < 0.02:
            return None
        first, second = (_null(normals[axis == k], gain[axis == k], old) for k, old in ((0, first), (1, second)))
        u, _, vt = np.linalg.svd(np.column_stack([first, second]), full_matrices=False)
        first, second = (u @ vt).T
    return Axes(_turned_upright(first, second), float(gain.sum()), focal)


def _null(normals: Float, gain: Float, old: Float) -> Float:
    """The direction most orthogonal to all normals, pulled towards the known one where they leave it open."""
    scatter = (normals * gain[:, None]).T @ normals + 1e-4 * (np.eye(3) - np.outer(old, old))
    return np.asarray(np.linalg.eigh(scatter)[1][:, 0])


def upright(view: Grey, axes: Axes, long_side: int) -> Upright:
    """Draw ``view`` squarely, about as large as it is at its centre, at most ``long_side`` pixels long.

    Parts that would be stretched more than threefold are left out.
    """
    height, width = view.shape
    focal = axes.focal * max(view.shape)
    camera = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    squarely = Homography(axes.rotation.T @ np.linalg.inv(camera))
    center = Point(width / 2, height / 2)
    if squarely.depth([(center.x, center.y)])[0] < 0:
        squarely = Homography(-squarely.matrix)
    squarely = Homography.scaling(1 / squarely.scale_at(center)) @ squarely
    grid = np.stack(np.meshgrid(np.linspace(0, width, 17), np.linspace(0, height, 17)), axis=-1).reshape(-1, 2)
    near = squarely.depth(grid) > squarely.depth([(center.x, center.y)])[0] * 3 ** (-2 / 3)
    seen = squarely.apply(grid[near])
    low, high = seen.min(axis=0), seen.max(axis=0)
    factor = min(1.0, long_side / float((high - low).max()))
    size = (max(16, int((high[0] - low[0]) * factor)), max(16, int((high[1] - low[1]) * factor)))
    to_upright = Homography.scaling(factor) @ Homography.translation(-low[0], -low[1]) @ squarely
    to_view = to_upright.inverse()
    matrix = (Homography.translation(-0.5, -0.5) @ to_view @ Homography.translation(0.5, 0.5)).matrix
    flags = cv2.INTER_AREA | cv2.WARP_INVERSE_MAP
    image = cv2.warpPerspective(view, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpPerspective(np.full_like(view, 255), matrix, size, flags=flags) > 127
    return Upright(np.asarray(image, dtype=np.uint8), to_view, np.asarray(mask, dtype=np.bool_))


def _unit(vectors: Float) -> Float:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))
