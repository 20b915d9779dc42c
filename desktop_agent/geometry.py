"""Points, quads, homographies and placements: the one home of pixel coordinates.

Inside the process pixel centres lie at integers + 0.5, so the corners of a W x H image are (0, 0) and (W, H) and a change of
resolution is a plain multiplication. Everything that leaves the process (JSON, command line) has pixel centres at integers;
``Point.external`` and ``Point.from_external`` are the only places where the half pixel is added or taken away.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """A position in pixels, y downwards, pixel centres at integers + 0.5."""

    x: float
    y: float

    @classmethod
    def from_external(cls, x: float, y: float) -> Point:
        """From coordinates whose pixel centres are integers (JSON, command line)."""
        return cls(x + 0.5, y + 0.5)

    def external(self) -> tuple[float, float]:
        """As coordinates whose pixel centres are integers (JSON, command line)."""
        return self.x - 0.5, self.y - 0.5

    def shifted(self, dx: float, dy: float) -> Point:
        return Point(self.x + dx, self.y + dy)

    def distance(self, other: Point) -> float:
        return math.hypot(self.x - other.x, self.y - other.y)


@dataclass(frozen=True)
class Rect:
    """An axis-aligned rectangle in whole pixels; ``left`` and ``top`` may be negative (monitors left of the first one)."""

    left: int
    top: int
    width: int
    height: int

    @property
    def right(self) -> int:
        return self.left + self.width

    @property
    def bottom(self) -> int:
        return self.top + self.height

    @property
    def center(self) -> Point:
        return Point(self.left + self.width / 2, self.top + self.height / 2)

    def contains(self, point: Point) -> bool:
        return self.left <= point.x < self.right and self.top <= point.y < self.bottom

    def intersection(self, other: Rect) -> Rect | None:
        """The common part, or None where they do not overlap."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        right, bottom = min(self.right, other.right), min(self.bottom, other.bottom)
        return Rect(left, top, right - left, bottom - top) if right > left and bottom > top else None


@dataclass(frozen=True)
class Quad:
    """Four corners in order (top left, top right, bottom right, bottom left of the source rectangle)."""

    corners: tuple[Point, Point, Point, Point]

    @classmethod
    def from_array(cls, corners: ArrayLike) -> Quad:
        """From a 4x2 array."""
        a, b, c, d = (Point(float(x), float(y)) for x, y in np.asarray(corners, dtype=np.float64).reshape(4, 2))
        return cls((a, b, c, d))

    def array(self) -> Float:
        """4x2, float64."""
        return np.array([(p.x, p.y) for p in self.corners], dtype=np.float64)

    @property
    def area(self) -> float:
        """Signed: positive when the corners run clockwise on the screen."""
        xy = self.array()
        following = np.roll(xy, -1, axis=0)
        return float((xy[:, 0] * following[:, 1] - following[:, 0] * xy[:, 1]).sum() / 2)


