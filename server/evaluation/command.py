"""``python -m server evaluate``: a model's quality on a dataset."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from server.evaluation.dataset import Pair, open_dataset
from server.evaluation.runner import Report
from server.evaluation.runner import evaluate as run
from server.evaluation.sheet import ContactSheet
from server.images import encode_png

_SHOWN_PROBLEMS = 20


@click.command("evaluate")
@click.option("--model", required=True, help="Registry name ('python -m server models').")
@click.option(
    "--data", required=True, type=click.Path(path_type=Path), help="Folder or tar of pictures with truth masks."
)
@click.option("--masks", type=click.Path(path_type=Path), help="Folder of the masks, where they are not under --data.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write every picture's scores there.")
@click.option("--sheet", "sheet_file", type=click.Path(path_type=Path), help="Write a PNG of the best and worst there.")
@click.option("--limit", type=click.IntRange(min=1), help="Only so many pictures, evenly spread over the data.")
@click.option("--matte", is_flag=True, help="Score alpha mattes too: SAD, MSE, MAD, Grad, Conn against soft masks.")
@click.option("--weights", type=click.Path(path_type=Path), help="Weights file instead of the installed one.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
def evaluate(
    model: str,
    data: Path,
    masks: Path | None,
    as_json: bool,
    csv_file: Path | None,
    sheet_file: Path | None,
    limit: int | None,
    matte: bool,
    weights: Path | None,
    device: str,
) -> None:
    """Score a model's maps against truth masks, with 95 % bootstrap intervals over the pictures."""
    from server import registry

    dataset = open_dataset(data, masks)
    segmenter = registry.load(model, weights=weights, device=device)
    sheet = ContactSheet("weighted_f") if sheet_file else None
    report = run(segmenter, dataset, limit=limit, matte=matte, sheet=sheet, progress=_bar)
    if csv_file:
        report.write_csv(csv_file)
    if sheet_file and sheet:
        sheet_file.write_bytes(encode_png(sheet.image()))
    for name, reason in report.skipped[:_SHOWN_PROBLEMS]:
        click.echo(f"skipped {name}: {reason}", err=True)
    if len(report.skipped) > _SHOWN_PROBLEMS:
        click.echo(f"... and {len(report.skipped) - _SHOWN_PROBLEMS} more skipped (--json lists all)", err=True)
    click.echo(json.dumps(report.as_json()) if as_json else _table(report))


def _bar(pairs: Iterable[Pair]) -> Iterator[Pair]:
    with click.progressbar(list(pairs), label="Evaluating", file=sys.stderr) as bar:
        yield from bar


def _table(report: Report) -> str:
    lines = [
        f"{report.model} on {report.dataset}: {len(report.scores)} pictures, {report.seconds_per_image:.3f} s each"
    ]
    lines += [
        f"  {name:<12}{figure.value:9.4f}   [{figure.low:.4f}, {figure.high:.4f}]"
        for name, figure in report.figures.items()
    ]
    return "\n".join(lines)
