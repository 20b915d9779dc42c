"""Moving what was pasted where the application has no API for it: a drag of the object, then arrow keys.

Applications move an object only once the pointer has gone some pixels, and some of them lose those (4 to 5 in several toolkits):
that bias is seen after the first drag and allowed for in the next one.
"""

from __future__ import annotations

import math
import time

import numpy as np

from desktop_agent.geometry import Placement, Point
from desktop_agent.paste.closed_loop import Desk, Watch
from desktop_agent.paste.driver import RGBA

GOOD_PX = 0.8
MOVED_PX, STEPPED_PX = 2.0, 0.2  # what a drag and an arrow key do at least
DRAGS, STEPS = 3, 3
MOVE_SECONDS = 3.0  # for the application to show that it moved
SMALL = 12.0  # pixels that arrow keys go; a drag as short as that may be no drag at all


def move_into_place(desk: Desk, watch: Watch, cutout: RGBA, landed: Placement, wanted: Placement) -> Placement | None:
    """Where the object, which must be selected, is afterwards; None where it can no longer be found."""
    bias = Point(0.0, 0.0)
    seen: Placement | None = landed
    for _ in range(DRAGS):
        if seen is None or _left(seen, wanted) <= SMALL:
            break
        dx, dy = wanted.center.x - seen.center.x, wanted.center.y - seen.center.y
        grip = _grip(cutout, seen)
        with desk.input.session() as session:
            session.drag(grip, grip.shifted(dx + bias.x, dy + bias.y))
        before, seen = seen, _look_again(watch, cutout, seen, wanted, MOVED_PX)
        if seen is None or before.center.distance(seen.center) < MOVED_PX:  # it took hold of nothing
            return seen
        bias = bias.shifted(wanted.center.x - seen.center.x, wanted.center.y - seen.center.y)
    for _ in range(STEPS):
        if seen is None or _left(seen, wanted) <= GOOD_PX:
            break
        before, seen = seen, _step(desk, watch, cutout, seen, wanted)
        if (
            seen is not None and _left(seen, wanted) >= _left(before, wanted) - STEPPED_PX
        ):  # the keys' steps are too wide
            break
    return seen


def _look(watch: Watch, cutout: RGBA, wanted: Placement) -> Placement | None:
    match = watch.refind(cutout, wanted)
    return None if match is None else match.placement


def _look_again(watch: Watch, cutout: RGBA, before: Placement, wanted: Placement, far: float) -> Placement | None:
    """Once it is seen at least ``far`` pixels from where it was; where it is, if it does not go so far for a while."""
    deadline = time.monotonic() + MOVE_SECONDS
    while True:
        last_chance = time.monotonic() > deadline  # a look may take long, and what it sees may be old by then
        seen = _look(watch, cutout, wanted)
        if last_chance or (seen is not None and before.center.distance(seen.center) >= far):
            return seen
        time.sleep(0.1)


def _left(seen: Placement, wanted: Placement) -> float:
    return seen.center.distance(wanted.center)


def _step(desk: Desk, watch: Watch, cutout: RGBA, seen: Placement, wanted: Placement) -> Placement | None:
    """One press of the arrow key that helps most shows how far it goes; then as many as that needs, or back if it was too far."""
    dx, dy = wanted.center.x - seen.center.x, wanted.center.y - seen.center.y
    across = abs(dx) >= abs(dy)
    key, back = ("Right", "Left") if across else ("Down", "Up")
    if (dx if across else dy) < 0:
        key, back = back, key
    with desk.input.session() as session:
        session.chord(key)
    moved = _look_again(watch, cutout, seen, wanted, STEPPED_PX)
    if moved is None:
        return None
    went = abs(moved.center.x - seen.center.x) if across else abs(moved.center.y - seen.center.y)
    more = round((abs(dx if across else dy) - went) / went) if went > STEPPED_PX else 0
    if _left(moved, wanted) > _left(seen, wanted):
        key, more = back, 1 if went > STEPPED_PX else 0
    if more <= 0 or more > 2 * SMALL:
        return moved
    with desk.input.session() as session:
        for _ in range(more):
            session.chord(key)
    return _look_again(watch, cutout, moved, wanted, (more - 0.5) * went)


def _grip(cutout: RGBA, placement: Placement) -> Point:
    """A point of the placed object that is well inside what is opaque, near its middle."""
    import cv2

    opaque = (cutout[..., 3] > 200).astype(np.uint8)
    depth = cv2.distanceTransform(np.pad(opaque, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    height, width = opaque.shape
    y, x = np.mgrid[:height, :width]
    far = np.hypot(x + 0.5 - width / 2, y + 0.5 - height / 2) / math.hypot(width, height)
    row, column = np.unravel_index(int(np.argmax(depth / max(1.0, float(depth.max())) - far)), depth.shape)
    matrix = placement.matrix(width, height)
    at = matrix[:, :2] @ (float(column) + 0.5, float(row) + 0.5) + matrix[:, 2]
    return Point(float(at[0]), float(at[1]))
