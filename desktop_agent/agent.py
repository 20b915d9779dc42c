"""The agent's core: a photo becomes a clip, a view becomes a place on the screen, a clip lands there.

No HTTP here. Every outcome of aiming and pasting is a value (``Aim``, ``PasteResult``); only requests that make no sense raise.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from desktop_agent.aiming import Aims
from desktop_agent.clips import Clip, ClipStore
from desktop_agent.errors import AgentError, PasteFailed, ScreenUnavailable, UnreadableView
from desktop_agent.geometry import Placement, Point
from desktop_agent.locate import Localizer, Location
from desktop_agent.on_screen import OnScreen
from desktop_agent.oversight import Oversight
from desktop_agent.paste.driver import RGBA, Landing, PasteDriver
from desktop_agent.screen import RGB, Screenshot, ScreenSource
from desktop_agent.segmentation import Segmentation
from desktop_agent.windows import Window, WindowProbe, window_at

REMEMBERED_KEYS = 256
MARKERS_SHOWN = (
    "This place alone cannot be recognised. The screen shows markers for a moment: take the photo again now."
)


@dataclass(frozen=True)
class PasteResult:
    """The object that ``/paste`` answers with. ``point`` is where the cut-out's centre lands, in the virtual desktop's pixels."""

    status: Literal["pasted", "refused", "failed", "retry_after_markers"]
    message: str
    reason: str | None = None
    point: Point | None = None
    monitor: int | None = None
    scale: float | None = None
    rotation: float | None = None
    confidence: float = 0.0
    landing: Landing | None = None

    def public(self) -> dict[str, Any]:
        """As JSON shows it: pixel centres at integers."""
        landing = self.landing
        return {
            "status": self.status,
            "point": point_json(self.point, self.monitor),
            "scale": rounded(self.scale, 5),
            "rotation": rounded(self.rotation, 3),
            "confidence": round(self.confidence, 4),
            "reason": self.reason,
            "message": self.message,
            "application": landing.application if landing else None,
            "driver": landing.driver if landing else None,
            "anchor": landing.anchor if landing else None,
            "landing_error_px": rounded(landing.landing_error_px, 3) if landing else None,
        }


@dataclass(frozen=True)
class Aim:
    """Where the cut-out would land while the person aims; ``point`` is None where that is not known."""

    message: str
    reason: str | None = None
    point: Point | None = None
    monitor: int | None = None
    scale: float | None = None
    rotation: float | None = None
    confidence: float = 0.0

    @classmethod
    def refused(cls, error: UnreadableView) -> Aim:
        return cls(error.message, error.code)

    def public(self) -> dict[str, Any]:
        """As JSON shows it: pixel centres at integers."""
        return {
            "locked": self.point is not None,
            "point": point_json(self.point, self.monitor),
            "scale": rounded(self.scale, 5),
            "rotation": rounded(self.rotation, 3),
            "confidence": round(self.confidence, 4),
            "reason": self.reason,
            "message": self.message,
        }


def point_json(point: Point | None, monitor: int | None) -> dict[str, Any] | None:
    if point is None:
        return None
    x, y = point.external()
    return {"x": round(x, 3), "y": round(y, 3), "monitor": monitor}


def rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


@dataclass(frozen=True, eq=False)
class Capture:
    """Screenshots taken when a paste began; their features are computed while the photo still uploads."""

    screenshots: list[Screenshot]
    prepared: Future[None]


class Agent:
    """Owns the collaborators and the threads; ``close`` stops them."""

    def __init__(
        self,
        *,
        segmentation: Segmentation,
        screen: ScreenSource,
        clips: ClipStore,
        choose_driver: Callable[[Window | None], PasteDriver],
        windows: WindowProbe,
        localizer: Localizer | None = None,
        oversight: Oversight | None = None,
        on_screen: OnScreen | None = None,
    ) -> None:
        self.segmentation, self.screen, self.clips = segmentation, screen, clips
        self.localizer = localizer or Localizer()
        self.aims = Aims(self.localizer)
        self.on_screen = on_screen or OnScreen(screen, clips)
        self._choose_driver, self._windows = choose_driver, windows
        self.oversight = oversight
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="arcp-features")
        self._pasting = threading.Lock()
        self._results: OrderedDict[tuple[str, str], Future[PasteResult]] = OrderedDict()
        self._results_lock = threading.Lock()

    def close(self) -> None:
        """Wait for running work, end the threads and remove what is shown on the screen."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.on_screen.close()

    def copy(
        self,
        device: str,
        photo: bytes,
        *,
        tap: tuple[float, float] | None = None,
        model: str | None = None,
        mode: str = "object",
    ) -> tuple[Clip, dict[str, float]]:
        """Cut the object out of a photo and keep it. Returns the clip and the stages' milliseconds; raises ``AgentError``."""
        result = self.segmentation.cut(photo, tap=tap, model=model, mode=mode)
        left, top, right, bottom = result.box
        clip = self.clips.add(
            device,
            result.png,
            size=(right - left, bottom - top),
            photo_size=result.photo_size,
            box=result.box,
            score=result.score,
            model=result.model,
            server=result.server,
        )
        return clip, result.timings_ms

    def capture(self) -> Capture:
        """Screenshots now, their features in the background. Raises ``ScreenUnavailable``."""
        screenshots = self.look()

        def prepare() -> None:
            for screenshot in screenshots:
                self.localizer.prepare(screenshot)

        return Capture(screenshots, self._pool.submit(prepare))

    def look(self) -> list[Screenshot]:
        """Screenshots now; what a tracked aim needs of them costs little. Raises ``ScreenUnavailable``."""
        return self.on_screen.look()

    def aim(
        self,
        device: str,
        view: RGB,
        screenshots: list[Screenshot],
        placement: Placement | None = None,
        clip: Clip | None = None,
    ) -> Aim:
        """Where the cut-out would land, for one small frame of the device; ``clip`` is previewed there."""
        location = self.aims.follow(device, view, screenshots)
        if location.status != "located":
            return Aim(location.message, _reason(location), confidence=location.confidence)
        scale = photo_scale(view, clip) if clip is not None else 1.0
        target = self._target(screenshots, location, placement or centered(view, scale))
        if clip is not None:
            self.on_screen.preview(clip, target, [shot.monitor for shot in screenshots])
        return Aim(
            location.message,
            point=target.center,
            monitor=location.monitor,
            scale=target.scale,
            rotation=target.rotation,
            confidence=location.confidence,
        )

    def paste(
        self,
        clip: Clip,
        view: RGB,
        capture: Capture,
        placement: Placement | None = None,
        *,
        key: str | None = None,
        markers: bool = False,
    ) -> PasteResult:
        """Paste a clip where the view points. The same ``key`` of the same device never pastes twice: it gets the first answer.

        With ``markers`` the phone can take a second photo: a view that cannot be located is then answered with
        ``retry_after_markers``, while the screen shows them.
        """
        if key is None:
            return self._paste(clip, view, capture, placement, markers)
        mine: Future[PasteResult] = Future()
        with self._results_lock:
            first = self._results.setdefault((clip.device, key), mine)
            while len(self._results) > REMEMBERED_KEYS:
                self._results.popitem(last=False)
        if first is mine:
            try:
                result = self._paste(clip, view, capture, placement, markers)
            except BaseException as error:
                with self._results_lock:
                    self._results.pop((clip.device, key), None)
                mine.set_exception(error)
                raise
            if result.status == "retry_after_markers":  # nothing was pasted: the second photo comes with the same key
                with self._results_lock:
                    self._results.pop((clip.device, key), None)
            mine.set_result(result)
        return first.result()

    def _paste(
        self, clip: Clip, view: RGB, capture: Capture, placement: Placement | None, markers: bool
    ) -> PasteResult:
        from server.images import decode_rgba

        cutout = decode_rgba(self.clips.png(clip))
        marking = markers and self.on_screen.can_mark  # surer, and sooner shown than a slow search ends
        location, screenshots = self._locate(clip.device, view, capture, patient=not marking)
        if location.status != "located":
            if markers and self.on_screen.show_markers(clip.device, location.reason, screenshots):
                return PasteResult("retry_after_markers", MARKERS_SHOWN, _reason(location))
            return PasteResult("refused", location.message, _reason(location), confidence=location.confidence)
        target = self._target(screenshots, location, placement or centered(view, photo_scale(view, clip)))
        result = PasteResult(
            "failed",
            "",
            point=target.center,
            monitor=location.monitor,
            scale=target.scale,
            rotation=target.rotation,
            confidence=location.confidence,
        )
        if not any(shot.monitor.rect.contains(target.center) for shot in screenshots):
            message = "The cut-out would land outside the screen: point further inside it."
            return replace(result, status="refused", reason="off_screen", message=message)
        try:
            window = window_at(self._windows.stack(), target.center)  # what was pointed at: a question may cover it
            if self.oversight and not self.oversight.allows(clip.device, clip.id, window.title if window else ""):
                message = "The person at the computer did not allow this paste. The cut-out is kept."
                return replace(result, status="refused", reason="not_allowed", message=message)
            landing = self._put(cutout, target, window)
        except PasteFailed as error:
            return replace(result, reason=error.code, message=error.message)
        except ScreenUnavailable as error:
            return replace(result, reason=error.code, message=error.message)
        except Exception:
            logging.getLogger("desktop_agent").exception("a paste driver failed")
            message = (
                "The paste failed unexpectedly; the cut-out is kept. Try again, or paste it into another application."
            )
            return replace(result, reason="internal_error", message=message)
        if self.oversight:
            self.oversight.pasted(clip.device, landing.application)
        return replace(result, status="pasted", message=f"Pasted into {landing.application}.", landing=landing)

    def put(self, device: str, clip_id: str, target: Placement) -> Landing:
        """Paste a device's clip at a place of the virtual desktop that is known without a view. Raises ``AgentError``."""
        from server.images import decode_rgba

        cutout = decode_rgba(self.clips.png(self.clips.get(device, clip_id)))
        return self._put(cutout, target, window_at(self._windows.stack(), target.center))

    def _put(self, cutout: RGBA, target: Placement, window: Window | None) -> Landing:
        with self._pasting, self.on_screen.quiet():  # one pointer, one clipboard: two phones take turns
            return self._choose_driver(window).paste(cutout, target, window)

    def _locate(self, device: str, view: RGB, capture: Capture, *, patient: bool) -> tuple[Location, list[Screenshot]]:
        """Where the photo points, and on which screenshots: those from before the markers, where it shows them."""
        marked = self.on_screen.marked(device, view)
        if marked is not None and marked[0].status == "located":
            return marked
        screenshots = marked[1] if marked is not None else capture.screenshots
        return self.aims.photo(device, view, screenshots, patient=patient), screenshots

    @staticmethod
    def _target(screenshots: list[Screenshot], location: Location, placement: Placement) -> Placement:
        """The placement on the virtual desktop of a cut-out that floats at ``placement`` over the view."""
        if location.homography is None:
            raise AgentError("a located view has a homography")
        shot = next(shot for shot in screenshots if shot.monitor.index == location.monitor)
        on_monitor = placement.through(location.homography)
        return replace(on_monitor, center=shot.to_desktop(on_monitor.center))


def _reason(location: Location) -> str | None:
    return location.reason.value if location.reason else None


def centered(view: RGB, scale: float) -> Placement:
    """In the middle of the view."""
    height, width = view.shape[:2]
    return Placement(Point(width / 2, height / 2), scale)


def photo_scale(view: RGB, clip: Clip) -> float:
    """View pixels per cut-out pixel when the object is to look as large as it did in its photo."""
    return float(max(view.shape[:2]) / max(clip.photo_size))


def decode_view(data: bytes) -> RGB:
    """A photo or frame of the screen -> uint8 HxWx3 RGB. Raises ``UnreadableView``."""
    from server.errors import BadInput
    from server.images import decode

    try:
        return np.ascontiguousarray(decode(data))
    except BadInput as error:
        raise UnreadableView(error.message) from error
