"""``python -m server cut`` on a folder: all pictures with a progress bar, and, with ``--watch``, those that arrive later."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import click

from server.errors import BadInput, BadOption, ServerError
from server.job import FORMS, OTHER_FORMS, Job, read, write

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif"}
LOOK_SECONDS = 0.5


def cut_folder(job: Job, source: Path, out: Path) -> int:
    """Every picture in the folder; a failure is reported and the rest goes on. The exit code: 1 where all failed."""
    paths = pictures(source)
    if not paths:
        raise BadInput(f"There are no pictures in {source}: JPEG, PNG, WebP and HEIC files are cut.")
    check(job, source, out)
    bar = not job.as_json and sys.stderr.isatty()
    failures: list[tuple[Path, ServerError]] = []
    with click.progressbar(length=len(paths), file=sys.stderr, show_pos=True, hidden=not bar) as progress:
        for path, target in zip(paths, _targets(paths, out), strict=True):
            error = _cut(job, path, target, silent=bar)
            if error is not None:
                failures.append((path, error))
            progress.update(1)
    if bar:  # lines in between would tear the bar
        for path, error in failures:
            job.report_failure(str(path), error)
    if not job.as_json:
        click.echo(f"{len(paths) - len(failures)} of {len(paths)} pictures cut.", err=True)
        if left := [path for path in source.iterdir() if path.suffix.lower() in OTHER_FORMS - PICTURES]:
            types = ", ".join(sorted({path.suffix.lower() for path in left}))
            click.echo(f"{len(left)} of other types ({types}) left alone: save them as JPEG or PNG first.", err=True)
    return 1 if len(failures) == len(paths) else 0


def watch_folder(job: Job, source: Path, out: Path, wait: Callable[[float], object] = time.sleep) -> int:
    """Every picture that is there and that comes, until Ctrl+C. A picture is taken once its file has stopped growing."""
    check(job, source, out)
    done: dict[Path, tuple[int, int]] = {}
    before: dict[Path, tuple[int, int]] = {}
    click.echo(f"Watching {source}; stop with Ctrl+C.", err=True)
    try:
        while True:
            now = {path: stamp for path in pictures(source) if (stamp := _stamp(path)) is not None}
            names = dict(zip(now, _targets(list(now), out), strict=True))
            for path, stamp in now.items():
                if before.get(path) == stamp and done.get(path) != stamp:
                    done[path] = stamp
                    _cut(job, path, names[path])
            before = now
            wait(LOOK_SECONDS)
    except KeyboardInterrupt:
        return 0


def _cut(job: Job, path: Path, target: Path, *, silent: bool = False) -> ServerError | None:
    """One picture of many; what went wrong, which is reported unless ``silent``."""
    try:
        encoded, summary = job.run(read(path), target.name)
        write(target, encoded)
    except ServerError as error:
        if not silent:
            job.report_failure(str(path), error)
        return error
    if not silent:
        job.report(str(path), summary, f"{path} -> {target}")
    return None


def pictures(folder: Path) -> list[Path]:
    """The picture files of a folder by name, without those in folders below."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES and path.is_file())
    except OSError as error:
        raise BadInput(f"{folder} cannot be read: {error.strerror}.") from error


def check(job: Job, source: Path, out: Path) -> None:
    """Make the folder ``out``. Raises ``BadOption`` or ``BadInput`` where the results could not go there."""
    if job.to_stdout or out.is_file() or (not out.exists() and out.suffix.lower() in {".png", *FORMS, *OTHER_FORMS}):
        raise BadOption("A folder needs a folder as output: give -o FOLDER.")
    if out.resolve() == source.resolve():
        raise BadOption("The results would replace the pictures: give another folder with -o.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{out} cannot be made a folder: {error.strerror}. Give another one with -o.") from error


def _targets(paths: list[Path], out: Path) -> list[Path]:
    """cup.jpg -> cup.png; where two files would give the same name, cup.jpg -> cup.jpg.png."""
    stems = Counter(path.stem for path in paths)
    return [out / f"{path.stem if stems[path.stem] == 1 else path.name}.png" for path in paths]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:  # gone again
        return None
    return stat.st_size, stat.st_mtime_ns
