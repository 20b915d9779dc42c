"""What lies on the board: PNG files and one JSON file in the user's folder, with undo, redo and a revision number to wait for."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import secrets
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from desktop_agent.board.items import MAX_ITEMS, MAX_PIXELS, Item, checked_pose, pose_of
from desktop_agent.board.pages import Pages
from desktop_agent.errors import BadRequest, NotFound
from desktop_agent.geometry import Placement
from desktop_agent.home import home
from desktop_agent.paste.driver import RGBA

log = logging.getLogger(__name__)

HISTORY = 200
Level = Literal["front", "forward", "backward", "back"]
LEVELS: tuple[Level, ...] = ("front", "forward", "backward", "back")
_Step = dict[str, tuple[Item | None, Item | None]]


@dataclass(frozen=True)
class Snapshot:
    """The board at one moment; ``items`` from the lowest to the topmost."""

    revision: int
    items: tuple[Item, ...]
    can_undo: bool
    can_redo: bool


class BoardStore:
    """The items, safe to use from several threads. ``folder`` is ``home()/board`` unless given."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or home() / "board"
        (self.folder / "images").mkdir(parents=True, exist_ok=True, mode=0o700)
        self.changed = threading.Condition()
        self.pages = Pages(self.changed)
        self.closed = False
        self._items = {item.id: item for item in self._load()}
        self._history: list[_Step] = []
        self._undone: list[_Step] = []
        # A page that outlives the agent must not take a new count for the one it has already painted.
        self._revision = time.time_ns() // 1_000_000
        self._prune()

    def close(self) -> None:
        """Let every waiting request go."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def snapshot(self) -> Snapshot:
        with self.changed:
            items = tuple(sorted(self._items.values(), key=lambda item: item.z))
            return Snapshot(self._revision, items, bool(self._history), bool(self._undone))

    def image_path(self, image: str) -> Path:
        """The PNG of that name; raises ``NotFound``."""
        path = self.folder / "images" / f"{image}.png"
        if not image.isalnum() or not path.is_file():
            raise NotFound("There is no such picture on the board. Reload the page.")
        return path

    def get(self, item_id: str) -> Item:
        """Raises ``NotFound``."""
        with self.changed:
            if item_id not in self._items:
                raise NotFound("That item is no longer on the board. Reload the page.")
            return self._items[item_id]

    def add(self, cutout: RGBA, placement: Placement) -> Item:
        """Put a uint8 HxWx4 RGBA cut-out on top at ``placement`` (board units). Raises ``BadRequest``."""
        if cutout.ndim != 3 or cutout.shape[2] != 4 or cutout.dtype != np.uint8 or not cutout.size:
            raise BadRequest("A cut-out is a picture with four channels, red, green, blue and alpha.")
        height, width = cutout.shape[:2]
        if height * width > MAX_PIXELS:
            raise BadRequest(f"The cut-out has more than {MAX_PIXELS // 10**6} megapixels. Send a smaller one.")
        pose = pose_of(placement)
        png = encode_png(cutout)
        image = hashlib.sha256(png).hexdigest()[:32]
        with self.changed:
            self._check_room()
            _write_atomically(self.folder / "images" / f"{image}.png", png)
            item = Item(secrets.token_hex(8), image, width, height, z=self._top() + 1, **pose)
            self._commit({item.id: item})
            self._prune()
            return item

    def update(self, item_id: str, pose: dict[str, Any], *, amend: bool = False) -> Item:
        """Change x, y, scale or rotation; ``amend`` makes it part of the step before, for undo.

        Raises ``NotFound``, ``BadRequest``.
        """
        checked = checked_pose(pose)
        with self.changed:
            item = replace(self.get(item_id), **checked)  # type: ignore[arg-type]
            self._commit({item_id: item}, amend=amend)
            return item

    def remove(self, item_id: str) -> None:
        """Raises ``NotFound``."""
        with self.changed:
            self.get(item_id)
            self._commit({item_id: None})

    def withdraw(self, item_id: str) -> None:
        """Take back an item as if it had never been added: no step to undo stays. Nothing happens where it is gone already."""
        with self.changed:
            if item_id in self._items:
                self._commit({item_id: None}, amend=True)
            for steps in (self._history, self._undone):
                for step in steps:
                    step.pop(item_id, None)
                steps[:] = [step for step in steps if step]

    def duplicate(self, item_id: str, offset: float = 24.0) -> Item:
        """A copy on top, ``offset`` units to the right and below. Raises ``NotFound``, ``BadRequest``."""
        with self.changed:
            item = self.get(item_id)
            self._check_room()
            pose = checked_pose({"x": item.x + offset, "y": item.y + offset})
            copy = replace(item, id=secrets.token_hex(8), z=self._top() + 1, **pose)  # type: ignore[arg-type]
            self._commit({copy.id: copy})
            return copy

    def restack(self, item_id: str, level: Level) -> None:
        """Bring to the front or one forward, send one backward or to the back. Raises ``NotFound``."""
        with self.changed:
            item = self.get(item_id)
            order = list(self.snapshot().items)
            index = order.index(item)
            order.remove(item)
            order.insert(
                {"front": len(order), "back": 0, "forward": index + 1, "backward": max(0, index - 1)}[level], item
            )
            moved = {other.id: replace(other, z=z) for z, other in enumerate(order, start=1) if other.z != z}
            self._commit(dict(moved))

    def undo(self) -> None:
        """Take the last change back; nothing happens where there is none."""
        with self.changed:
            if self._history:
                step = self._history.pop()
                self._undone.append(step)
                self._apply({item_id: before for item_id, (before, _) in step.items()})

    def redo(self) -> None:
        """Make the change that was undone last again; nothing happens where there is none."""
        with self.changed:
            if self._undone:
                step = self._undone.pop()
                self._history.append(step)
                self._apply({item_id: after for item_id, (_, after) in step.items()})

    def _top(self) -> int:
        return max((item.z for item in self._items.values()), default=0)

    def _check_room(self) -> None:
        if len(self._items) >= MAX_ITEMS:
            raise BadRequest(f"The board holds {MAX_ITEMS} items. Delete one first.", code="board_full", status=409)

    def _commit(self, changes: dict[str, Item | None], *, amend: bool = False) -> None:
        step = {key: (self._items.get(key), after) for key, after in changes.items() if self._items.get(key) != after}
        if not step:
            return
        if amend and self._history and step.keys() <= self._history[-1].keys():
            last = self._history[-1]
            last.update({key: (last[key][0], after) for key, (_, after) in step.items()})
        else:
            self._history.append(step)
            del self._history[:-HISTORY]
        self._undone.clear()
        self._apply(changes)

    def _apply(self, changes: dict[str, Item | None]) -> None:
        for item_id, item in changes.items():
            if item is None:
                self._items.pop(item_id, None)
            else:
                self._items[item_id] = item
        self._save()
        self._revision += 1
        self.changed.notify_all()

    def _save(self) -> None:
        board = {"version": 1, "items": [item.as_json() for item in self._items.values()]}
        _write_atomically(self.folder / "board.json", json.dumps(board, indent=1).encode())

    def _load(self) -> list[Item]:
        path = self.folder / "board.json"
        try:
            board = json.loads(path.read_bytes())
            if board["version"] != 1:
                raise ValueError(f"version {board['version']}")
            items = [Item.from_json(value) for value in board["items"]]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, KeyError) as error:
            kept = path.with_name(f"board.damaged-{time.time_ns()}.json")
            os.replace(path, kept)
            # Without its description nothing says which pictures are still wanted, so they are kept out of the pruning.
            os.replace(self.folder / "images", kept.with_suffix(".images"))
            (self.folder / "images").mkdir(mode=0o700)
            log.warning("The board could not be read (%s). It is kept as %s; a new one was begun.", error, kept)
            return []
        found = [item for item in items if (self.folder / "images" / f"{item.image}.png").is_file()]
        if len(found) < len(items):
            log.warning("%d pictures of the board are missing from %s.", len(items) - len(found), self.folder)
        return found

    def _prune(self) -> None:
        """Delete the pictures that neither the board nor an undo needs any more."""
        steps = [item for step in self._history + self._undone for pair in step.values() for item in pair if item]
        needed = {f"{item.image}.png" for item in [*self._items.values(), *steps]}
        for path in (self.folder / "images").iterdir():
            if path.name not in needed:
                with contextlib.suppress(OSError):
                    path.unlink()


def encode_png(cutout: RGBA) -> bytes:
    """PNG bytes of a uint8 HxWx4 RGBA image."""
    done, data = cv2.imencode(".png", cv2.cvtColor(cutout, cv2.COLOR_RGBA2BGRA), [cv2.IMWRITE_PNG_COMPRESSION, 2])
    if not done:
        raise BadRequest("The cut-out could not be written as PNG.")
    return data.tobytes()


def _write_atomically(path: Path, data: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
