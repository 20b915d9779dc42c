"""Where cut-outs land in real applications under Xvfb and openbox, measured on screenshots independently of the agent.

    python benchmarks/paste.py [--application NAME ...] [--setups plain|all|50%|...] [--runs 5] [--pictures FOLDER] [--json]

Every run pastes the same photo-like cut-out at another point, scale (0.4 to 1.6 of 200 pixels) and angle (-30 to 30 degrees).
``--setups all`` repeats it at the document's zooms, with a toolkit that draws at twice its size, and on a second monitor.
``ok`` counts the runs that the agent reported truly and that landed within a pixel, 1 % and 0.5 degrees; where text flows, those
that were put at its caret as large and as turned as asked; where no picture is taken, those that were refused and changed nothing.
``time_s`` is the median of one whole paste, ``cpu_s`` this process's part of it, which a busy machine does not change; the first
paste into a window learns its zoom and takes longest (``first_s``).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from desktop_agent.board import BoardStore
from desktop_agent.errors import AgentError
from desktop_agent.geometry import Placement, Rect, normalized_degrees
from desktop_agent.paste.closed_loop import look
from desktop_agent.paste.driver import Landing
from desktop_agent.paste.match import find
from desktop_agent.paste.registry import Drivers, open_drivers
from desktop_agent.screen import MssScreen
from desktop_agent.windows import Window, window_at
from tests.e2e.applications import PROGRAMS, Setup, installed, start
from tests.e2e.coffee import coffee, measured
from tests.e2e.desktop import VirtualDesktop, on_desktop, wait_until_still
from tests.e2e.paste_pages import BUNDLED, site
from tests.e2e.test_board import served

SOFT_RIM = {"gimp": 30.0}  # grey levels; GIMP mixes in linear light
RIM = 8.0
PX, SCALE, DEGREES = 1.0, 0.01, 0.5
SETUPS = ("plain", "all", "50%", "200%", "HiDPI", "second monitor", "UNO")
NEAR = np.array(((-180, -110), (180, 110)))  # pixels from the window's middle, as far as a page shown small reaches


def measure(name: str, setup: Setup, runs: int, pictures: Path | None) -> dict[str, Any]:
    """One application on its own desktop: every run's outcome, and their summary."""
    random = np.random.default_rng(2020)
    results: list[dict[str, Any]] = []
    size = (3840 if setup.second_monitor or setup.hidpi else 1920, 2160 if setup.hidpi else 1080)
    with ExitStack() as stack:
        desktop = stack.enter_context(VirtualDesktop(size, two_monitors=setup.second_monitor))
        stack.enter_context(on_desktop(desktop))
        address, boards = stack.enter_context(_page(name, desktop))
        bench = Bench(name, setup, desktop, start(name, desktop, setup, address=address, seconds=400))
        drivers = stack.enter_context(open_drivers(bench.screen, boards))
        if PROGRAMS[name].page == "board" and boards.pages.hail(5):  # the board's page puts its hints away
            wait_until_still(bench.screen, 0.3)
        for index in range(runs):
            point = bench.window.rect.center.shifted(*map(float, random.uniform(*(NEAR * min(1, setup.zoom)))))
            wanted = Placement(point, float(random.uniform(0.4, 1.6)), float(random.uniform(-30, 30)))
            results.append(bench.run(drivers, wanted))
            if pictures is not None:
                bench.save(pictures, index + 1)
            if bench.gone(drivers) and index + 1 < runs:
                bench.window = start(name, desktop, setup, address=address, seconds=400)
    return _summary(results)


@contextmanager
def _page(name: str, desktop: VirtualDesktop) -> Iterator[tuple[str | None, BoardStore]]:
    """The address that a browser shows, and the board that the drivers paste to."""
    page = PROGRAMS[name].page
    with ExitStack() as stack:
        if page == "board":
            boards, address = stack.enter_context(served(desktop.home / "board", "127.0.0.1"))
            yield address, boards
            return
        address = f"{stack.enter_context(site(bundled=page in BUNDLED))}/{page}.html" if page else None
        boards = BoardStore(desktop.home / "board")
        stack.callback(boards.close)
        yield address, boards


