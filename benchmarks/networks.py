"""Every network's size, cost and speed: ``python benchmarks/networks.py [--model NAME ...] [--json]``.

Times are of one forward pass without pre- and post-processing, with fresh weights. ``of ceiling`` is the share of the
multiply-accumulates a second that a large matrix product reaches in the same run, at the same threads and precision:
the figure to compare between machines.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads must not burn the CPU time that is measured

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from server.networks.catalogue import NETWORKS, NetworkInfo
from server.networks.complexity import complexity

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
BATCHES = (1, 2, 4, 8, 16, 32, 64)
PAPERS = {
    "basnet": "87.06 M (released checkpoint); 70 images/s at 256 on an RTX Titan",
    "meticulousnet-l": "70.30 M (Table 7)",
    "meticulousnet-h": "70.30 M (Table 7)",
    "mobile-meticulousnet-l": "3.33 M (Table 7)",
    "mobile-meticulousnet-h": "3.33 M (Table 7)",
    "pgsnet": "80.789 G at 352 (Table VII; counts biases and norms too: 80.774 of ours)",
    "gem-tiny": "21.6 M (released configuration)",
    "gem-base": "102.8 M (released configuration)",
    **{
        f"gfm-{name}": "released checkpoint, same tensors"
        for name in ("r34-tt", "r34-ft", "r34-bt", "r34-2b-tt", "d121-tt", "d121-rim", "r101-tt")
    },
}
"""What the papers and official releases say of size and speed, where they say something."""
MATRIX_CPU, MATRIX_GPU = 1536, 8192


def repeat(function: Callable[[], Any], seconds: float) -> tuple[float, float]:
    """(wall, CPU) milliseconds of one call: medians over ``seconds``, at least one call after one to warm up."""
    function()
    wall, cpu = [], []
    stop = time.perf_counter() + seconds
    while not wall or time.perf_counter() < stop:
        wall_start, cpu_start = time.perf_counter(), time.process_time()
        function()
        wall.append(1e3 * (time.perf_counter() - wall_start))
        cpu.append(1e3 * (time.process_time() - cpu_start))
    return statistics.median(wall), statistics.median(cpu)


def cpu_ceiling(threads: int, precision: str) -> float:
    """Billions of multiply-accumulates a second and thread of CPU time in a square matrix product."""
    torch.set_num_threads(threads)
    a = torch.randn(MATRIX_CPU, MATRIX_CPU).to(PRECISIONS[precision])
    _wall, cpu = repeat(lambda: torch.mm(a, a), 1.0)
    return MATRIX_CPU**3 / 1e6 / cpu


def cpu_speed(
    network: nn.Module, x: Tensor, gmacs: float, threads: int, precision: str, seconds: float, ceiling: float
) -> dict[str, float]:
    torch.set_num_threads(threads)
    reduced = precision != "fp32"
    with torch.inference_mode(), torch.autocast("cpu", PRECISIONS[precision], enabled=reduced):
        wall, cpu = repeat(lambda: network(x), seconds)
    return {"ms": round(wall, 2), "cpu_ms": round(cpu, 2), "of_ceiling": round(gmacs * 1e3 / cpu / ceiling, 3)}


def gpu_time(function: Callable[[], Any], repeats: int = 20) -> float:
    """Milliseconds of one call, by CUDA events around ``repeats`` of them; the best of three rounds."""
    rounds = []
    for _ in range(3):
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(repeats):
            function()
        stop.record()
        torch.cuda.synchronize()
        rounds.append(start.elapsed_time(stop) / repeats)
    return min(rounds)


def gpu_ceiling() -> float:
    """Billions of multiply-accumulates a second of a large bf16 matrix product: what the matrix units reach here."""
    a = torch.randn(MATRIX_GPU, MATRIX_GPU, device="cuda", dtype=torch.bfloat16)
    torch.mm(a, a)
    return MATRIX_GPU**3 / 1e6 / gpu_time(lambda: torch.mm(a, a))


def captured(network: Callable[[Tensor], Any], x: Tensor) -> Callable[[], None]:
    """One forward pass as a CUDA graph: one launch instead of hundreds."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            network(x)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        network(x)
    return graph.replay


def gpu_speed(info: NetworkInfo, size: tuple[int, int], gmacs: float, ceiling: float, compiled: bool) -> dict[str, Any]:
    """Images a second in bf16, channels_last, per batch size: eager, as a CUDA graph, and compiled (also as a graph)."""
    network = info.build().to("cuda", torch.bfloat16).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ways: dict[str, Callable[[Tensor], Any]] = {"eager": network, "graph": network}
    if compiled:
        torch._inductor.config.freezing = True  # folds batch norms into convolutions
        ways["compiled"] = torch.compile(network, mode="max-autotune-no-cudagraphs")
    speeds: dict[str, Any] = {}
    for batch in BATCHES:
        x = torch.randn(batch, info.channels, *size, device="cuda", dtype=torch.bfloat16)
        x = x.contiguous(memory_format=torch.channels_last)
        row: dict[str, float] = {}
        with torch.inference_mode():
            for way, run in ways.items():
                try:
                    run(x)
                    milliseconds = gpu_time(captured(run, x) if way != "eager" else lambda run=run, x=x: run(x))
                except torch.cuda.OutOfMemoryError:
                    break
                row[way] = round(1e3 * batch / milliseconds, 1)
                row[f"{way}_of_ceiling"] = round(1e3 * batch * gmacs / milliseconds / ceiling, 3)
        if "eager" in row:
            row["best_vs_eager"] = round(max(row[way] for way in ways if way in row) / row["eager"], 2)
            speeds[str(batch)] = row
    return speeds


