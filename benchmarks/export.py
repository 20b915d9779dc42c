"""Exported models against each other in one run: ``python benchmarks/export.py [--json]``.

Files are made by ``python -m export`` first (with made-up weights where none are installed: they change neither speed nor size)
and timed in turns on one thread, by CPU time. The figures are ratios; ``torch`` is the network in torch eager, same run.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads must not burn the CPU time that is measured

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from export import targets
from export.bench import bench
from export.exporting import Exporter, Options
from server.weights import store

LOW, BASNET, LITE, GLASS = "mobile-meticulousnet-l", "basnet", "lite", "gem-tiny"
WANTED = {LOW: ("fp32", "int8"), BASNET: ("fp32",), LITE: ("fp32",), GLASS: ("fp32",)}
TARGETS = {
    "mobile_l_int8_over_fp32": ("<=", 0.6),
    "basnet_over_mobile_l_fp32": (">=", 8.0),
    "basnet_over_mobile_l_int8": (">=", 12.0),
    "basnet_over_lite": (">=", 40.0),
    "gem_tiny_onnx_over_torch": ("<=", 0.6),
}


def torch_ms(exporter: Exporter, seconds: float) -> float:
    """CPU milliseconds of the network in torch eager, one thread."""
    taken: list[float] = []
    stop = time.perf_counter() + seconds
    with torch.inference_mode():
        exporter.graph(*exporter.inputs)
        while len(taken) < 3 or time.perf_counter() < stop:
            begun = time.process_time()
            exporter.graph(*exporter.inputs)
            taken.append(1e3 * (time.process_time() - begun))
    return statistics.median(taken)


def ratios(milliseconds: dict[str, float]) -> dict[str, float]:
    """By the names of ``TARGETS``, those whose two parts were measured."""
    pairs = {
        "mobile_l_int8_over_fp32": (f"{LOW} int8", f"{LOW} fp32"),
        "basnet_over_mobile_l_fp32": (f"{BASNET} fp32", f"{LOW} fp32"),
        "basnet_over_mobile_l_int8": (f"{BASNET} fp32", f"{LOW} int8"),
        "basnet_over_lite": (f"{BASNET} fp32", f"{LITE} fp32"),
        "gem_tiny_onnx_over_torch": (f"{GLASS} fp32", f"{GLASS} torch"),
    }
    return {
        name: round(milliseconds[above] / milliseconds[below], 3)
        for name, (above, below) in pairs.items()
        if above in milliseconds and below in milliseconds
    }


@click.command()
@click.option("--model", "models", multiple=True, type=click.Choice(list(WANTED)), help="Only these; repeat it.")
@click.option("--seconds", default=4.0, show_default=True, help="For each file.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Keep the files here, and use those that are there.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object as the last line.")
def main(models: tuple[str, ...], seconds: float, out: Path | None, as_json: bool) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = out or Path(scratch)
        files: dict[str, Path] = {}
        milliseconds: dict[str, float] = {}
        for name in models or WANTED:
            target = targets.find(name)
            random = not all(store.find(part) for part in target.networks)
            exporter: Exporter | None = None
            for precision in WANTED[name]:
                path = folder / targets.file_name(target, target.sizes[0], "onnx", precision)
                if not path.is_file():
                    exporter = exporter or Exporter(target, None, Options(random_weights=random))
                    exporter.export("onnx", precision, folder)
                files[f"{name} {precision}"] = path
            if name == GLASS:
                exporter = exporter or Exporter(target, None, Options(random_weights=random))
                milliseconds[f"{name} torch"] = torch_ms(exporter, seconds)
        timings = bench(list(files.values()), seconds)
        sizes = {label: timing.bytes for label, timing in zip(files, timings, strict=True)}
        milliseconds |= {label: timing.cpu_ms or 0.0 for label, timing in zip(files, timings, strict=True)}
    report: dict[str, Any] = {"cpu_ms": milliseconds, "bytes": sizes, "ratios": ratios(milliseconds)}
    report["load"] = os.getloadavg()[0]
    for label, cpu_ms in milliseconds.items():
        size = f"{sizes[label] / 1e6:8.2f} MB" if label in sizes else ""
        click.echo(f"{label:<36}{cpu_ms:10.1f} ms  {size}")
    for name, ratio in report["ratios"].items():
        sign, wanted = TARGETS[name]
        met = ratio <= wanted if sign == "<=" else ratio >= wanted
        click.echo(f"{name:<36}{ratio:10.2f}  target {sign} {wanted:g}: {'met' if met else 'MISSED'}")
    if as_json:
        click.echo(json.dumps(report))


if __name__ == "__main__":
    main()
