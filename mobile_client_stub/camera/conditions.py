"""How a view is taken: where the phone is, what its lens and sensor do, what the room adds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

Difficulty = Literal["ordinary", "hard"]


@dataclass(frozen=True)
class Pose:
    """``coverage`` is the part of the screen's width that the view's width spans at the aim; angles in degrees."""

    coverage: float
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    fov: float = 65.0

    @property
    def tilt(self) -> float:
        """Degrees between the optical axis and the screen's normal."""
        return math.degrees(math.acos(math.cos(math.radians(self.yaw)) * math.cos(math.radians(self.pitch))))


@dataclass(frozen=True)
class Conditions:
    """One view's parameters; the defaults are a clean, square photograph. Lengths are parts of the view's long side."""

    pose: Pose
    view_size: tuple[int, int] = (720, 960)
    k1: float = 0.0
    supersampling: float = 2.0
    moire: float = 0.0
    falloff: float = 0.0
    vignette: float = 0.0
    glare_blobs: int = 0
    reflection: float = 0.0
    ambient: float = 0.0
    defocus: float = 0.0
    motion: float = 0.0
    exposure: float = 1.0
    white_balance: tuple[float, float] = (1.0, 1.0)
    gamma: float = 1.0
    band: float = 0.0
    noise: float = 0.0
    jpeg_quality: int = 92
    cursor: bool = False
    clock: bool = False
    popup: bool = False

    @classmethod
    def sample(cls, rng: np.random.Generator, difficulty: Difficulty = "ordinary") -> Conditions:
        """``ordinary``: a person who aims well; ``hard``: all that a phone can do wrong, the benchmark's ranges."""
        return _hard(rng) if difficulty == "hard" else _ordinary(rng)


def _maybe(rng: np.random.Generator, chance: float, low: float, high: float) -> float:
    return float(rng.uniform(low, high)) if rng.random() < chance else 0.0


def _view_size(rng: np.random.Generator, sizes: list[int], landscape: float) -> tuple[int, int]:
    long = int(rng.choice(sizes))
    short = round(long * (3 / 4 if rng.random() < 0.5 else 9 / 16))
    return (long, short) if rng.random() < landscape else (short, long)


def _angle(rng: np.random.Generator) -> float:
    return float(rng.normal(0, 11) if rng.random() < 0.45 else rng.uniform(-50, 50))


def _hard_pose(rng: np.random.Generator) -> Pose:
    coverage = float(np.exp(rng.uniform(math.log(0.15), math.log(1.2))))
    kind = rng.random()
    roll = (
        rng.normal(0, 5)
        if kind < 0.6
        else rng.choice([-90, 90]) + rng.normal(0, 4)
        if kind < 0.78
        else rng.uniform(-180, 180)
    )
    fov = float(rng.uniform(55, 75))
    while True:
        pose = Pose(coverage, _angle(rng), _angle(rng), float(roll), fov)
        if pose.tilt <= 52:
            return pose


def _hard(rng: np.random.Generator) -> Conditions:
    view_size = _view_size(rng, [700, 960, 1280, 1920], landscape=0.2)
    return Conditions(
        pose=_hard_pose(rng),
        view_size=view_size,
        k1=float(rng.uniform(-0.02, 0.02)),
        supersampling=1.5 if max(view_size) > 1280 else 2.0,
        moire=_maybe(rng, 0.65, 0.1, 0.6),
        falloff=float(rng.uniform(0, 0.5)),
        vignette=float(rng.uniform(0, 0.45)),
        glare_blobs=int(rng.integers(0, 4)),
        reflection=_maybe(rng, 0.35, 0.02, 0.15),
        ambient=float(rng.uniform(0, 0.05)),
        defocus=_maybe(rng, 0.55, 0.0003, 0.0022),
        motion=_maybe(rng, 0.4, 0.001, 0.008),
        exposure=float(rng.uniform(0.45, 1.5)),
        white_balance=(float(rng.uniform(0.8, 1.25)), float(rng.uniform(0.8, 1.25))),
        gamma=float(rng.uniform(0.85, 1.18)),
        band=_maybe(rng, 0.35, 0.03, 0.2),
        noise=float(rng.uniform(0.002, 0.022)),
        jpeg_quality=int(rng.integers(50, 91)),
        cursor=bool(rng.random() < 0.8),
        clock=bool(rng.random() < 0.6),
        popup=bool(rng.random() < 0.25),
    )


def _ordinary(rng: np.random.Generator) -> Conditions:
    pose = Pose(
        coverage=float(np.exp(rng.uniform(math.log(0.4), math.log(1.0)))),
        yaw=float(np.clip(rng.normal(0, 8), -20, 20)),
        pitch=float(np.clip(rng.normal(0, 8), -20, 20)),
        roll=float(rng.normal(0, 3)),
        fov=float(rng.uniform(60, 70)),
    )
    return Conditions(
        pose=pose,
        view_size=_view_size(rng, [1280], landscape=0.0),
        k1=float(rng.uniform(-0.01, 0.01)),
        supersampling=1.5,
        moire=float(rng.uniform(0, 0.3)),
        falloff=float(rng.uniform(0, 0.25)),
        vignette=float(rng.uniform(0, 0.25)),
        glare_blobs=int(rng.integers(0, 2)),
        reflection=_maybe(rng, 0.2, 0.02, 0.08),
        ambient=float(rng.uniform(0, 0.02)),
        defocus=_maybe(rng, 0.3, 0.0003, 0.0008),
        motion=_maybe(rng, 0.2, 0.0005, 0.0015),
        exposure=float(rng.uniform(0.8, 1.2)),
        white_balance=(float(rng.uniform(0.9, 1.1)), float(rng.uniform(0.9, 1.1))),
        gamma=float(rng.uniform(0.95, 1.05)),
        band=_maybe(rng, 0.2, 0.02, 0.08),
        noise=float(rng.uniform(0.002, 0.008)),
        jpeg_quality=int(rng.integers(80, 93)),
        cursor=bool(rng.random() < 0.8),
        clock=bool(rng.random() < 0.6),
    )
