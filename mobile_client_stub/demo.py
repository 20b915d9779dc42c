"""The main job end to end, without a phone: a simulated camera looks at a screen that is a picture.

The agent runs as its own process with ``--screen FILE``. Where the cut-out landed is measured from the agent's picture before and
after the paste, against the simulated camera's ground truth; the agent's own figures are not used for it.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mobile_client_stub.camera import Shot, SimulatedCamera
from mobile_client_stub.client import AgentClient, CopyResult, NotPaired, PhoneError, same_computer

Image = NDArray[np.uint8]
SAMPLES = Path(__file__).resolve().parent / "samples"
TAP = (300.0, 200.0)
PINCH = 0.5
"""The simulated person makes the floating cut-out smaller by this, so that it fits the poster."""
FIRST_AIM = (1246.0, 597.0)
"""Seed 1 points at the frame of the sample screen that says 'photo goes here'."""
AIM_AREA = (0.36, 0.34, 0.72, 0.70)
"""Where on the screen the other seeds point (left, top, right, bottom as shares): inside the document."""
STARTUP_SECONDS = 60


@dataclass(frozen=True)
class Run:
    """One seed. Errors are against the camera's truth, measured on the pasted picture."""

    seed: int
    status: str
    landing_error_px: float | None
    scale_error_percent: float | None
    rotation_error_deg: float | None
    copy_s: float
    paste_s: float
    reason: str | None = None


def run_demo(
    out: Path,
    seeds: int,
    photo: Path | None = None,
    screen: Path | None = None,
    tell: Callable[[Run], None] = lambda run: None,
) -> dict[str, Any]:
    """Play the story for seeds 1..N; leaves the pictures of the first one and ``report.json`` in ``out``.

    ``tell`` hears of each run when it ends. Raises ``PhoneError``.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PhoneError(f"{out} cannot be made a folder ({error.strerror}): choose another one with --out.") from error
    photo, screen = photo or SAMPLES / "coffee.jpg", screen or SAMPLES / "desktop.png"
    desktop = _read(screen)
    runs = []
    for seed in range(1, seeds + 1):
        with agent_process(screen) as client:
            runs.append(_run(client, seed, photo.read_bytes(), desktop, out if seed == 1 else None))
        tell(runs[-1])
    _write(out / "photo.png", _read(photo))
    report = summarise(runs)
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


def summarise(runs: list[Run]) -> dict[str, Any]:
    """``report.json``: every run, and medians over those that pasted."""
    pasted = [run for run in runs if run.landing_error_px is not None]

    def median(name: str) -> float | None:
        return round(statistics.median(getattr(run, name) for run in pasted), 4) if pasted else None

    return {
        "runs": [asdict(run) for run in runs],
        "pasted": len(pasted),
        "landing_error_px_median": median("landing_error_px"),
        "landing_error_px_max": round(max(run.landing_error_px or 0 for run in pasted), 4) if pasted else None,
        "scale_error_percent_median": median("scale_error_percent"),
        "rotation_error_deg_median": median("rotation_error_deg"),
        "copy_s_median": median("copy_s"),
        "paste_s_median": median("paste_s"),
    }


@contextmanager
def agent_process(screen: Path) -> Iterator[AgentClient]:
    """An agent of its own, on loopback only, with a private data folder and a picture as its screen."""
    with tempfile.TemporaryDirectory(prefix="arcp-demo-") as folder:
        environment = os.environ | {"ARCP_HOME": folder}
        command = [
            sys.executable,
            "-m",
            "desktop_agent",
            "--screen",
            str(screen),
            "--no-lan",
            "--port",
            "0",
            "--no-browser",
        ]
        log = Path(folder) / "agent.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(
                command, env=environment, stdout=sink, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        try:
            with AgentClient(_wait_for(process, Path(folder), log)) as client:
                yield client
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(process: subprocess.Popen[bytes], home: Path, log: Path) -> Any:
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return same_computer(home)
        except NotPaired:
            time.sleep(0.05)
    raise PhoneError(f"The agent did not start: {log.read_text(errors='replace')[-2000:]}", "agent_failed")


def _run(client: AgentClient, seed: int, photo: bytes, desktop: Image, out: Path | None) -> Run:
    start = time.perf_counter()
    copied = client.copy(photo, tap=TAP)
    copy_s = time.perf_counter() - start
    rng = np.random.default_rng(seed)
    height, width = desktop.shape[:2]
    left, top, right, bottom = AIM_AREA
    anywhere = rng.uniform(left, right) * width, rng.uniform(top, bottom) * height
    shot = SimulatedCamera(seed).shoot(desktop, FIRST_AIM if seed == 1 else anywhere)
    view_height, view_width = shot.view.shape[:2]
    placement = {
        "x": (view_width - 1) / 2,
        "y": (view_height - 1) / 2,
        "scale": PINCH * max(view_width, view_height) / max(copied.image_size),
        "rotation": 0.0,
    }
    start = time.perf_counter()
    answer = client.paste(shot.jpeg, copied.clip, placement=placement, key=f"demo-{seed}")
    paste_s = time.perf_counter() - start
    pasted = _decoded(client.screen_png())
    if out is not None:
        (out / "cutout.png").write_bytes(copied.png)
        _write(out / "view.png", shot.view)
        _write(out / "pasted.png", pasted)
        _write(out / "located.png", draw_location(desktop, shot, answer))
    errors = measure_landing(
        desktop, pasted, _decoded_rgba(copied.png), expected_affine(shot, copied, placement["scale"])
    )
    landing, scale, rotation = errors or (None, None, None)
    return Run(seed, answer["status"], landing, scale, rotation, round(copy_s, 3), round(paste_s, 3), answer["reason"])


def expected_affine(shot: Shot, copied: CopyResult, floating_scale: float) -> NDArray[np.float64]:
    """2x3, cut-out pixels to screen pixels, from the camera's truth, for a cut-out that floats in the middle of the view."""
    width, height = copied.box[2] - copied.box[0], copied.box[3] - copied.box[1]
    factor = shot.scale * floating_scale
    angle = math.radians(shot.rotation)
    linear = factor * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return np.column_stack([linear, np.array(shot.point) - linear @ [width / 2, height / 2]])


