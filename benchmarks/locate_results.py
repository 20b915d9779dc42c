"""What ``benchmarks/locate.py`` measured: each item's outcome, kept in a file, and the figures that they add up to."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np
from locate_set import POSITIVE

SUCCESS, WRONG = 0.01, 0.03
"""Parts of the screen's diagonal."""
KNOWN_MS = 60.0
"""A screen that takes less was prepared for another view."""


@dataclass(frozen=True)
class Result:
    """One item's outcome; errors are None where nothing was answered. ``prototype_*`` the same of the baseline."""

    number: int
    kind: str
    positive: bool
    solvable: bool
    corners: int
    coverage: float
    tilt: float
    blur: float
    stage: str
    reason: str | None
    confidence: float
    error_px: float | None
    error_diagonals: float | None
    scale_error: float | None
    rotation_error: float | None
    screen_ms: float
    first_ms: float
    prototype_error_px: float | None
    prototype_error_diagonals: float | None
    prototype_ms: float
    with_markers: bool | None

    @property
    def answered(self) -> bool:
        return self.error_px is not None


class Outcomes:
    """What was measured, by item and by film; kept in ``file`` when there is one."""

    def __init__(self, file: Path | None) -> None:
        self.items: dict[int, Result] = {}
        self.films: dict[int, dict[str, Any]] = {}
        self._file = file
        if file is not None and file.exists():
            for row in map(json.loads, file.read_text().splitlines()):
                if "film" in row:
                    self.films[row.pop("film")] = row
                else:
                    self.items[row["number"]] = Result(**row)

    def add(self, result: Result) -> None:
        self.items[result.number] = result
        self._keep(asdict(result))

    def add_film(self, film: int, tracked: dict[str, Any]) -> None:
        self.films[film] = tracked
        self._keep({"film": film, **tracked})

    def _keep(self, row: dict[str, Any]) -> None:
        if self._file is not None:
            with self._file.open("a") as file:
                file.write(json.dumps(row, default=float) + "\n")


def summary(results: list[Result], tracks: list[dict[str, Any]]) -> dict[str, Any]:
    """All figures. ``ms_*`` and ``time_ratio`` are about the first answer: of views of the screen that were answered, with the
    screen's features known; ``refused_*`` about the others, ``time_ratio_positives`` about all views of the screen and
    ``time_ratio_all`` about views of something else as well. The prototype's median is that of all views, features included."""
    positives, negatives = [r for r in results if r.positive], [r for r in results if not r.positive]
    solvable = [r for r in positives if r.solvable]
    right = [r for r in positives if r.answered and r.error_diagonals <= SUCCESS]
    marked = [r.with_markers for r in positives if r.with_markers is not None]
    base_right = [r for r in positives if within(r.prototype_error_diagonals)]
    proto = {
        "success": _part(within(r.prototype_error_diagonals) for r in positives),
        "success_solvable": _part(within(r.prototype_error_diagonals) for r in solvable),
        "wrong": _part(_beyond(r.prototype_error_diagonals) for r in positives),
        "false_accepts": _part(r.prototype_error_px is not None for r in negatives),
        "px_median": _percentile([r.prototype_error_px for r in base_right], 50),
        "px_p95": _percentile([r.prototype_error_px for r in base_right], 95),
        "ms_median": _percentile([r.prototype_ms for r in results], 50),
    }
    first = [r.first_ms for r in results if r.positive and r.answered]
    refused = [r.first_ms for r in results if not r.answered]
    prepared = [r.screen_ms for r in results if r.screen_ms > KNOWN_MS]
    found: dict[str, Any] = {
        "positives": len(positives),
        "solvable": len(solvable),
        "negatives": len(negatives),
        "success": _part(within(r.error_diagonals) for r in positives),
        "success_solvable": _part(within(r.error_diagonals) for r in solvable),
        "success_with_markers": _part(marked),
        "wrong": _part(_beyond(r.error_diagonals) for r in positives),
        "false_accepts": _part(r.answered for r in negatives),
        "px_median": _percentile([r.error_px for r in right], 50),
        "px_p95": _percentile([r.error_px for r in right], 95),
        "scale_p95": _percentile([r.scale_error for r in right], 95),
        "rotation_p95": _percentile([r.rotation_error for r in right], 95),
        "ms_median": _percentile(first, 50),
        "ms_p95": _percentile(first, 95),
        "screen_ms_median": _percentile(prepared, 50),
        "refused_ms_median": _percentile(refused, 50),
        "refused_ms_p95": _percentile(refused, 95),
        "time_ratio": float(np.median(first) / proto["ms_median"]),
        "time_ratio_positives": float(np.median([r.first_ms for r in positives]) / proto["ms_median"]),
        "time_ratio_all": float(np.median([r.first_ms for r in results]) / proto["ms_median"]),
        "time_ratio_uncached": float((np.median(first) + np.median(prepared)) / proto["ms_median"]),
        "stages": {
            stage: {"answers": len(times), "ms_median": _percentile(times, 50)}
            for stage in sorted({r.stage for r in right})
            if (times := [r.first_ms for r in right if r.stage == stage])
        },
        "refused": Counter(str(r.reason) for r in solvable if not r.answered),
        "prototype": proto,
    }
    found["calibration"] = calibration(results)
    if tracks:
        times = [ms for run in tracks for ms in run["times"]]
        found["tracking"] = {
            "frames": sum(run["after"] for run in tracks),
            "locked": sum(run["locked"] for run in tracks) / max(1, sum(run["after"] for run in tracks)),
            "wrong": _part(_beyond(e) for run in tracks for e in run["errors"]),
            "ms_median": _percentile(times, 50),
            "ms_p95": _percentile(times, 95),
        }
    return found


