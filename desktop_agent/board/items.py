"""One thing on the board, and the limits of what the board takes.

Board coordinates are the page's own plane, y downwards: one unit is one CSS pixel at the page's zoom 100 %, the origin is where the
top left corner of the page is before anybody pans.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from desktop_agent.errors import BadRequest
from desktop_agent.geometry import Placement, Point, normalized_degrees

MAX_ITEMS = 500
MAX_PIXELS = 50_000_000
MAX_COORDINATE = 1_000_000.0
SCALES = (1e-3, 1e3)


@dataclass(frozen=True)
class Item:
    """``image`` names the stored PNG; the centre of its ``width`` x ``height`` raster lies at (``x``, ``y``) in board units.

    ``scale`` is board units per pixel of the PNG, ``rotation`` degrees clockwise in (-180, 180]; a larger ``z`` lies further up.
    """

    id: str
    image: str
    width: int
    height: int
    x: float
    y: float
    scale: float
    rotation: float
    z: int

    @property
    def placement(self) -> Placement:
        return Placement(Point(self.x, self.y), self.scale, self.rotation)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: object) -> Item:
        """Raises ValueError for anything but an item that this board could have written."""
        names = [field.name for field in fields(cls)]
        if not isinstance(value, dict) or sorted(value) != sorted(names):
            raise ValueError("an item has exactly the fields " + ", ".join(names))
        sizes = (value["width"], value["height"], value["z"])
        if not all(isinstance(value[name], str) and value[name].isalnum() for name in ("id", "image")):
            raise ValueError("an item's id and image are names")
        if not all(type(size) is int for size in sizes) or min(sizes[:2]) < 1:
            raise ValueError("an item's width, height and z are whole numbers")
        try:
            checked = checked_pose(value)
        except BadRequest as error:
            raise ValueError(error.message) from None
        return cls(**(value | checked))


def checked_pose(fields_sent: dict[str, Any]) -> dict[str, float]:
    """The fields x, y, scale and rotation that are there, as floats in range; raises ``BadRequest``."""
    pose: dict[str, float] = {}
    for name in ("x", "y", "scale", "rotation"):
        if name not in fields_sent:
            continue
        number = fields_sent[name]
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
            raise BadRequest(f"Send {name} as a finite number.")
        pose[name] = float(number)
    for name in ("x", "y"):
        if abs(pose.get(name, 0.0)) > MAX_COORDINATE:
            raise BadRequest(f"Send {name} between -{MAX_COORDINATE:.0f} and {MAX_COORDINATE:.0f}.")
    if not SCALES[0] <= pose.get("scale", 1.0) <= SCALES[1]:
        raise BadRequest(f"Send a scale between {SCALES[0]:g} and {SCALES[1]:g}.")
    if "rotation" in pose:
        pose["rotation"] = normalized_degrees(pose["rotation"])
    return pose


def pose_of(placement: Placement) -> dict[str, float]:
    """A placement in board units as an item's fields, in range; raises ``BadRequest``."""
    center = placement.center
    return checked_pose({"x": center.x, "y": center.y, "scale": placement.scale, "rotation": placement.rotation})
