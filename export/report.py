"""Every export in one table: ``python -m export all --report``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from export.errors import ExportError
from export.exporting import Exported, Exporter, Options
from export.targets import FORMATS, TARGETS, Target, find

ROW_PRECISIONS = {"onnx": ("fp32", "fp16", "int8"), "coreml": ("fp32", "fp16", "int8", "palette6")}
_HEAD = "| model | size | format | precision | MB | operations | max | mean | flipped | weighted F | CPU ms | note |"


@dataclass(frozen=True)
class Row:
    """One export that was tried; ``done`` is None where it failed or is not made, and ``note`` says why."""

    target: Target
    format: str
    precision: str
    done: Exported | None
    note: str = ""


def export_all(
    names: Iterable[str],
    folder: Path,
    options: Options,
    precisions: Iterable[str],
    formats: Iterable[str] = FORMATS,
    progress: Callable[[str], None] = lambda line: None,
) -> list[Row]:
    """Every model in every format and precision asked for; a failure is a row and the rest goes on."""
    rows: list[Row] = []
    for name in names:
        target = find(name)
        try:
            exporter = Exporter(target, None, options, progress)
        except ExportError as error:
            rows.append(Row(target, "", "", None, error.message))
            progress(f"{name}: {error.message}")
            continue
        for format_ in formats:
            if format_ not in target.formats:
                rows.append(Row(target, format_, "", None, f"not made: {target.not_on_phones}"))
                continue
            for precision in (one for one in precisions if one in ROW_PRECISIONS[format_]):
                try:
                    done = exporter.export(format_, precision, folder)
                    note = "" if done.trained else "random weights"
                    rows.append(Row(target, format_, precision, done, note))
                    progress(f"{done.path.name}: {done.parity}")
                except ExportError as error:
                    rows.append(Row(target, format_, precision, None, error.message))
                    progress(f"{name} {format_} {precision}: {error.message}")
        del exporter  # a large network must be gone before the next one comes
    return rows


def table(rows: Iterable[Row]) -> str:
    """Markdown."""
    lines = [_HEAD, "|" + "---|" * (_HEAD.count("|") - 1)]
    for row in rows:
        done = row.done
        if done is None:
            cells = [row.target.name, "", row.format, row.precision, *[""] * 7, row.note]
        else:
            quality = f"{done.quality[0]:.4f} -> {done.quality[1]:.4f}" if done.quality else ""
            cells = [
                row.target.name, str(done.size), row.format, row.precision, f"{done.bytes / 1e6:.2f}",
                str(done.fitness.operations.total()), f"{done.parity.largest:.1e}", f"{done.parity.mean:.1e}",
                f"{100 * done.parity.flipped:.3f} %", quality,
                f"{done.milliseconds:.0f}" if done.milliseconds is not None else "", row.note,
            ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def all_names() -> list[str]:
    return list(TARGETS)