def measure_landing(
    before: Image, after: Image, cutout: Image, expected: NDArray[np.float64]
) -> tuple[float, float, float] | None:
    """Landing error of the raster's centre (px), scale error (%) and rotation error (degrees); None where nothing changed.

    The cut-out is rendered at the expected place and the pasted picture is aligned with that rendering by enhanced correlation
    (Evangelidis, Psarakis, PAMI 2008), so that the figures come from pixels alone.
    """
    if np.array_equal(before, after):
        return None
    height, width = before.shape[:2]
    rendered = _render(before, cutout, expected)
    changed = (np.abs(after.astype(np.int16) - before).max(axis=2) > 8).astype(np.uint8)
    truth = (np.abs(rendered.astype(np.int16) - before).max(axis=2) > 8).astype(np.uint8)
    x, y, w, h = cv2.boundingRect(cv2.bitwise_or(changed, truth))
    margin = 12
    window = np.s_[max(0, y - margin) : min(height, y + h + margin), max(0, x - margin) : min(width, x + w + margin)]
    origin = np.array([window[1].start, window[0].start], dtype=np.float64)
    target, moved = _object_only(rendered, truth, window), _object_only(after, changed, window)
    warp = np.eye(2, 3, dtype=np.float32)
    shift = _centroid(changed) - _centroid(truth)
    warp[:, 2] = shift
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 200, 1e-7)
    _, warp = cv2.findTransformECC(target, moved, warp, cv2.MOTION_AFFINE, criteria, None, 3)
    half = np.array([cutout.shape[1] / 2, cutout.shape[0] / 2])
    center = expected[:, :2] @ half + expected[:, 2]
    local = center - origin - 0.5  # warpAffine and ECC have pixel centres at integers
    landed = warp[:, :2].astype(np.float64) @ local + warp[:, 2]
    scale = math.sqrt(abs(float(np.linalg.det(warp[:, :2])))) - 1
    rotation = math.degrees(math.atan2(warp[1, 0] - warp[0, 1], warp[0, 0] + warp[1, 1]))
    return round(float(np.linalg.norm(landed - local)), 4), round(100 * abs(scale), 4), round(abs(rotation), 4)


