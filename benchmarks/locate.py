"""How well, how exactly and how fast views are located, against the 2020 prototype in the same run.

    python benchmarks/locate.py --screens screens.tar --captures captures [--split test] [--json]
    python benchmarks/locate.py --aim-frames 10000

Views come from the simulated camera and from a second, independent renderer; screens from a tar of pictures and from
``benchmarks/locate_captures.py``, split by screen into tuning and test. A run that was broken off goes on where it stopped when it
is given the same ``--results``. The second command prints the memory held after every thousandth frame of an aim.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import time
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import click
import cv2
import locate_prototype
import numpy as np
from locate_results import SUCCESS, Outcomes, Result, print_report, summary, within
from locate_set import Item, Kind, Screens, build, drawn_desktop, marked_view

from desktop_agent.aiming import Aims
from desktop_agent.geometry import Rect, normalized_degrees
from desktop_agent.locate import Localizer, Tracker, locate_by_markers
from desktop_agent.screen import Monitor, Screenshot
from mobile_client_stub.camera import Conditions, Pose, SimulatedCamera

POSITIVE_MIX: tuple[Kind, ...] = (
    *("plain",) * 6,
    "beside",
    "plain",
    "second renderer",
    *("plain",) * 4,
    "thumbnail",
    "second renderer",
    *("plain",) * 2,
    "tiles",
    "plain",
    "twins",
)
NEGATIVE_MIX: tuple[Kind, ...] = (
    "other screen",
    "other document",
    "desk",
    "other document",
    "mirror",
    "other screen",
    "blank",
    "other document",
)


def measure(item: Item) -> Result:
    """Locate with cached screen features, then as the prototype did; CPU time of this thread."""
    view = _decoded(item.jpeg)
    shots = _screenshots(item)
    localizer = _localizer(item.screens)
    started = time.thread_time()
    for shot in shots:
        localizer.prepare(shot)
    prepared = time.thread_time()
    answer = localizer.locate(view, shots)
    located = time.thread_time()
    aimed = shots[item.monitor - 1].image
    baseline = locate_prototype.locate(view, aimed)
    finished = time.thread_time()
    diagonal = float(np.hypot(*aimed.shape[:2]))
    error = _distance(answer.point and (answer.point.x, answer.point.y), item.point)
    if error is not None and answer.monitor != item.monitor:
        error = diagonal
    baseline_error = _distance(baseline, item.point)
    success = error is not None and error <= SUCCESS * diagonal
    return Result(
        item.number,
        item.kind,
        item.positive,
        item.positive and item.solvable,
        item.corners,
        item.coverage,
        item.tilt,
        item.blur,
        answer.stage,
        answer.reason.value if answer.reason else None,
        answer.confidence,
        error,
        None if error is None else error / diagonal,
        None if answer.scale is None else abs(answer.scale / item.scale - 1),
        None if answer.rotation is None else abs(normalized_degrees(answer.rotation - item.rotation)),
        (prepared - started) * 1000,
        (located - prepared) * 1000,
        baseline_error,
        None if baseline_error is None else baseline_error / diagonal,
        (finished - located) * 1000,
        _with_markers(item, shots, success, error is not None, diagonal),
    )


@lru_cache(maxsize=96)
def _known(*identities: int) -> Localizer:
    return Localizer()


def _localizer(screens: tuple[np.ndarray, ...]) -> Localizer:
    """One for each set of screens, so that several views of a screen need its features once."""
    return _known(*map(id, screens)) if all(_screens.holds(screen) for screen in screens) else Localizer()


def _with_markers(item: Item, shots: list[Screenshot], success: bool, answered: bool, diagonal: float) -> bool | None:
    """Whether the person is helped in the end: an answer is final, a refusal is followed by a view with markers."""
    if not item.positive or item.conditions is None:
        return None
    if answered:
        return success
    view = marked_view(item)
    again = locate_by_markers(_decoded(view), shots[:1])
    error = _distance(again.point and (again.point.x, again.point.y), item.point)
    return error is not None and error <= SUCCESS * diagonal


def _distance(found: tuple[float, float] | None, truth: tuple[float, float]) -> float | None:
    return None if found is None else float(np.hypot(found[0] - truth[0], found[1] - truth[1]))


def _decoded(jpeg: bytes) -> np.ndarray:
    return np.ascontiguousarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1])


def _screenshots(item: Item) -> list[Screenshot]:
    left, shots = 0, []
    for index, image in enumerate(item.screens, start=1):
        height, width = image.shape[:2]
        shots.append(Screenshot(Monitor(index, Rect(left, 0, width, height)), image))
        left += width
    return shots


def track(seed: int, screens: Screens, frames: int) -> dict[str, Any]:
    """A moving aim: frames after the first lock that are locked, their error in diagonals and CPU milliseconds."""
    rng = np.random.default_rng([99, seed])
    screen = screens[int(rng.integers(len(screens)))]
    conditions = Conditions.sample(rng, "ordinary")
    shot = Screenshot(Monitor(1, Rect(0, 0, screen.shape[1], screen.shape[0])), screen)
    localizer = Localizer()
    localizer.prepare(shot)
    tracker = Tracker(localizer)
    small = Conditions(**{**_shallow(conditions), "view_size": (480, 640)})
    locked, times, errors, after = 0, [], [], 0
    for frame in SimulatedCamera(seed).film(screen, frames, conditions=small):
        had_lock = locked > 0
        started = time.thread_time()
        answer = tracker.update(frame.view, [shot])
        elapsed = (time.thread_time() - started) * 1000
        after += had_lock
        if answer.point is not None:
            locked += 1
            if had_lock:
                times.append(elapsed)
                errors.append(_distance((answer.point.x, answer.point.y), frame.point) / np.hypot(*screen.shape[:2]))
    return {"after": after, "locked": len(times), "times": times, "errors": errors}


def aim_memory(frames: int, every: int = 1000) -> list[dict[str, float]]:
    """Phones aim at a screen that always changes: rows of ``frames``, ``locked``, ``rss_mb`` and ``cpu_ms`` a frame."""
    cv2.setNumThreads(1)
    screen = drawn_desktop(640, 360)
    small = Conditions(Pose(coverage=0.6), view_size=(150, 200), supersampling=1.5)
    views = [shot.view for shot in SimulatedCamera(3).film(screen, 8, conditions=small)]
    aims = Aims(Localizer())
    monitor = Monitor(1, Rect(0, 0, screen.shape[1], screen.shape[0]))
    rows, locked, started = [], 0, time.process_time()
    for number in range(frames):
        shown = screen.copy()
        shown[0, :2] = (number % 256, number // 256 % 256, 7), (number // 7 % 256, 3, 1)
        view = np.full_like(views[0], 90) if number % 100 == 99 else views[abs(number % 14 - 7)]
        locked += aims.follow(f"phone {number // every}", view, [Screenshot(monitor, shown)]).point is not None
        if (number + 1) % every == 0:
            elapsed = (time.process_time() - started) * 1000
            rows.append({"frames": number + 1, "locked": locked, "rss_mb": _rss_mb(), "cpu_ms": elapsed / (number + 1)})
            click.echo(json.dumps(rows[-1]))
    return rows


def _rss_mb() -> float:
    """What the process holds now where the system tells (Linux), else the most that it held."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _shallow(conditions: Conditions) -> dict[str, Any]:
    return {name: getattr(conditions, name) for name in conditions.__dataclass_fields__}


