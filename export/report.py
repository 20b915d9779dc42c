"""Every export in one table: ``python -m export all --report``. Rows are kept beside the files, so that a run can go on later."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from export.errors import ExportError, MissingWeights
from export.targets import FORMATS, TARGETS, Target, file_name, find
from export.writing import replace_text

if TYPE_CHECKING:
    from export.exporting import Exported, Exporter, Options

KEPT = "report.json"
ROW_PRECISIONS = {"onnx": ("fp32", "fp16", "int8"), "coreml": ("fp32", "fp16", "int8", "palette6")}
TOO_LARGE_PRECISIONS = ("fp32", "fp16")
"""Of models that no phone loads."""
NOT_MADE = "not made"
ROOT = Path(__file__).parents[1]
MAKERS = (
    "converting",
    "folding",
    "glass",
    "graphs",
    "mil",
    "mil_ops",
    "networks",
    "packages",
    "quantising",
    "refinement",
    "rewriting",
)
_HEAD = "| model | size | format | precision | MB | operations | max | mean | flipped | weighted F | CPU ms | note |"


@dataclass(frozen=True)
class Row:
    """One export. ``bytes`` is 0 where there is no file, and ``note`` says why; ``source`` tells whether it is still the same."""

    model: str
    format: str
    precision: str
    size: int = 0
    source: str = ""
    bytes: int = 0
    operations: int = 0
    largest: float = 0.0
    mean: float = 0.0
    flipped: float = 0.0
    quality: tuple[float, float] | None = None
    milliseconds: float | None = None
    note: str = ""

    @property
    def key(self) -> str:
        return f"{self.model} {self.format} {self.precision}"

    @property
    def failed(self) -> bool:
        return not self.bytes and not self.note.startswith(NOT_MADE)


class Report:
    """The rows in ``folder``, by model, format and precision; each is written as soon as it is known."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[str, Row] = {}
        if (folder / KEPT).is_file():
            for fields in json.loads((folder / KEPT).read_text(encoding="utf-8")):
                row = Row(**{**fields, "quality": tuple(fields["quality"]) if fields["quality"] else None})
                self.rows[row.key] = row

    def add(self, row: Row) -> Row:
        """Raises ``CannotWrite``."""
        self.rows[row.key] = row
        text = json.dumps([asdict(kept) for kept in self.sorted()], indent=1) + "\n"
        replace_text(self.folder / KEPT, text)
        return row

    def sorted(self) -> list[Row]:
        """In the order of the targets."""
        models = list(TARGETS)
        return sorted(
            (row for row in self.rows.values() if row.model in TARGETS),
            key=lambda row: (models.index(row.model), FORMATS.index(row.format)),
        )


def export_all(
    names: Iterable[str],
    folder: Path,
    options: Options,
    precisions: Iterable[str],
    formats: Iterable[str] = FORMATS,
    progress: Callable[[str], None] = lambda line: None,
    *,
    table_only: bool = False,
) -> list[Row]:
    """Every model in every format and precision asked for; a failure is a row and the rest goes on.

    A row that is kept in ``folder`` and still true is not made again. ``table_only``: files are deleted once they are measured.
    Models without installed weights get made-up ones, and the note says so. Raises ``CannotWrite``.
    """
    report = Report(folder)
    precisions = tuple(precisions)
    made: list[Row] = []
    for name in names:
        target = find(name)
        source = source_of(target, options)
        wanted = [(format_, precision) for format_ in formats for precision in _made_in(target, format_, precisions)]
        known = [report.rows.get(f"{name} {format_} {precision}") for format_, precision in wanted]
        fresh = [row for row in known if row and _still_true(row, source, folder, table_only)]
        made += fresh
        missing = [kind for kind in wanted if f"{name} {' '.join(kind)}" not in {row.key for row in fresh}]
        if fresh:
            progress(f"{name}: {len(fresh)} kept from before")
        if missing:
            made += [
                report.add(row) for row in _exported(target, missing, source, folder, options, progress, table_only)
            ]
        if "coreml" in formats and target.not_on_phones:
            made.append(report.add(Row(name, "coreml", "", note=f"{NOT_MADE}: {target.not_on_phones}")))
    return made