@click.command(help=__doc__)
@click.option("--model", "models", multiple=True, help="Only these networks (repeat the option); default: all.")
@click.option("--size", type=int, help="Square input of this side instead of each network's own.")
@click.option("--cpu/--no-cpu", default=True, show_default=True)
@click.option("--gpu/--no-gpu", default=None, help="Default: where there is a CUDA device.")
@click.option("--compile/--no-compile", "compiled", default=True, show_default=True, help="torch.compile on the GPU.")
@click.option("--bf16/--no-bf16", default=None, help="On the CPU. Default: where its instructions multiply bf16.")
@click.option("--seconds", default=2.0, show_default=True, help="Measuring time of each CPU figure.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Also write the table of docs/networks.md here.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object as the last line.")
def main(
    models: tuple[str, ...],
    size: int | None,
    cpu: bool,
    gpu: bool | None,
    compiled: bool,
    bf16: bool | None,
    seconds: float,
    markdown: Path | None,
    as_json: bool,
) -> None:
    unknown = [name for name in models if name not in NETWORKS]
    if unknown:
        raise click.BadParameter(f"no network {', '.join(unknown)}; there are {', '.join(NETWORKS)}")
    gpu = torch.cuda.is_available() if gpu is None else gpu
    if gpu and not torch.cuda.is_available():
        raise click.UsageError("there is no CUDA device here: drop --gpu")
    torch.backends.cudnn.benchmark = True
    if bf16 is None:
        bf16 = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    precisions = ["fp32", "bf16"] if bf16 else ["fp32"]
    settings = [(threads, precision) for threads in (1, 2) for precision in precisions] if cpu else []
    ceilings = {setting: cpu_ceiling(*setting) for setting in settings}
    matrix_units = gpu_ceiling() if gpu else 0.0
    report: dict[str, Any] = {
        "cpu_ceiling_gmacs_per_cpu_s": {f"{t}_{p}": round(value, 1) for (t, p), value in ceilings.items()},
        "gpu": torch.cuda.get_device_name() if gpu else None,
        "gpu_ceiling_tmacs_per_s": round(matrix_units / 1e3, 1) if gpu else None,
        "networks": {},
    }
    titles = [f"{threads} thr {precision}: ms (of ceiling)" for threads, precision in settings]
    click.echo(" | ".join([f"{'network':24}", f"{'params':>11}", f"{'GMACs':>8}", "input   ", *titles]))
    for name in models or NETWORKS:
        info = NETWORKS[name]
        shape = (size, size) if size else info.input_size
        counted = complexity(info, shape)
        entry: dict[str, Any] = {"parameters": counted.parameters, "gmacs": round(counted.gmacs, 3), "input": shape}
        cells = [f"{name:24}", f"{counted.parameters:>11,}", f"{counted.gmacs:>8.2f}", f"{shape[0]}x{shape[1]:<4}"]
        if settings:
            network, x = info.build(), torch.rand(1, info.channels, *shape)
            entry["cpu"] = {}
            for setting in settings:
                speed = cpu_speed(network, x, counted.gmacs, *setting, seconds, ceilings[setting])
                entry["cpu"]["{}_{}".format(*setting)] = speed
                cells.append(f"{speed['ms']:.0f} ({speed['of_ceiling']:.2f})".rjust(len(titles[len(cells) - 4])))
            del network
        click.echo(" | ".join(cells))
        if gpu:
            entry["gpu"] = gpu_speed(info, shape, counted.gmacs, matrix_units, compiled)
            for batch, row in entry["gpu"].items():
                figures = ", ".join(f"{key} {value}" for key, value in row.items())
                click.echo(f"    batch {batch:>2}: images/s {figures}")
        report["networks"][name] = entry
    if markdown is not None:
        markdown.write_text(as_markdown(report))
    if as_json:
        click.echo(json.dumps(report))


def as_markdown(report: dict[str, Any]) -> str:
    """The table of ``docs/networks.md``: fp32 on one and two threads."""
    lines = [
        "| network | input | parameters | GMACs | 1 thread, ms (of ceiling) | 2 threads, ms | paper or release |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, entry in report["networks"].items():
        one, two = (entry.get("cpu", {}).get(f"{threads}_fp32") for threads in (1, 2))
        height, width = entry["input"]
        cells = [
            f"`{name}`",
            f"{height} x {width}",
            f"{entry['parameters']:,}",
            f"{entry['gmacs']:.2f}",
            f"{one['ms']:.0f} ({one['of_ceiling']:.2f})" if one else "",
            f"{two['ms']:.0f}" if two else "",
            PAPERS.get(name, ""),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
