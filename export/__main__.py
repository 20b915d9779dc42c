"""``python -m export``: MODEL, list, check, bench, all."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from export import targets
from export.errors import BadChoice, ExportError

if TYPE_CHECKING:
    from export.exporting import Exported, Options

EXTRA = {"coremltools", "onnx", "onnxscript", "onnxslim", "safetensors", "sklearn", "torch"}
"""What the ``export`` extra brings; the rest of the software runs without."""


class _Commands(click.Group):
    """A first word that is no command is the model to export."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands and not args[0].startswith("-"):
            args = ["model", *args]
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, subcommand_metavar="MODEL|COMMAND [OPTIONS]...")
def main() -> None:
    """Make ONNX and CoreML models for phones of the networks: python -m export lite --format onnx -o models"""


def _shared(command: Any) -> Any:
    for option in (
        click.option("--pictures", type=click.Path(path_type=Path), help="Photographs that calibrate and prove."),
        click.option(
            "--validate", type=click.Path(path_type=Path), help="Pictures with masks: scores before and after."
        ),
        click.option(
            "--limit", default=100, show_default=True, type=click.IntRange(1), help="Pictures scored at most."
        ),
        click.option("--allow-worse", is_flag=True, help="Keep a file that loses more than 0.5 % weighted F."),
        click.option("--random-weights", is_flag=True, help="Without trained weights, to measure speed and size."),
    ):
        command = option(command)
    return command


@main.command("model")
@click.argument("model")
@click.option("--format", "format_", required=True, metavar="onnx|coreml")
@click.option("--precision", default="fp16", show_default=True, metavar="fp32|fp16|int8|palette6")
@click.option("--size", type=int, help="Side of the input in pixels; 'list' shows the choices.")
@click.option("--weights", type=click.Path(path_type=Path), help="Weights file instead of the installed one.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder for the files.")
@_shared
def model_command(
    model: str, format_: str, precision: str, size: int | None, weights: Path | None, out: Path, **rest: Any
) -> None:
    """Export one MODEL ('model' may be left out)."""
    target = targets.find(model)
    side = targets.check_choice(target, format_, precision, size)
    from export.exporting import Exporter

    done = Exporter(target, side, _options(weights=weights, **rest), _progress).export(format_, precision, out)
    click.echo(_summary(done))


@main.command("list")
@click.option("--json", "as_json", is_flag=True)
def list_command(as_json: bool) -> None:
    """What can be exported, and whether its weights are here."""
    from server.weights import store

    rows: list[dict[str, Any]] = [
        {
            "model": target.name,
            "task": target.task,
            "parameters": target.parameters,
            "sizes": list(target.sizes),
            "formats": list(target.formats),
            "weights": all(store.find(name) for name in target.networks),
            "note": target.not_on_phones,
        }
        for target in targets.TARGETS.values()
    ]
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        weights = "" if row["weights"] else "  (no weights here)"
        sizes = ",".join(map(str, row["sizes"]))
        formats = "+".join(row["formats"])
        click.echo(
            f"{row['model']:<24}{row['parameters'] / 1e6:7.1f} M  {sizes:<16}{formats:<12}{row['task']}{weights}"
        )


@main.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True)
def check_command(file: Path, as_json: bool) -> None:
    """What a phone will make of FILE; exit code 1 for custom operations, free shapes or too much memory."""
    from export.converting import quiet
    from export.fitness import check

    with quiet():
        fitness = check(file)
    if as_json:
        facts = {
            "kind": fitness.kind,
            "operations": dict(fitness.operations),
            "off_engine": dict(fitness.off_engine),
            "peak_bytes": fitness.peak_bytes,
            "mobile": fitness.mobile,
            "problems": fitness.problems,
            "metadata": fitness.metadata,
        }
        click.echo(json.dumps(facts))
    else:
        click.echo("\n".join([str(file), *(f"  {line}" for line in fitness.lines())]))
    sys.exit(1 if fitness.problems else 0)