def calibration(results: list[Result]) -> list[dict[str, Any]]:
    """How often answers of a confidence are right, negatives included: {"from", "to", "answers", "right"}."""
    rows = []
    for low, high in pairwise((0.0, 0.5, 0.7, 0.9, 0.99, 1.01)):
        group = [r for r in results if r.answered and low <= r.confidence < high]
        if group:
            right = _part(r.positive and within(r.error_diagonals) for r in group)
            rows.append({"from": low, "to": min(high, 1.0), "answers": len(group), "right": right})
    return rows


def breakdowns(results: list[Result]) -> dict[str, list[tuple[str, int, float, float]]]:
    """Group name -> rows (label, views, success, wrong) of the positives."""
    positives = [r for r in results if r.positive]

    def rows(value: Any, edges: list[float]) -> list[tuple[str, int, float, float]]:
        groups = [(f"{a:g}-{b:g}", [r for r in positives if a <= value(r) < b]) for a, b in pairwise(edges)]
        return [_row(label, group) for label, group in groups if group]

    return {
        "kind": [_row(kind, group) for kind in POSITIVE if (group := [r for r in positives if r.kind == kind])],
        "coverage": rows(lambda r: r.coverage, [0.15, 0.25, 0.4, 0.7, 1.21]),
        "tilt": rows(lambda r: r.tilt, [0, 10, 20, 30, 40, 53]),
        "blur": rows(lambda r: 1000 * r.blur, [0, 0.5, 2, 4, 8.1]),
        "corners": rows(lambda r: r.corners, [0, 12, 40, 120, 400, 10000]),
    }


def _row(label: str, group: list[Result]) -> tuple[str, int, float, float]:
    return (
        label,
        len(group),
        _part(within(r.error_diagonals) for r in group),
        _part(_beyond(r.error_diagonals) for r in group),
    )


def within(error: float | None) -> bool:
    return error is not None and error <= SUCCESS


def _beyond(error: float | None) -> bool:
    return error is not None and error > WRONG


def _part(flags: Any) -> float:
    flags = list(flags)
    return sum(map(bool, flags)) / len(flags) if flags else 0.0


def _percentile(values: list[Any], percent: float) -> float | None:
    return float(np.percentile(values, percent)) if values else None


def print_report(found: dict[str, Any], results: list[Result]) -> None:
    click.echo(f"{found['positives']} positives ({found['solvable']} solvable), {found['negatives']} negatives\n")
    click.echo(f"{'':24}{'now':>12}{'prototype':>12}")
    for key in ("success", "success_solvable", "wrong", "false_accepts", "px_median", "px_p95", "ms_median"):
        shown = ["-" if value is None else f"{value:.4f}" for value in (found[key], found["prototype"][key])]
        click.echo(f"{key:24}{shown[0]:>12}{shown[1]:>12}")
    for key in (
        "success_with_markers",
        "scale_p95",
        "rotation_p95",
        "ms_p95",
        "screen_ms_median",
        "refused_ms_median",
        "refused_ms_p95",
        "time_ratio",
        "time_ratio_positives",
        "time_ratio_all",
        "time_ratio_uncached",
    ):
        click.echo(f"{key:24}{found[key]:>12.4f}")
    for row in found["calibration"]:
        click.echo(f"confidence {row['from']:.2f}-{row['to']:.2f}: {row['answers']} answers, {row['right']:.1%} right")
    click.echo(f"solvable views refused: {dict(found['refused'])}")
    click.echo(f"stages: {found['stages']}\ntracking: {found.get('tracking')}\n")
    for group, rows in breakdowns(results).items():
        for label, count, success, wrong in rows:
            click.echo(f"{group:10}{label:>16}{count:>6} views  success {success:6.1%}  wrong {wrong:6.1%}")
