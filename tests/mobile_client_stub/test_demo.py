from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mobile_client_stub.client import PhoneError
from mobile_client_stub.demo import SAMPLES, Run, measure_landing, run_demo, summarise

PICTURES = ["photo", "cutout", "view", "located", "pasted"]


def test_the_demo_lands_and_leaves_its_pictures(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mobile_client_stub", "demo", "--out", str(tmp_path), "--seeds", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as demo:
        assert demo.stdout is not None
        lines = [demo.stdout.readline(), demo.stdout.readline()]
        assert lines[1].split()[:2] == ["1", "pasted"], lines
        assert not (tmp_path / "report.json").exists()  # each run is told when it ends
        lines += demo.communicate(timeout=240)[0].splitlines()
    assert demo.returncode == 0, lines
    report = json.loads((tmp_path / "report.json").read_text())
    assert [run["seed"] for run in report["runs"]] == [1, 2]
    assert report["landing_error_px_median"] <= 2
    assert max(run["scale_error_percent"] for run in report["runs"]) <= 2
    for name in PICTURES:
        assert cv2.imread(str(tmp_path / f"{name}.png")) is not None
    assert any("median landing error" in line for line in lines)


def test_an_unusable_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PhoneError, match="choose another one with --out"):
        run_demo(tmp_path / "file" / "out", 1)


def placed(scale: float, degrees: float, center: tuple[float, float], cutout: NDArray[np.uint8]) -> NDArray[np.float64]:
    angle = math.radians(degrees)
    linear = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return np.column_stack([linear, np.array(center) - linear @ [cutout.shape[1] / 2, cutout.shape[0] / 2]])


@pytest.fixture(scope="module")
def cutout() -> NDArray[np.uint8]:
    photo = cv2.cvtColor(cv2.imread(str(SAMPLES / "coffee.jpg")), cv2.COLOR_BGR2RGB)[:, 60:460]
    ys, xs = np.mgrid[0.5:400, 0.5:400]
    alpha = np.clip((190 - np.hypot(xs - 200, ys - 200)) / 3, 0, 1)
    return np.dstack([photo, np.rint(alpha * 255).astype(np.uint8)])


@pytest.mark.parametrize(
    ("dx", "dy", "scale", "degrees"),
    [(0, 0, 1, 0), (3, -4, 1, 0), (0.5, 0.25, 1, 0), (0, 0, 1.03, 0), (1, 1, 0.98, 2.0)],
)
def test_the_measurement_finds_a_landing_that_is_off(
    cutout: NDArray[np.uint8], dx: float, dy: float, scale: float, degrees: float
) -> None:
    desktop = cv2.cvtColor(cv2.imread(str(SAMPLES / "desktop.png")), cv2.COLOR_BGR2RGB)
    expected = placed(0.6, 10, (1246.3, 597.8), cutout)
    actual = placed(0.6 * scale, 10 + degrees, (1246.3 + dx, 597.8 + dy), cutout)
    actual[:, 2] += actual[:, :2] @ [0.5, 0.5] - 0.5
    over = cv2.warpAffine(cutout, actual, (desktop.shape[1], desktop.shape[0]), flags=cv2.INTER_AREA)
    alpha = over[..., 3:] / 255
    after = np.rint(over[..., :3] * alpha + desktop * (1 - alpha)).astype(np.uint8)
    measured = measure_landing(desktop, after, cutout, expected)
    assert measured is not None
    landing, scale_percent, rotation = measured
    assert landing == pytest.approx(math.hypot(dx, dy), abs=0.15)
    assert scale_percent == pytest.approx(100 * abs(scale - 1), abs=0.15)
    assert rotation == pytest.approx(abs(degrees), abs=0.15)


def test_nothing_pasted_is_no_landing(cutout: NDArray[np.uint8]) -> None:
    desktop = np.zeros((300, 400, 3), np.uint8)
    assert measure_landing(desktop, desktop.copy(), cutout, placed(0.5, 0, (200, 150), cutout)) is None


def test_a_refused_run_does_not_improve_the_medians() -> None:
    good = Run(1, "pasted", 0.5, 0.1, 0.1, 1.0, 1.0)
    refused = Run(2, "refused", None, None, None, 1.0, 1.0, "ambiguous")
    report = summarise([good, refused])
    assert (report["pasted"], report["landing_error_px_median"]) == (1, 0.5)
    assert summarise([refused])["landing_error_px_median"] is None
