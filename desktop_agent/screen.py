"""Screen capture: all monitors in physical pixels, or a picture where there is no display."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from desktop_agent.errors import ScreenUnavailable
from desktop_agent.geometry import Placement, Point, Rect

RGB = NDArray[np.uint8]
RGBA = NDArray[np.uint8]


@dataclass(frozen=True)
class Monitor:
    """``index`` is mss's (1 is the first), ``rect`` lies in the virtual desktop's pixels and may have negative offsets."""

    index: int
    rect: Rect


@dataclass(frozen=True, eq=False)
class Screenshot:
    """``image`` is uint8 HxWx3 RGB of the monitor's size; ``covered`` HxW says where the agent itself has drawn over the screen."""

    monitor: Monitor
    image: RGB
    covered: NDArray[np.bool_] | None = None

    def to_desktop(self, point: Point) -> Point:
        """From this monitor's pixels to the virtual desktop's."""
        return point.shifted(self.monitor.rect.left, self.monitor.rect.top)


class ScreenSource(Protocol):
    """What the agent looks at; replace it in tests."""

    def monitors(self) -> list[Monitor]: ...

    def grab(self) -> list[Screenshot]:
        """A screenshot of every monitor, in the order of ``monitors``. Raises ``ScreenUnavailable``."""
        ...


class MssScreen:
    """The real monitors through mss; safe to use from any thread, and follows monitors that come and go."""

    def __init__(self, display: str | None = None) -> None:
        self._options: dict[str, Any] = {"display": display} if display and sys.platform == "linux" else {}
        self.monitors()  # a screen that cannot be captured is reported now, not at the first paste

    def monitors(self) -> list[Monitor]:
        return [monitor for monitor, _ in self._capture(pixels=False)]

    def grab(self) -> list[Screenshot]:
        return [Screenshot(monitor, image) for monitor, image in self._capture(pixels=True)]

    def _capture(self, *, pixels: bool) -> list[tuple[Monitor, RGB]]:
        import mss

        captured: list[tuple[Monitor, RGB]] = []
        try:
            with mss.MSS(**self._options) as grabber:  # a new connection sees the monitors of this moment
                for index, found in enumerate(grabber.monitors[1:], start=1):
                    rect = Rect(found["left"], found["top"], found["width"], found["height"])
                    if any(rect == monitor.rect for monitor, _ in captured):
                        continue  # a mirrored monitor shows the same pixels
                    shot = _rgb(grabber.grab(found)) if pixels else np.empty((0, 0, 3), np.uint8)
                    captured.append((Monitor(index, rect), shot))
        except (mss.ScreenShotError, OSError) as error:
            raise ScreenUnavailable(f"The screen cannot be captured: {error}. {_advice()}") from error
        if not captured:
            raise ScreenUnavailable(f"The desktop has no monitor. {_advice()}")
        return captured


def _rgb(shot: object) -> RGB:
    """mss's BGRA -> uint8 HxWx3 RGB."""
    import cv2

    bgra = np.frombuffer(shot.bgra, np.uint8).reshape(shot.height, shot.width, 4)  # type: ignore[attr-defined]
    return np.asarray(cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGB), dtype=np.uint8)


def _advice() -> str:
    if sys.platform == "darwin":
        return "Allow Screen Recording for this program in System Settings > Privacy & Security, then start it again."
    return "Start it inside a desktop session, or give it a picture: --screen virtual or --screen FILE."


class PictureScreen:
    """One monitor that shows a picture; what is pasted is composed into it. Safe to use from any thread."""

    def __init__(self, picture: RGB) -> None:
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
            raise ValueError("a picture screen needs a uint8 HxWx3 picture")
        self._picture = picture.copy()
        self._over: dict[str, list[tuple[Rect, RGBA]]] = {}
        self._lock = threading.Lock()

    @property
    def picture(self) -> RGB:
        """A copy of the picture with all that was pasted, uint8 HxWx3 RGB."""
        with self._lock:
            return self._picture.copy()

    def monitors(self) -> list[Monitor]:
        height, width = self._picture.shape[:2]
        return [Monitor(1, Rect(0, 0, width, height))]

    def grab(self) -> list[Screenshot]:
        return [Screenshot(self.monitors()[0], self.shown)]

    @property
    def shown(self) -> RGB:
        """The picture with what lies over it, as a capture or a camera sees it, uint8 HxWx3 RGB."""
        with self._lock:
            shown, layers = self._picture.copy(), [patch for layer in self._over.values() for patch in layer]
        for rect, over in layers:
            area = rect.intersection(self.monitors()[0].rect)
            if area is not None:
                top, left = area.top - rect.top, area.left - rect.left
                part = over[top : top + area.height, left : left + area.width].astype(np.float32)
                below = shown[area.top : area.bottom, area.left : area.right]
                below[:] = np.rint(below + (part[..., :3] - below) * (part[..., 3:] / 255))
        return shown

    def lay_over(self, layer: str, patches: list[tuple[Rect, RGBA]]) -> None:
        """Show pictures (uint8 HxWx4, straight alpha) over this one; none ends the layer."""
        with self._lock:
            self._over.pop(layer, None)
            if patches:
                self._over[layer] = patches

    def paste(self, cutout: RGBA, placement: Placement) -> Rect | None:
        """Compose the uint8 HxWx4 cut-out; returns the pixels that were drawn on, None where it lies outside."""
        from desktop_agent.paste.raster import compose, premultiplied, resample

        height, width = cutout.shape[:2]
        area = placement.bounds(width, height).intersection(self.monitors()[0].rect)
        if area is None:
            return None
        over = resample(premultiplied(cutout), placement, area)
        rows, columns = slice(area.top, area.bottom), slice(area.left, area.right)
        with self._lock:
            self._picture[rows, columns] = compose(self._picture[rows, columns], over)
        return area

    def save(self, path: str | Path) -> None:
        """Write the picture in the format that the file's ending names."""
        from PIL import Image

        Image.fromarray(self.picture).save(path)


def open_screen(source: str = "auto") -> ScreenSource:
    """``auto``: the monitors; ``virtual``: a built-in picture of a desktop; else a picture file.

    Raises ``ScreenUnavailable`` where there is no display or the file is no picture.
    """
    if source == "virtual":
        from desktop_agent.virtual_desktop import draw_desktop

        return PictureScreen(draw_desktop())
    if source != "auto":
        return PictureScreen(_read_picture(Path(source)))
    if sys.platform == "linux" and os.environ.get("WAYLAND_DISPLAY"):
        from desktop_agent.screen_wayland import PortalScreen

        return PortalScreen()
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        raise ScreenUnavailable(f"There is no display here (DISPLAY is not set). {_advice()}")
    return MssScreen()


def _read_picture(path: Path) -> RGB:
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"), dtype=np.uint8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ScreenUnavailable(
            f"{path} cannot be used as a screen: {error}. Give a PNG, JPEG or WebP file."
        ) from error