def _exported(
    target: Target,
    kinds: list[tuple[str, str]],
    source: str,
    folder: Path,
    options: Options,
    progress: Callable[[str], None],
    table_only: bool,
) -> Iterable[Row]:
    try:
        exporter = _exporter(target, options, progress)
    except ExportError as error:
        progress(f"{target.name}: {error.message}")
        yield from (Row(target.name, *kind, note=error.message) for kind in kinds)
        return
    for format_, precision in kinds:
        try:
            done = exporter.export(format_, precision, folder)
        except ExportError as error:
            progress(f"{target.name} {format_} {precision}: {error.message}")
            yield Row(target.name, format_, precision, exporter.size, note=error.message)
            continue
        progress(f"{done.path.name}: {done.parity}")
        if table_only:
            _discard(done.path)
        yield _row(done, source)


def _exporter(target: Target, options: Options, progress: Callable[[str], None]) -> Exporter:
    from dataclasses import replace

    from export.exporting import Exporter

    try:
        return Exporter(target, None, options, progress)
    except MissingWeights:
        progress(f"{target.name}: no weights here, made-up ones are used")
        return Exporter(target, None, replace(options, random_weights=True), progress)


def _row(done: Exported, source: str) -> Row:
    return Row(
        done.target.name, done.format, done.precision, done.size, source, done.bytes, done.fitness.operations.total(),
        done.parity.largest, done.parity.mean, done.parity.flipped, done.quality, done.milliseconds,
        "" if done.trained else "random weights",
    )  # fmt: skip


def _made_in(target: Target, format_: str, precisions: tuple[str, ...]) -> list[str]:
    if format_ not in target.formats:
        return []
    made = TOO_LARGE_PRECISIONS if target.not_on_phones else ROW_PRECISIONS[format_]
    return [precision for precision in made if precision in precisions]


def _still_true(row: Row, source: str, folder: Path, table_only: bool) -> bool:
    path = folder / file_name(find(row.model), row.size, row.format, row.precision)
    return row.source == source and bool(row.bytes) and (table_only or path.exists())


def _discard(path: Path) -> None:
    for file in (path, path.with_name(f"{path.name}.md"), path.with_name(f"{path.name}.sha256")):
        if file.is_dir():
            shutil.rmtree(file)
        else:
            file.unlink()


def source_of(target: Target, options: Options) -> str:
    """A hash over what decides what a file computes and how it is judged: code, weights, pictures."""
    from server.weights import store

    files = [ROOT / "export" / f"{name}.py" for name in MAKERS]
    files += sorted((ROOT / "server" / "networks").rglob("*.py"))
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files))
    installed = None if options.random_weights else [store.find(name) for name in target.networks]
    weights = [store.sha256(path) for path in installed or [] if path]
    scored = options.validate.name if options.validate else ""
    digest.update(repr((target, weights, str(options.pictures), scored, options.limit)).encode())
    return digest.hexdigest()[:16]


def table(rows: Iterable[Row]) -> str:
    """Markdown."""
    lines = [_HEAD, "|" + "---|" * (_HEAD.count("|") - 1)]
    for row in rows:
        if row.bytes:
            quality = f"{row.quality[0]:.4f} -> {row.quality[1]:.4f}" if row.quality else ""
            cells = [
                row.model, str(row.size), row.format, row.precision, f"{row.bytes / 1e6:.2f}", str(row.operations),
                f"{row.largest:.1e}", f"{row.mean:.1e}", f"{100 * row.flipped:.3f} %", quality,
                f"{row.milliseconds:.0f}" if row.milliseconds is not None else "", row.note,
            ]  # fmt: skip
        else:
            cells = [row.model, str(row.size or ""), row.format, row.precision, *[""] * 7, row.note]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