@main.command("bench")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--seconds", default=2.0, show_default=True, type=click.FloatRange(0.01), help="For each file.")
@click.option("--json", "as_json", is_flag=True)
def bench_command(files: tuple[Path, ...], seconds: float, as_json: bool) -> None:
    """CPU time of each of FILES in this run, one thread, and its ratio to the first."""
    from export.bench import bench

    timings = bench(list(files), seconds)
    if as_json:
        click.echo(json.dumps([{"file": str(t.path), "bytes": t.bytes, "cpu_ms": t.cpu_ms} for t in timings]))
        return
    first = timings[0].cpu_ms
    for timing in timings:
        shown = "runs on Apple's devices only"
        if timing.cpu_ms is not None:
            shown = f"{timing.cpu_ms:9.2f} ms" + (f"  x{timing.cpu_ms / first:.2f}" if first else "")
        click.echo(f"{timing.path.name:<44}{timing.bytes / 1e6:9.2f} MB  {shown}")


@main.command("all")
@click.option("--model", "models", multiple=True, help="Only these; repeat it.")
@click.option("--precision", "precisions", multiple=True, help="Only these; repeat it. Default: all.")
@click.option("--format", "formats", multiple=True, type=click.Choice(targets.FORMATS), help="Only these.")
@click.option("--report", is_flag=True, help="Print the table of all files in the folder (and write it to report.md).")
@click.option("--table-only", is_flag=True, help="Delete each file once it is measured: all together are 30 GB.")
@click.option(
    "-o", "--out", default="models", show_default=True, type=click.Path(path_type=Path), help="Folder for the files."
)
@_shared
def all_command(
    models: tuple[str, ...],
    precisions: tuple[str, ...],
    formats: tuple[str, ...],
    report: bool,
    table_only: bool,
    out: Path,
    **rest: Any,
) -> None:
    """Export every model in every format. Files that are there and still true are kept; failures do not stop the rest.

    Models without installed weights get random ones, to measure speed and size.
    """
    chosen = [targets.find(name).name for name in models] or list(targets.TARGETS)
    for precision in precisions:
        if precision not in targets.PRECISIONS:
            raise BadChoice(f"'{precision}' is not a precision: use {', '.join(targets.PRECISIONS)}.")
    from export.report import Report, export_all, table
    from export.writing import replace_text

    rows = export_all(
        chosen,
        out,
        _options(**rest),
        precisions or targets.PRECISIONS,
        formats or targets.FORMATS,
        _progress,
        table_only=table_only,
    )
    if report:
        text = table(Report(out).sorted())
        replace_text(out / "report.md", text)
        click.echo(text, nl=False)
    failed = [row for row in rows if row.failed]
    click.echo(f"{sum(bool(row.bytes) for row in rows)} files in {out}, {len(failed)} failed", err=True)
    sys.exit(1 if failed else 0)


def _options(
    *,
    weights: Path | None = None,
    random_weights: bool,
    pictures: Path | None,
    validate: Path | None,
    limit: int,
    allow_worse: bool,
) -> Options:
    from export.exporting import Options
    from server.errors import ServerError
    from server.evaluation.dataset import open_dataset

    try:
        dataset = open_dataset(validate) if validate else None
    except ServerError as error:
        raise BadChoice(error.message) from error
    return Options(weights, random_weights, pictures, dataset, limit, allow_worse)


def _progress(line: str) -> None:
    click.echo(line, err=True)


def _summary(done: Exported) -> str:
    latency = (
        "runs on Apple's devices only" if done.milliseconds is None else f"{done.milliseconds:.1f} ms CPU, one thread"
    )
    rows = {
        "file": f"{done.path} ({done.bytes / 1e6:.2f} MB)",
        "format": done.fitness.kind,
        "operations": str(done.fitness.operations.total()),
        "parity": str(done.parity),
        "latency": latency,
        "card": f"{done.path}.md",
    }
    if done.quality:
        rows["weighted F"] = f"{done.quality[0]:.4f} as a network, {done.quality[1]:.4f} as this file"
    if not done.trained:
        rows["weights"] = done.licence
    return "\n".join(f"{name + ':':<13}{value}" for name, value in rows.items())


def run() -> None:
    """The console script: an error is one line, and exit code 1. A termination leaves nothing half-written."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        main()
    except ExportError as error:
        click.echo(f"Error: {error.message}", err=True)
        sys.exit(1)
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        click.echo(f"Error: The package '{error.name}' is missing: pip install 'ar-copy-paste[export]'.", err=True)
        sys.exit(1)


if __name__ == "__main__":
    run()
