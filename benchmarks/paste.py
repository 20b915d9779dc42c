"""Where cut-outs land in real applications under Xvfb and openbox, measured on screenshots independently of the agent.

    python benchmarks/paste.py [--application NAME ...] [--runs 5] [--pictures FOLDER] [--json]

Every run pastes the same photo-like cut-out at another point, scale (0.4 to 1.6 of 200 pixels) and angle (-30 to 30 degrees).
``time_s`` is the median of one whole paste, ``cpu_s`` this process's part of it, which a busy machine does not change; the first
paste into a window learns its zoom and takes longest.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from desktop_agent.board import BoardStore
from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Placement, normalized_degrees
from desktop_agent.paste.registry import open_drivers
from desktop_agent.screen import MssScreen
from desktop_agent.windows import window_at
from tests.e2e.applications import PROGRAMS, installed, start
from tests.e2e.coffee import coffee, measured
from tests.e2e.desktop import VirtualDesktop, on_desktop

SOFT_RIM = {"gimp": 30.0}  # grey levels; GIMP mixes in linear light
RIM = 8.0


def measure(application: str, runs: int, pictures: Path | None) -> dict[str, Any]:
    """One application on its own desktop: every run's outcome, and their summary."""
    random = np.random.default_rng(2020)
    cutout = coffee(200)
    results: list[dict[str, Any]] = []
    with VirtualDesktop() as desktop, on_desktop(desktop):
        window = start(application, desktop)
        screen = MssScreen()
        with open_drivers(screen, BoardStore(desktop.home / "board")) as drivers:
            for index in range(runs):
                dx, dy = random.uniform((-180, -110), (180, 110))
                wanted = Placement(
                    window.rect.center.shifted(float(dx), float(dy)),
                    float(random.uniform(0.4, 1.6)), float(random.uniform(-30, 30)),
                )  # fmt: skip
                before = screen.grab()[0].image
                target = window_at(drivers.windows.stack(), wanted.center)
                began, spent = time.perf_counter(), time.process_time()
                try:
                    landing = drivers.choose(target).paste(cutout, wanted, target)
                except PasteFailed as error:
                    results.append({"error": error.code})
                    continue
                seconds, cpu = time.perf_counter() - began, time.process_time() - spent
                after = screen.grab()[0].image
                outcome = _outcome(application, cutout, before, after, wanted, landing.landing_error_px)
                results.append({"time_s": seconds, "cpu_s": cpu} | outcome)
                if pictures is not None:
                    from PIL import Image

                    pictures.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(after).save(pictures / f"{application}-{index + 1}.png")
    return _summary(results)


def _outcome(
    application: str,
    cutout: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    wanted: Placement,
    reported: float | None,
) -> dict[str, Any]:
    import cv2

    try:
        found, rim = measured(cutout, before, after, wanted)
    except cv2.error:  # nothing like the cut-out is there, though the agent said so
        return {"error": "wrong_ok"}
    error = found.center.distance(wanted.center)
    return {
        "landing_error_px": error,
        "scale_error": abs(found.scale / wanted.scale - 1),
        "rotation_error_deg": abs(normalized_degrees(found.rotation - wanted.rotation)),
        "alpha_kept": rim < SOFT_RIM.get(application, RIM),
        "report_off_px": None if reported is None else abs(reported - error),
    }


def _summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    good = [result for result in results if "error" not in result]
    ok = [result for result in good if result["landing_error_px"] <= 1]

    def over(name: str, pick: Any) -> float | None:
        values = [result[name] for result in good if result[name] is not None]
        return round(float(pick(values)), 4) if values else None

    return {
        "runs": len(results),
        "ok": len(ok),
        "landing_error_px_median": over("landing_error_px", statistics.median),
        "landing_error_px_max": over("landing_error_px", max),
        "scale_error_max": over("scale_error", max),
        "rotation_error_deg_max": over("rotation_error_deg", max),
        "report_off_px_max": over("report_off_px", max),
        "alpha_kept": sum(result["alpha_kept"] for result in good),
        "time_s": over("time_s", statistics.median),
        "cpu_s": over("cpu_s", statistics.median),
        "errors": [result["error"] for result in results if "error" in result],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--application", action="append", choices=sorted(PROGRAMS), help="default: all installed")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--pictures", type=Path, help="where screenshots go")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    table: dict[str, Any] = {}
    print(
        f"{'application':12} {'ok':>5} {'median px':>10} {'max px':>8} {'scale %':>8} {'angle':>7} {'alpha':>6}"
        f" {'s':>6} {'cpu s':>6}"
    )
    for application in options.application or [name for name in PROGRAMS if installed(name)]:
        row = table[application] = measure(application, options.runs, options.pictures)
        scale = None if row["scale_error_max"] is None else round(100 * row["scale_error_max"], 2)
        print(
            f"{application:12} {row['ok']:>3}/{row['runs']} {row['landing_error_px_median']!s:>9}"
            f" {row['landing_error_px_max']!s:>8} {scale!s:>8} {row['rotation_error_deg_max']!s:>7}"
            f" {row['alpha_kept']:>4}/{row['runs']} {row['time_s']!s:>6} {row['cpu_s']!s:>6} {' '.join(row['errors'])}",
            flush=True,
        )
    if options.json:
        print(json.dumps({"applications": table}))


if __name__ == "__main__":
    main()