_screens: Screens


def _start(tar: Path | None, captures: Path | None, split: str) -> None:
    global _screens
    cv2.setNumThreads(1)
    _screens = Screens(tar, captures, split)


def _work(job: tuple[int, Kind, int, Path]) -> Result:
    number, kind, seed, folder = job
    return measure(build(number, kind, _screens, seed, folder))


def _render(job: tuple[int, Kind, int, Path]) -> None:
    number, kind, seed, folder = job
    build(number, kind, _screens, seed, folder)


def _track(job: tuple[int, int]) -> tuple[int, dict[str, Any]]:
    return job[0], track(job[0], _screens, job[1])


@click.command()
@click.option(
    "--screens", type=click.Path(exists=True, path_type=Path), envvar="ARCP_SCREENS", help="A tar of screenshots."
)
@click.option(
    "--captures", type=click.Path(exists=True, path_type=Path), envvar="ARCP_CAPTURES", help="A folder of screenshots."
)
@click.option("--split", type=click.Choice(["tuning", "test"]), default="test", show_default=True)
@click.option("--positives", default=300, show_default=True)
@click.option("--negatives", default=104, show_default=True)
@click.option("--films", default=8, show_default=True, help="Sequences of 40 frames for tracking.")
@click.option("--seed", default=1, show_default=True)
@click.option("--processes", default=2, show_default=True)
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    default=Path("build/locate"),
    show_default=True,
    help="Where views are kept.",
)
@click.option("--render-only", is_flag=True, help="Only fill the cache.")
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    help="A file that keeps each outcome (JSON lines); what it holds is not measured again.",
)
@click.option("--aim-frames", default=0, help="Only follow an aim for so many frames and print the memory held.")
@click.option("--failures", is_flag=True, help="List what was not answered right.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object as the last line.")
def main(
    screens: Path | None,
    captures: Path | None,
    split: str,
    positives: int,
    negatives: int,
    films: int,
    seed: int,
    processes: int,
    cache: Path,
    render_only: bool,
    results: Path | None,
    aim_frames: int,
    failures: bool,
    as_json: bool,
) -> None:
    if aim_frames:
        rows = aim_memory(aim_frames)
        if as_json:
            click.echo(json.dumps({"aim_memory": rows}))
        return
    kinds = [POSITIVE_MIX[i % len(POSITIVE_MIX)] for i in range(positives)] + [
        NEGATIVE_MIX[i % len(NEGATIVE_MIX)] for i in range(negatives)
    ]
    jobs = [(number, kind, seed, cache / split) for number, kind in enumerate(kinds)]
    jobs.sort(key=lambda job: job[0] / positives if job[0] < positives else (job[0] - positives) / negatives)
    known = Outcomes(results)
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, _start, (screens, captures, split)) as pool:
        if render_only:
            pool.map(_render, jobs, chunksize=2)
            return
        for result in pool.imap_unordered(_work, [job for job in jobs if job[0] not in known.items], chunksize=2):
            known.add(result)
        for film, tracked in pool.imap(_track, [(film, 40) for film in range(films) if film not in known.films]):
            known.add_film(film, tracked)
    measured = sorted((known.items[job[0]] for job in jobs), key=lambda r: r.number)
    found = summary(measured, [known.films[film] for film in range(films)])
    print_report(found, measured)
    if failures:
        for r in measured:
            if (r.positive and not within(r.error_diagonals)) or (not r.positive and r.answered):
                click.echo(
                    {key: round(value, 3) if isinstance(value, float) else value for key, value in asdict(r).items()}
                )
    if as_json:
        click.echo(json.dumps(found))


if __name__ == "__main__":
    main()
