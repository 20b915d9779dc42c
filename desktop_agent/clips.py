"""The clips: every cut-out that a phone made is kept on disk until it is deleted or fifty newer ones push it out."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from desktop_agent.devices import write_private
from desktop_agent.errors import AgentError, NotFound

KEPT_PER_DEVICE = 50
_ID = re.compile(r"[A-Za-z0-9_-]{6,64}")


@dataclass(frozen=True)
class Clip:
    """``photo_size`` is (width, height) of the photo it was cut from, ``box`` its [left, top, right, bottom] there, ``size`` the
    (width, height) of the cut-out itself; ``created`` in seconds since 1970."""

    id: str
    device: str
    created: float
    size: tuple[int, int]
    photo_size: tuple[int, int]
    box: tuple[int, int, int, int]
    score: float | None = None
    model: str | None = None
    server: str | None = None

    def public(self) -> dict[str, Any]:
        """What ``/clips`` shows."""
        return {
            "clip": self.id,
            "created": round(self.created, 3),
            "size": list(self.size),
            "image_size": list(self.photo_size),
            "box": list(self.box),
            "score": self.score,
            "model": self.model,
            "server": self.server,
            "url": f"/clips/{self.id}.png",
        }


class ClipStore:
    """Clips in ``folder``/DEVICE/ID.{png,json}; one device does not see another's. Safe for many threads."""

    def __init__(self, folder: Path, kept: int = KEPT_PER_DEVICE) -> None:
        self._folder = folder
        self._kept = kept
        self._lock = threading.Lock()

    def add(
        self,
        device: str,
        png: bytes,
        *,
        size: tuple[int, int],
        photo_size: tuple[int, int],
        box: tuple[int, int, int, int],
        score: float | None = None,
        model: str | None = None,
        server: str | None = None,
    ) -> Clip:
        """Keep a cut-out; the oldest ones beyond the limit go. Raises ``AgentError`` where the disk does not take it."""
        clip = Clip(secrets.token_urlsafe(9), device, time.time(), size, photo_size, box, score, model, server)
        folder = self._device_folder(device)
        try:
            with self._lock:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                write_private(folder / f"{clip.id}.png", png)
                write_private(folder / f"{clip.id}.json", json.dumps(asdict(clip)).encode())
                for old in self._read_all(device)[self._kept :]:
                    self._remove(old)
        except OSError as error:
            raise AgentError(
                f"The cut-out cannot be kept on the computer's disk ({error.strerror}): free some space.",
                code="disk_full",
            ) from error
        return clip

    def all(self, device: str | None = None) -> list[Clip]:
        """Newest first; of all devices for None."""
        with self._lock:
            if device is not None:
                return self._read_all(device)
            devices = [path.name for path in self._folder.iterdir() if path.is_dir()] if self._folder.is_dir() else []
            found = [clip for name in devices for clip in self._read_all(name)]
            return sorted(found, key=lambda clip: clip.created, reverse=True)

    def get(self, device: str, clip_id: str) -> Clip:
        """Raises ``NotFound``, for another device's clip too."""
        for clip in self.all(device):
            if secrets.compare_digest(clip.id.encode(), clip_id.encode()):
                return clip
        raise NotFound("There is no such cut-out (any more): make it again.", code="no_such_clip")

    def png(self, clip: Clip) -> bytes:
        """The cut-out's PNG. Raises ``NotFound`` if it has gone meanwhile."""
        try:
            return (self._device_folder(clip.device) / f"{clip.id}.png").read_bytes()
        except OSError as error:
            raise NotFound("The cut-out's file has gone: make it again.", code="no_such_clip") from error

    def delete(self, clip: Clip) -> None:
        with self._lock:
            self._remove(clip)

    def forget(self, device: str) -> None:
        """Delete all clips of a device."""
        with self._lock:
            shutil.rmtree(self._device_folder(device), ignore_errors=True)

    def _device_folder(self, device: str) -> Path:
        if not _ID.fullmatch(device):
            raise NotFound("There is no such device.", code="no_such_device")
        return self._folder / device

    def _read_all(self, device: str) -> list[Clip]:
        folder = self._device_folder(device)
        clips = []
        for path in folder.glob("*.json") if folder.is_dir() else ():
            try:
                fields = json.loads(path.read_text())
                for name in ("size", "photo_size", "box"):
                    fields[name] = tuple(fields[name])
                clips.append(Clip(**fields))
            except (OSError, ValueError, TypeError, KeyError):
                continue  # a half-written or foreign file is no clip
        return sorted(clips, key=lambda clip: clip.created, reverse=True)

    def _remove(self, clip: Clip) -> None:
        for suffix in (".json", ".png"):
            (self._device_folder(clip.device) / f"{clip.id}{suffix}").unlink(missing_ok=True)
