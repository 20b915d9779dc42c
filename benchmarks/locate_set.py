"""The frozen sets of ``benchmarks/locate.py``: which screen is photographed how, from a seed; split by screen."""

from __future__ import annotations

import pickle
import tarfile
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from locate_renderer import photograph
from numpy.typing import NDArray
from PIL import Image

from desktop_agent.geometry import Rect
from desktop_agent.locate import MarkerGrid
from desktop_agent.screen import Monitor
from mobile_client_stub.camera import Conditions, SimulatedCamera

RGB = NDArray[np.uint8]
Kind = Literal[
    "plain",
    "thumbnail",
    "tiles",
    "twins",
    "beside",
    "second renderer",
    "other screen",
    "other document",
    "mirror",
    "blank",
    "desk",
]
POSITIVE: tuple[Kind, ...] = ("plain", "thumbnail", "tiles", "twins", "beside", "second renderer")
CORNERS = 12


@dataclass(frozen=True, eq=False)
class Item:
    """One view with its truth; ``screens`` are what the agent captured, ``monitor`` the one that is aimed at (1 is the first)."""

    number: int
    kind: Kind
    screens: tuple[RGB, ...]
    jpeg: bytes
    conditions: Conditions | None
    camera_seed: int
    monitor: int
    point: tuple[float, float]
    scale: float
    rotation: float
    corners: int
    coverage: float
    tilt: float
    blur: float

    @property
    def positive(self) -> bool:
        return self.kind in POSITIVE

    @property
    def solvable(self) -> bool:
        return self.corners >= CORNERS


class Screens:
    """All screens of one split: a tar of pictures and a folder of captures. The name decides the split, so twins stay together."""

    def __init__(self, tar: Path | None, captures: Path | None, split: str) -> None:
        names: list[tuple[str, Path, int | None]] = []
        if tar is not None:
            with tarfile.open(tar) as archive:
                members = [member for member in archive.getmembers() if member.isfile()]
            names += [(member.name, tar, number) for number, member in enumerate(members)]
        if captures is not None:
            names += [(path.name, path, None) for path in sorted(captures.glob("*.png"))]
        wanted = 0 if split == "tuning" else 1
        self.names = [entry for entry in names if zlib.crc32(entry[0].encode()) % 2 == wanted]
        self._held: set[int] = set()
        if len(self.names) < 4:
            raise SystemExit(
                "Too few screens: give --screens TAR, or --captures FOLDER made by benchmarks/locate_captures.py."
            )

    def __len__(self) -> int:
        return len(self.names)

    @cache  # noqa: B019 - one object a run
    def __getitem__(self, index: int) -> RGB:
        image = self._read(index)
        self._held.add(id(image))
        return image

    def _read(self, index: int) -> RGB:
        _, path, number = self.names[index]
        if number is None:
            return np.asarray(Image.open(path).convert("RGB"))
        with tarfile.open(path) as archive:
            member = [member for member in archive.getmembers() if member.isfile()][number]
            return np.asarray(Image.open(archive.extractfile(member)).convert("RGB"))

    def holds(self, image: RGB) -> bool:
        """Whether this very array is one of the screens, not one composed of them."""
        return id(image) in self._held

    @cache  # noqa: B019
    def other_documents(self, index: int) -> list[int]:
        """The screens of the same size that are most alike, but differ in a fifth of their area at least."""
        mine = _thumbnail(self[index])
        alike = []
        for other in range(len(self)):
            if other != index and self[other].shape == self[index].shape:
                differing = float((np.abs(_thumbnail(self[other]) - mine).max(axis=2) > 24).mean())
                if differing > 0.2:
                    alike.append((differing, other))
        return [other for _, other in sorted(alike)[:3]]


def _thumbnail(image: RGB) -> NDArray[np.int32]:
    return cv2.resize(image, (160, 100), interpolation=cv2.INTER_AREA).astype(np.int32)


def build(number: int, kind: Kind, screens: Screens, seed: int, folder: Path) -> Item:
    """The item of that number, from the folder's cache when it was made before."""
    file = folder / f"{seed}-{number:04d}-{kind.replace(' ', '_')}.pickle"
    rng = np.random.default_rng([seed, number])
    chosen = int(rng.integers(len(screens)))
    shown, captured = _shown_and_captured(kind, chosen, screens, rng)
    if file.exists():
        known = pickle.loads(file.read_bytes())  # written by this program
    else:
        known = _photographed(kind, shown, captured, rng)
        folder.mkdir(parents=True, exist_ok=True)
        file.write_bytes(pickle.dumps(known))
    return Item(number=number, kind=kind, screens=captured, **known)