@dataclass(frozen=True, eq=False)
class Homography:
    """A projective map between two planes, ``matrix`` 3x3 with positive scale for points in front of the camera."""

    matrix: Float

    def __post_init__(self) -> None:
        matrix = np.asarray(self.matrix, dtype=np.float64)
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
            raise ValueError("a homography is a finite 3x3 matrix")
        object.__setattr__(self, "matrix", matrix)

    @classmethod
    def identity(cls) -> Homography:
        return cls(np.eye(3))

    @classmethod
    def scaling(cls, sx: float, sy: float | None = None) -> Homography:
        """Change of resolution by the factors ``sx`` and ``sy`` (exact, since corners lie at integers)."""
        return cls(np.array([[sx, 0.0, 0.0], [0.0, sx if sy is None else sy, 0.0], [0.0, 0.0, 1.0]]))

    @classmethod
    def translation(cls, dx: float, dy: float) -> Homography:
        return cls(np.array([[1.0, 0.0, dx], [0.0, 1.0, dy], [0.0, 0.0, 1.0]]))

    def __matmul__(self, first: Homography) -> Homography:
        """``a @ b`` applies b, then a."""
        return Homography(self.matrix @ first.matrix)

    def inverse(self) -> Homography:
        """Raises ``numpy.linalg.LinAlgError`` when singular."""
        return Homography(np.asarray(np.linalg.inv(self.matrix), dtype=np.float64))

    def apply(self, points: ArrayLike) -> Float:
        """Nx2 -> Nx2; points on the horizon become inf or nan."""
        xy = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        mapped = xy @ self.matrix[:, :2].T + self.matrix[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(mapped[:, :2] / mapped[:, 2:], dtype=np.float64)

    def apply_point(self, point: Point) -> Point:
        x, y = self.apply([(point.x, point.y)])[0]
        return Point(float(x), float(y))

    def depth(self, points: ArrayLike) -> Float:
        """The homogeneous coordinate w of each point, N; one sign for points on one side of the horizon."""
        xy = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        return np.asarray(xy @ self.matrix[2, :2] + self.matrix[2, 2], dtype=np.float64)

    def jacobian(self, point: Point) -> Float:
        """2x2 matrix d(target)/d(source) at a source point."""
        w = float(self.depth([(point.x, point.y)])[0])
        target = self.apply_point(point)
        return np.asarray(
            (self.matrix[:2, :2] - np.outer([target.x, target.y], self.matrix[2, :2])) / w, dtype=np.float64
        )

    def scale_at(self, point: Point) -> float:
        """Target pixels per source pixel, sqrt(|det J|)."""
        return math.sqrt(abs(float(np.linalg.det(self.jacobian(point)))))

    def rotation_at(self, point: Point) -> float:
        """Degrees clockwise on the target (y downwards), atan2(J10 - J01, J00 + J11)."""
        j = self.jacobian(point)
        return math.degrees(math.atan2(j[1, 0] - j[0, 1], j[0, 0] + j[1, 1]))

    def apply_quad(self, quad: Quad) -> Quad:
        return Quad.from_array(self.apply(quad.array()))


@dataclass(frozen=True)
class Placement:
    """Where a cut-out lands: its raster's centre, target pixels per cut-out pixel, degrees clockwise.

    The same class serves for the screen (virtual desktop pixels) and for the view (view pixels); the variable's name says which.
    """

    center: Point
    scale: float = 1.0
    rotation: float = 0.0

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.center.x, self.center.y, self.scale, self.rotation))) or self.scale <= 0:
            raise ValueError("a placement needs finite numbers and a positive scale")

    def matrix(self, width: int, height: int) -> Float:
        """2x3 affine from pixels of the W x H cut-out to target pixels."""
        angle = math.radians(self.rotation)
        cos, sin = self.scale * math.cos(angle), self.scale * math.sin(angle)
        linear = np.array([[cos, -sin], [sin, cos]])
        offset = np.array([self.center.x, self.center.y]) - linear @ np.array([width / 2, height / 2])
        return np.column_stack([linear, offset])

    def quad(self, width: int, height: int) -> Quad:
        """The corners of the W x H cut-out on the target."""
        return Homography(np.vstack([self.matrix(width, height), [0, 0, 1]])).apply_quad(rectangle_quad(width, height))

    def bounds(self, width: int, height: int) -> Rect:
        """The smallest whole-pixel rectangle that holds the placed W x H cut-out."""
        xy = self.quad(width, height).array()
        left, top = np.floor(xy.min(axis=0) + 1e-9).astype(int)
        right, bottom = np.ceil(xy.max(axis=0) - 1e-9).astype(int)
        return Rect(int(left), int(top), max(1, int(right - left)), max(1, int(bottom - top)))

    def through(self, homography: Homography) -> Placement:
        """The placement seen through a homography: its centre mapped, scale and rotation from the Jacobian there."""
        return Placement(
            homography.apply_point(self.center),
            self.scale * homography.scale_at(self.center),
            normalized_degrees(self.rotation + homography.rotation_at(self.center)),
        )


def rectangle_quad(width: float, height: float) -> Quad:
    """The corners of a W x H image."""
    return Quad.from_array([(0, 0), (width, 0), (width, height), (0, height)])


def normalized_degrees(angle: float) -> float:
    """The same angle in (-180, 180]."""
    angle = math.fmod(angle, 360.0)
    if angle > 180.0:
        return angle - 360.0
    return angle + 360.0 if angle <= -180.0 else angle


def bounding_rect(points: Iterable[Point]) -> Rect:
    """The smallest whole-pixel rectangle that holds all points; raises ValueError for none."""
    xy = np.array([(p.x, p.y) for p in points], dtype=np.float64)
    if not len(xy):
        raise ValueError("no points")
    left, top = np.floor(xy.min(axis=0)).astype(int)
    right, bottom = np.ceil(xy.max(axis=0)).astype(int)
    return Rect(int(left), int(top), int(right - left), int(bottom - top))
