"""The map between the view and the screen's plane: a pinhole with one radial coefficient.

Pixel centres lie at integers + 0.5, the corners of a W x H picture are (0, 0) and (W, H). The screen is the plane z = 0
in units of its own pixels, x to the right, y down, z away from the viewer; an untilted, unrolled camera has the same axes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Projection:
    """``ideal`` is the 3x3 view -> screen homography of the undistorted view, w > 0 in front of the horizon.

    A view point p with offset q = (p - centre) / focal from the view's centre is undistorted as q (1 + k1 |q|^2).
    """

    view_size: tuple[int, int]
    ideal: Float
    focal: float
    k1: float

    @property
    def view_center(self) -> tuple[float, float]:
        return self.view_size[0] / 2, self.view_size[1] / 2

    def undistort(self, view_xy: ArrayLike) -> Float:
        """Nx2 view pixels -> Nx2 pixels of the ideal pinhole."""
        offset = (np.asarray(view_xy, dtype=np.float64).reshape(-1, 2) - self.view_center) / self.focal
        bend = 1 + self.k1 * (offset**2).sum(axis=1, keepdims=True)
        return np.asarray(offset * bend * self.focal + self.view_center, dtype=np.float64)

    def distort(self, ideal_xy: ArrayLike) -> Float:
        """The inverse of ``undistort``, by fixed-point iteration (contracting for |k1| <= .1 within the view)."""
        ideal = (np.asarray(ideal_xy, dtype=np.float64).reshape(-1, 2) - self.view_center) / self.focal
        offset = ideal
        for _ in range(30):
            offset = ideal / (1 + self.k1 * (offset**2).sum(axis=1, keepdims=True))
        return np.asarray(offset * self.focal + self.view_center, dtype=np.float64)

    def to_screen(self, view_xy: ArrayLike) -> Float:
        """Nx2 view pixels -> Nx2 screen pixels; nan where the ray never meets the screen's plane."""
        return _project(self.ideal, self.undistort(view_xy))

    def to_view(self, screen_xy: ArrayLike) -> Float:
        """Nx2 screen pixels -> Nx2 view pixels; nan behind the camera."""
        return self.distort(
            _project(
                np.asarray(np.linalg.inv(self.ideal), np.float64),
                np.asarray(screen_xy, dtype=np.float64).reshape(-1, 2),
            )
        )

    def jacobian(self) -> Float:
        """2x2 d(screen)/d(view) at the view's centre, where the lens does not bend."""
        x, y = self.view_center
        w = float(self.ideal[2] @ (x, y, 1))
        target = self.ideal[:2] @ (x, y, 1) / w
        return np.asarray((self.ideal[:2, :2] - np.outer(target, self.ideal[2, :2])) / w, dtype=np.float64)


def _project(matrix: Float, xy: Float) -> Float:
    mapped = xy @ matrix[:, :2].T + matrix[:, 2]
    depth = np.where(mapped[:, 2:] > 1e-12, mapped[:, 2:], np.nan)
    return np.asarray(mapped[:, :2] / depth, dtype=np.float64)


def look_at(
    aim: tuple[float, float], view_size: tuple[int, int], focal: float, distance: float, angles: Float, k1: float
) -> Projection:
    """A camera ``distance`` screen pixels from ``aim``, which lies under the view's centre.

    ``angles`` are yaw, pitch and roll in degrees: rotations about y, then the turned x, then the optical axis.
    """
    yaw, pitch, roll = (math.radians(float(a)) for a in angles)
    rotation = _about(1, yaw) @ _about(0, pitch) @ _about(2, roll)
    position = np.array([aim[0], aim[1], 0.0]) - distance * rotation[:, 2]
    intrinsics = np.array([[focal, 0, view_size[0] / 2], [0, focal, view_size[1] / 2], [0, 0, 1.0]])
    plane = np.column_stack([[1.0, 0, 0], [0, 1.0, 0], -position])
    ideal = np.linalg.inv(intrinsics @ rotation.T @ plane)
    depth = float(ideal[2] @ (view_size[0] / 2, view_size[1] / 2, 1))
    return Projection(view_size, ideal / depth, focal, k1)


def _about(axis: int, angle: float) -> Float:
    cos, sin = math.cos(angle), math.sin(angle)
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    rotation = np.eye(3)
    rotation[i, i] = rotation[j, j] = cos
    rotation[i, j], rotation[j, i] = -sin, sin
    return rotation