def _object_only(image: Image, mask: Image, window: Any) -> NDArray[np.float32]:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) + 64
    return np.asarray((grey * mask)[window], dtype=np.float32)


def _centroid(mask: Image) -> NDArray[np.float64]:
    moments = cv2.moments(mask, binaryImage=True)
    return np.array([moments["m10"], moments["m01"]]) / max(moments["m00"], 1)


def _render(before: Image, cutout: Image, affine: NDArray[np.float64]) -> Image:
    """The picture with the cut-out over it; supersampled, so that it owes nothing to the agent's resampling."""
    height, width = before.shape[:2]
    x, y, w, h = _covered(cutout, affine, width, height)
    factor = 3
    shifted = affine.copy()
    shifted[:, 2] -= (x, y)
    shifted = shifted * factor
    shifted[:, 2] += shifted[:, :2] @ [0.5, 0.5] - 0.5
    premultiplied = cutout.astype(np.float32) / 255
    premultiplied[..., :3] *= premultiplied[..., 3:]
    large = cv2.warpAffine(premultiplied, shifted, (w * factor, h * factor), flags=cv2.INTER_CUBIC)
    small = np.clip(cv2.resize(large, (w, h), interpolation=cv2.INTER_AREA), 0, 1)
    result = before.copy()
    under = before[y : y + h, x : x + w].astype(np.float32) / 255
    result[y : y + h, x : x + w] = np.rint((small[..., :3] + under * (1 - small[..., 3:])) * 255)
    return result


def _covered(cutout: Image, affine: NDArray[np.float64], width: int, height: int) -> tuple[int, int, int, int]:
    corners = np.array([[0, 0], [cutout.shape[1], 0], [0, cutout.shape[0]], [cutout.shape[1], cutout.shape[0]]])
    xy = corners @ affine[:, :2].T + affine[:, 2]
    left, top = np.maximum(np.floor(xy.min(axis=0)).astype(int) - 1, 0)
    right, bottom = np.minimum(np.ceil(xy.max(axis=0)).astype(int) + 1, (width, height))
    return int(left), int(top), max(1, int(right - left)), max(1, int(bottom - top))


def draw_location(desktop: Image, shot: Shot, answer: dict[str, Any]) -> Image:
    """The screen, what the view sees of it, and where the agent says that the phone points."""
    picture = desktop.copy()
    height, width = shot.view.shape[:2]
    edge = np.linspace(0, 1, 30)[:, None]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)
    outline = np.concatenate([a + (b - a) * edge for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)])
    seen = np.rint(shot.projection.to_screen(outline)).astype(np.int32)
    cv2.polylines(picture, [seen.reshape(-1, 1, 2)], True, (0, 180, 90), 5, cv2.LINE_AA)
    if answer["point"]:
        at = round(answer["point"]["x"]), round(answer["point"]["y"])
        cv2.drawMarker(picture, at, (255, 255, 255), cv2.MARKER_CROSS, 60, 9, cv2.LINE_AA)
        cv2.drawMarker(picture, at, (230, 0, 90), cv2.MARKER_CROSS, 56, 5, cv2.LINE_AA)
    return picture


def _read(path: Path) -> Image:
    return _decoded(path.read_bytes())


def _decoded(data: bytes) -> Image:
    return np.asarray(cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))


def _decoded_rgba(data: bytes) -> Image:
    return np.asarray(
        cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA)
    )


def _write(path: Path, image: Image) -> None:
    path.write_bytes(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes())
