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
from pathlib import Path
from typing import Any

import click

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads must not burn the CPU time that is measured

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from export import networks, targets
from export.bench import latency, noise
from export.exporting import Exporter, Options
from export.graphs import graph_of
from export.pictures import Feed
from export.running import session
from export.writing import size_of
from server.weights import store

ROUNDS = 5
LOW, BASNET, LITE, GLASS = "mobile-meticulousnet-l", "basnet", "lite", "gem-tiny"
WANTED = {LOW: ("fp32", "int8"), BASNET: ("fp32",), LITE: ("fp32",), GLASS: ("fp32",)}
TARGETS = {
    "mobile_l_int8_over_fp32": ("<=", 0.6),
    "basnet_over_mobile_l_fp32": (">=", 8.0),
    "basnet_over_mobile_l_int8": (">=", 12.0),
    "basnet_over_lite": (">=", 40.0),
    "gem_tiny_onnx_over_torch": ("<=", 0.6),
}


class Eager:
    """The network in torch, called as an onnxruntime session is, so that both are timed in turns by the same code."""

    def __init__(self, target: targets.Target, random: bool) -> None:
        parts, _ = networks.load(target, None, random)
        self._graph = graph_of(target, parts, target.sizes[0])

    def run(self, _outputs: None, feed: Feed) -> None:
        with torch.inference_mode():
            self._graph(*(torch.from_numpy(array) for array in feed.values()))


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
        eager: dict[str, Eager] = {}
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
                eager[f"{name} torch"] = Eager(target, random)
        sizes = {label: size_of(path) for label, path in files.items()}
        timed = {label: session(path) for label, path in files.items()} | eager
        feeds = {label: noise(timed[label.replace("torch", "fp32")]) for label in timed}
        taken: dict[str, list[float]] = {label: [] for label in timed}
        for _ in range(ROUNDS):  # in turns: a machine that slows down slows all of them
            for label, runner in timed.items():
                taken[label].append(latency(runner, feeds[label], seconds / ROUNDS))
        milliseconds = {label: statistics.median(times) for label, times in taken.items()}
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
