"""The simulated phone camera and what one shot of it gives."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mobile_client_stub.camera.changes import draw_clock, draw_cursor, draw_popup
from mobile_client_stub.camera.conditions import Conditions, Difficulty
from mobile_client_stub.camera.projection import Projection, look_at
from mobile_client_stub.camera.scene import Light, Panel, Surroundings, render_scene
from mobile_client_stub.camera.sensor import add_room_light, compress, decompress, develop

RGB = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Shot:
    """``view`` is the decoded ``jpeg`` (uint8 HxWx3 RGB).

    ``point`` is the screen position under the view's centre (pixel centres at integers + 0.5), ``scale`` screen pixels
    per view pixel there, ``rotation`` degrees clockwise on the screen.
    """

    view: RGB
    jpeg: bytes
    projection: Projection
    conditions: Conditions
    point: tuple[float, float]
    scale: float
    rotation: float


class SimulatedCamera:
    """The same seed and calls give the same shots."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def shoot(
        self,
        screen: RGB,
        aim: tuple[float, float] | None = None,
        difficulty: Difficulty = "ordinary",
        *,
        conditions: Conditions | None = None,
        beside: RGB | None = None,
    ) -> Shot:
        """Photograph a monitor that shows ``screen`` (uint8 HxWx3 RGB).

        ``aim`` is the screen position under the view's centre (default: anywhere within 4-96 % of the screen);
        ``conditions`` replace those drawn for ``difficulty``; ``beside`` is what a second monitor to the right shows.
        """
        rng = self._rng
        conditions = conditions or Conditions.sample(rng, difficulty)
        aim = aim or _aim(rng, screen)
        panels = [Panel(_displayed(screen, conditions, rng))]
        around = Surroundings.sample(rng, screen.shape[1])
        if beside is not None:
            panels.append(Panel(beside, left=screen.shape[1] + 2.2 * around.bezel_width))
        return _photograph(panels, around, _place(conditions, aim, screen.shape[1]), conditions, rng, aim)

    def film(
        self, screen: RGB, frames: int, difficulty: Difficulty = "ordinary", *, conditions: Conditions | None = None
    ) -> Iterator[Shot]:
        """A hand-held aim that wanders over the screen: ``frames`` shots, about ten a second, noise drawn per frame."""
        rng = self._rng
        conditions = conditions or Conditions.sample(rng, difficulty)
        panels = [Panel(_displayed(screen, conditions, rng))]
        around = Surroundings.sample(rng, screen.shape[1])
        room = int(rng.integers(2**31))
        paths = [_wander(rng, frames) for _ in range(6)]
        pose = conditions.pose
        for i in range(frames):
            x, y, yaw, pitch, roll, zoom = (float(path[i]) for path in paths)
            aim = (screen.shape[1] * (0.5 + 0.3 * x), screen.shape[0] * (0.5 + 0.3 * y))
            moved = replace(
                pose,
                yaw=pose.yaw + 8 * yaw,
                pitch=pose.pitch + 8 * pitch,
                roll=pose.roll + 6 * roll,
                coverage=pose.coverage * math.exp(0.3 * zoom),
            )
            now = replace(conditions, pose=moved)
            lights = np.random.default_rng(room)
            projection = _place(now, aim, screen.shape[1])
            yield _photograph(panels, around, projection, now, lights, aim, grain=rng)


def _aim(rng: np.random.Generator, screen: RGB) -> tuple[float, float]:
    height, width = screen.shape[:2]
    return float(rng.uniform(0.04, 0.96) * width), float(rng.uniform(0.04, 0.96) * height)


def _wander(rng: np.random.Generator, frames: int) -> NDArray[np.float64]:
    """A smooth path in about [-1, 1]: three slow sinusoids, of at most half a hertz at ten frames a second."""
    t = np.arange(frames) / 10
    waves = [
        np.sin(2 * np.pi * (rng.uniform(0.05, 0.5) * t + rng.uniform(0, 1))) * weight for weight in (0.6, 0.3, 0.1)
    ]
    return np.asarray(sum(waves), dtype=np.float64)


def _displayed(screen: RGB, conditions: Conditions, rng: np.random.Generator) -> RGB:
    display = np.ascontiguousarray(screen).copy()
    for wanted, draw in (
        (conditions.popup, draw_popup),
        (conditions.clock, draw_clock),
        (conditions.cursor, draw_cursor),
    ):
        if wanted:
            draw(display, rng)
    return display


def _place(conditions: Conditions, aim: tuple[float, float], screen_width: int) -> Projection:
    pose = conditions.pose
    focal = max(conditions.view_size) / 2 / math.tan(math.radians(pose.fov) / 2)
    distance = pose.coverage * screen_width * focal / conditions.view_size[0]
    angles = np.array([pose.yaw, pose.pitch, pose.roll])
    return look_at(aim, conditions.view_size, focal, distance, angles, conditions.k1)


def _photograph(
    panels: list[Panel],
    around: Surroundings,
    projection: Projection,
    conditions: Conditions,
    rng: np.random.Generator,
    aim: tuple[float, float],
    grain: np.random.Generator | None = None,
) -> Shot:
    plane_x, plane_y, pitch = _samples(projection, conditions.supersampling)
    light, glass = render_scene(panels, around, plane_x, plane_y, pitch, conditions.moire)
    add_room_light(light, glass, conditions, rng)
    light = np.asarray(cv2.resize(light, projection.view_size, interpolation=cv2.INTER_AREA), dtype=np.float32)
    jpeg = compress(develop(light, conditions, grain or rng), conditions.jpeg_quality)
    jacobian = projection.jacobian()
    return Shot(
        view=decompress(jpeg),
        jpeg=jpeg,
        projection=projection,
        conditions=conditions,
        point=aim,
        scale=math.sqrt(abs(float(np.linalg.det(jacobian)))),
        rotation=math.degrees(math.atan2(jacobian[1, 0] - jacobian[0, 1], jacobian[0, 0] + jacobian[1, 1])),
    )


def _samples(projection: Projection, supersampling: float) -> tuple[Light, Light, Light]:
    """Plane coordinates of each supersample and the plane pixels between neighbours, HxW each; far past the horizon."""
    width, height = (round(side * supersampling) for side in projection.view_size)
    x = ((np.arange(width) + 0.5) * projection.view_size[0] / width - projection.view_center[0])[None, :]
    y = ((np.arange(height) + 0.5) * projection.view_size[1] / height - projection.view_center[1])[:, None]
    bend = 1 + projection.k1 / projection.focal**2 * (x**2 + y**2)
    x, y = x * bend + projection.view_center[0], y * bend + projection.view_center[1]
    (a, b, c), (d, e, f), (g, h, i) = projection.ideal
    depth = g * x + h * y + i
    ahead = depth > 1e-6
    depth[~ahead] = 1
    plane_x = np.where(ahead, (a * x + b * y + c) / depth, -1e5).clip(-1e5, 1e5)
    plane_y = np.where(ahead, (d * x + e * y + f) / depth, -1e5).clip(-1e5, 1e5)
    pitch = np.sqrt(np.abs(np.linalg.det(projection.ideal)) / depth**3) * projection.view_size[0] / width
    return plane_x.astype(np.float32), plane_y.astype(np.float32), pitch.astype(np.float32)