class Bench:
    """One application's open window, and pastes into it."""

    def __init__(self, name: str, setup: Setup, desktop: VirtualDesktop, window: Window) -> None:
        self.name, self.setup, self.window = name, setup, window
        self.screen, self.cutout = MssScreen(), coffee(200)
        self._area = Rect(0, 0, *desktop.size)

    def run(self, drivers: Drivers, wanted: Placement) -> dict[str, Any]:
        before = look(self.screen, self._area)
        target = window_at(drivers.windows.stack(), wanted.center)
        landing, code = None, None
        began, spent = time.perf_counter(), time.process_time()
        try:
            landing = drivers.choose(target).paste(self.cutout, wanted, target)
        except AgentError as error:
            code = error.code
        seconds, cpu = time.perf_counter() - began, time.process_time() - spent
        self._after = look(self.screen, self._area)
        return {"time_s": seconds, "cpu_s": cpu} | self._judge(before, wanted, landing, code)

    def _judge(
        self, before: np.ndarray, wanted: Placement, landing: Landing | None, code: str | None
    ) -> dict[str, Any]:
        places = PROGRAMS[self.name].places
        if landing is None:
            right = places == "nothing" and np.array_equal(before, self._after)
            return {"ok": True} if right else {"ok": False, "error": code}
        if places == "nothing" or landing.anchor != places:
            return {"ok": False, "error": "wrong_ok" if places == "nothing" else f"anchor_{landing.anchor}"}
        near: Placement | None = wanted
        if places == "caret":
            match = find(self.cutout, before, self._after, wanted)
            near = None if match is None else match.placement
        outcome = None if near is None else self._measured(before, near, wanted)
        if outcome is None:
            return {"ok": False, "error": "wrong_ok"}
        right = outcome["scale_error"] <= SCALE and outcome["rotation_error_deg"] <= DEGREES
        if places == "caret":
            return outcome | {"ok": right, "landing_error_px": None}
        assert landing.landing_error_px is not None
        outcome["report_off_px"] = abs(landing.landing_error_px - outcome["landing_error_px"])
        return outcome | {"ok": right and outcome["landing_error_px"] <= PX}

    def _measured(self, before: np.ndarray, near: Placement, wanted: Placement) -> dict[str, Any] | None:
        """None where nothing like the cut-out is there, though the agent said so."""
        import cv2

        try:
            found, rim = measured(self.cutout, before, self._after, near)
        except cv2.error:
            return None
        return {
            "landing_error_px": found.center.distance(wanted.center),
            "scale_error": abs(found.scale / wanted.scale - 1),
            "rotation_error_deg": abs(normalized_degrees(found.rotation - wanted.rotation)),
            "alpha_kept": rim < SOFT_RIM.get(self.name, RIM),
        }

    def gone(self, drivers: Drivers) -> bool:
        return all(window.id != self.window.id for window in drivers.windows.stack())

    def save(self, folder: Path, number: int) -> None:
        from PIL import Image

        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(self._after).save(folder / f"{' '.join((self.name, str(self.setup))).strip()}-{number}.png")


def _summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    def over(key: str, pick: Any, among: list[dict[str, Any]] = results) -> float | None:
        values = [result[key] for result in among if result.get(key) is not None]
        return round(float(pick(values)), 4) if values else None

    return {
        "runs": len(results),
        "ok": sum(result["ok"] for result in results),
        "landing_error_px_median": over("landing_error_px", statistics.median),
        "landing_error_px_max": over("landing_error_px", max),
        "scale_error_max": over("scale_error", max),
        "rotation_error_deg_max": over("rotation_error_deg", max),
        "report_off_px_max": over("report_off_px", max),
        "alpha_kept": sum(result.get("alpha_kept", False) for result in results),
        "time_s": over("time_s", statistics.median),
        "first_s": over("time_s", max, results[:1]),
        "cpu_s": over("cpu_s", statistics.median),
        "errors": [result["error"] for result in results if "error" in result],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--application", action="append", choices=sorted(PROGRAMS), help="default: all installed")
    parser.add_argument("--setups", choices=SETUPS, default="plain", help="how the document is shown")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--pictures", type=Path, help="where screenshots go")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    table: dict[str, Any] = {}
    print(
        f"{'application':25} {'ok':>5} {'median px':>10} {'max px':>8} {'scale %':>8} {'angle':>7} {'alpha':>6}"
        f" {'s':>6} {'first s':>8} {'cpu s':>6}"
    )
    for name in options.application or [name for name in PROGRAMS if installed(name)]:
        for setup in PROGRAMS[name].setups():
            if options.setups not in ("all", str(setup) or "plain"):
                continue
            label = f"{name} {setup}".strip()
            row = table[label] = measure(name, setup, options.runs, options.pictures)
            print(_line(label, row), flush=True)
    if options.json:
        print(json.dumps({"applications": table}))


def _line(label: str, row: dict[str, Any]) -> str:
    def shown(key: str, digits: int, factor: float = 1) -> str:
        return "-" if row[key] is None else f"{factor * row[key]:.{digits}f}"

    return (
        f"{label:25} {row['ok']:>3}/{row['runs']} {shown('landing_error_px_median', 2):>9}"
        f" {shown('landing_error_px_max', 2):>8} {shown('scale_error_max', 2, 100):>8} {shown('rotation_error_deg_max', 2):>7}"
        f" {row['alpha_kept']:>4}/{row['runs']} {shown('time_s', 2):>6} {shown('first_s', 2):>8} {shown('cpu_s', 2):>6}"
        f" {' '.join(row['errors'])}"
    )


if __name__ == "__main__":
    main()