def _shown_and_captured(
    kind: Kind, chosen: int, screens: Screens, rng: np.random.Generator
) -> tuple[tuple[RGB, ...], tuple[RGB, ...]]:
    """What hangs before the camera, and what the agent captures of its own screens."""
    screen = screens[chosen]
    others = [index for index in range(len(screens)) if screens.names[index][0] != screens.names[chosen][0]]
    other = screens[int(rng.choice(others))]
    if kind == "other screen":
        return (other,), (screen,)
    if kind == "other document":
        alike = screens.other_documents(chosen)
        return (screens[int(rng.choice(alike))] if alike else other,), (screen,)
    if kind == "mirror":
        return (np.ascontiguousarray(screen[:, ::-1]),), (screen,)
    if kind == "blank":
        return (np.full_like(screen, rng.integers(0, 256, 3).astype(np.uint8)),), (screen,)
    if kind == "thumbnail":
        screen = _with_copy(screen, float(rng.uniform(0.2, 0.4)), rng)
    elif kind == "tiles":
        screen = np.ascontiguousarray(np.tile(screen[::2, ::2], (2, 2, 1)))
    elif kind == "twins":
        half = screen[:, : screen.shape[1] // 2]
        screen = np.ascontiguousarray(np.hstack([half, half]))
    if kind == "beside":
        return (screen, other), (screen, other)
    return (screen,), (screen,)


def _with_copy(screen: RGB, factor: float, rng: np.random.Generator) -> RGB:
    """The screen with a part of it shown again, smaller, somewhere else."""
    height, width = screen.shape[:2]
    h, w = height // 2, width // 2
    y, x = int(rng.integers(0, height - h)), int(rng.integers(0, width - w))
    small = cv2.resize(screen[y : y + h, x : x + w], None, fx=2 * factor, fy=2 * factor, interpolation=cv2.INTER_AREA)
    result = screen.copy()
    top, left = (int(rng.integers(0, side - part)) for side, part in zip((height, width), small.shape, strict=False))
    result[top : top + small.shape[0], left : left + small.shape[1]] = small
    return result


def _photographed(
    kind: Kind, shown: tuple[RGB, ...], captured: tuple[RGB, ...], rng: np.random.Generator
) -> dict[str, object]:
    screen = shown[0]
    height, width = screen.shape[:2]
    aim = (float(rng.uniform(0.04, 0.96) * width), float(rng.uniform(0.04, 0.96) * height))
    marks = strong_corners(screen)
    if kind == "second renderer":
        photo = photograph(screen, aim, rng, marks)
        common = {
            "point": photo.point,
            "scale": photo.scale,
            "rotation": photo.rotation,
            "coverage": photo.coverage,
            "tilt": photo.tilt,
        }
        return {
            **common,
            "jpeg": photo.jpeg,
            "conditions": None,
            "camera_seed": 0,
            "monitor": 1,
            "corners": _visible(photo.marks, photo.size),
            "blur": photo.blur,
        }
    if kind == "desk":
        aim = (float(rng.choice([-1.4, 2.4])) * width, aim[1])
    conditions = Conditions.sample(rng, "hard")
    seed = int(rng.integers(2**31))
    shot = SimulatedCamera(seed).shoot(screen, aim, conditions=conditions, beside=shown[1] if len(shown) > 1 else None)
    return {
        "jpeg": shot.jpeg,
        "conditions": conditions,
        "camera_seed": seed,
        "monitor": 1,
        "point": shot.point,
        "scale": shot.scale,
        "rotation": shot.rotation,
        "corners": _visible(shot.projection.to_view(marks), shot.projection.view_size),
        "coverage": conditions.pose.coverage,
        "tilt": conditions.pose.tilt,
        "blur": max(conditions.motion, conditions.defocus),
    }


def marked_view(item: Item) -> bytes | None:
    """The second photograph of a positive from the simulated camera: as before, while the markers are shown."""
    if item.conditions is None or not item.positive:
        return None
    screen = item.screens[0]
    grid = MarkerGrid(Monitor(1, Rect(0, 0, screen.shape[1], screen.shape[0])))
    return SimulatedCamera(item.camera_seed + 1).shoot(grid.over(screen), item.point, conditions=item.conditions).jpeg


def drawn_desktop(width: int, height: int) -> RGB:
    """A screen that needs no file: windows with lines of random words."""
    rng = np.random.default_rng(0)
    screen = np.full((height, width, 3), (46, 66, 84), np.uint8)
    for left in range(20, width - 200, width // 3):
        cv2.rectangle(screen, (left, 30), (left + width // 3 - 30, height - 30), (236, 236, 240), -1)
        for y in range(60, height - 50, 24):
            words = "".join(chr(c) if c > 99 else " " for c in rng.integers(94, 123, width // 40))
            cv2.putText(screen, words, (left + 8, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (30, 30, 30), 1, cv2.LINE_AA)
    return screen


def strong_corners(screen: RGB) -> NDArray[np.float64]:
    """Positions of the clean screenshot's strong corners, Nx2: a twentieth of the strongest at least, 8 of 1600 pixels apart."""
    grey = cv2.cvtColor(screen, cv2.COLOR_RGB2GRAY)
    ratio = min(1.0, 1600 / max(grey.shape))
    small = cv2.resize(grey, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA) if ratio < 1 else grey
    found = cv2.goodFeaturesToTrack(small, 3000, 0.05, 8)
    return np.zeros((0, 2)) if found is None else (found[:, 0].astype(np.float64) + 0.5) / ratio


def _visible(view_xy: NDArray[np.float64], size: tuple[int, int]) -> int:
    with np.errstate(invalid="ignore"):
        return int(((view_xy > 0) & (view_xy < size)).all(axis=1).sum())
