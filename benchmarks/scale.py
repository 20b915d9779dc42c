"""What thousands of pictures a second would need: a cost model measured on one replica here, then simulated.

The front's CPU time (decode, select, compose, encode) and the model's time by batch size are measured; a discrete-event
simulation (Poisson arrivals, cores that serve in order, replicas chosen as the shorter queue of two, micro-batches as in
``server.engine``) then finds how many cores and replicas keep the 95th percentile under a second.
``python benchmarks/scale.py [--fixed-ms F --each-ms E] [--json]``; with F and E given, a device of that speed is assumed.
"""

from __future__ import annotations

import heapq
import json
import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import click
import cv2
import numpy as np

import server
from benchmarks.serve import photo_12mp
from server.heap import share_heap
from server.segmenter import RGB, Mask, Segmenter, Tap
from tests.server.conftest import saved

RATES = (1, 10, 100, 1000, 5000)
UTILISATION = 0.7
"""What is planned for; above it queues grow quickly (Kingman)."""
MAX_BATCH = 16
SHARE = 0.62
"""Of each side, so that the object's box has a quarter of the photo. Under a fifth the model looks twice."""


@dataclass(frozen=True)
class Costs:
    """Seconds: of a front's core before and after the model, of the device a batch and each further picture; bytes in, out."""

    before: float
    after: float
    fixed: float
    each: float
    bytes_in: int
    bytes_out: int

    def device(self, batch: int) -> float:
        return self.fixed + self.each * (batch - 1)


class Watched:
    """A segmenter that keeps what it was asked."""

    def __init__(self, segmenter: Segmenter) -> None:
        self.name = segmenter.name
        self.resolution: int = segmenter.resolution  # type: ignore[attr-defined]
        self.asked: list[RGB] = []
        self._segmenter = segmenter

    def predict(self, image: RGB, tap: Tap | None = None) -> Mask:
        self.asked.append(image)
        return self._segmenter.predict(image, tap)


def measured(size: tuple[int, int], mask: bool) -> Costs:
    """One photo of ``size`` (width, height) through the default model on this machine, CPU seconds, the least of several.

    ``mask``: the answer is the opacity alone, of the photo's size.
    """
    photo = np.asarray(cv2.resize(photo_12mp(SHARE), size, interpolation=cv2.INTER_AREA))
    jpeg = saved(photo, "JPEG", quality=90)
    segmenter = server.load(server.DEFAULT_MODEL, device="cpu")
    stages = segmenter.stages()  # type: ignore[attr-defined]
    watched = Watched(segmenter)
    cutout = server.cut(photo, watched, colours=not mask)
    items = [stages.prepare(look, None) for look in watched.asked]
    pixels = cutout.mask() if mask else cutout.rgba
    fixed = _least(lambda: [stages.infer([item]) for item in items])
    each = (_least(lambda: [stages.infer([item] * 4) for item in items]) - fixed) / 3
    return Costs(
        before=_least(lambda: server.decode(jpeg)),
        after=max(0.0, _least(lambda: server.cut(photo, segmenter, colours=not mask)) - fixed)
        + _least(lambda: server.encode_png(pixels)),
        fixed=fixed,
        each=each,
        bytes_in=len(jpeg),
        bytes_out=len(server.encode_png(pixels)),
    )


def _least(function: Callable[[], object], repeats: int = 4) -> float:
    function()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


@dataclass(frozen=True)
class Outcome:
    """Seconds in the system, and the share of time that cores and devices work."""

    p50: float
    p95: float
    cores_busy: float
    devices_busy: float
    batch: float


def simulate(costs: Costs, rate: float, cores: int, replicas: int, *, requests: int = 20_000, seed: int = 0) -> Outcome:
    """``requests`` Poisson arrivals at ``rate`` a second; the first tenth, while it fills, is not counted."""
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(1 / rate, requests))
    choices = rng.integers(0, replicas, (requests, 2))
    events: list[tuple[float, int, str, int]] = [(float(at), n, "arrive", n) for n, at in enumerate(arrivals)]
    heapq.heapify(events)
    order = requests
    waiting: deque[tuple[int, float, str]] = deque()
    queues: list[list[int]] = [[] for _ in range(replicas)]
    running: list[list[int]] = [[] for _ in range(replicas)]
    free, batches, core_time, device_time = cores, 0, 0.0, 0.0
    left = np.zeros(requests)

    def push(at: float, kind: str, what: int) -> None:
        nonlocal order
        order += 1
        heapq.heappush(events, (at, order, kind, what))

    def on_core(at: float) -> None:
        nonlocal free, core_time
        while free and waiting:
            request, seconds, then = waiting.popleft()
            free -= 1
            core_time += seconds
            push(at + seconds, then, request)

    def on_device(at: float, replica: int) -> None:
        nonlocal batches, device_time
        if queues[replica] and not running[replica]:
            running[replica], queues[replica] = queues[replica][:MAX_BATCH], queues[replica][MAX_BATCH:]
            seconds = costs.device(len(running[replica]))
            batches += 1
            device_time += seconds
            push(at + seconds, "inferred", replica)

    at = 0.0
    while events:
        at, _, kind, what = heapq.heappop(events)
        if kind == "arrive":
            waiting.append((what, costs.before, "decoded"))
        elif kind == "decoded":
            free += 1
            a, b = choices[what]
            replica = int(a if len(queues[a]) + len(running[a]) <= len(queues[b]) + len(running[b]) else b)
            queues[replica].append(what)
            on_device(at, replica)
        elif kind == "inferred":
            waiting.extend((request, costs.after, "done") for request in running[what])
            running[what] = []
            on_device(at, what)
        else:
            free += 1
            left[what] = at
        on_core(at)
    seconds = (left - arrivals)[requests // 10 :]
    return Outcome(
        p50=float(np.quantile(seconds, 0.5)),
        p95=float(np.quantile(seconds, 0.95)),
        cores_busy=core_time / at / cores,
        devices_busy=device_time / at / replicas,
        batch=requests / batches,
    )


def plan(costs: Costs, rate: float) -> tuple[int, int]:
    """Cores of fronts and replicas of the model for ``rate`` pictures a second at the planned utilisation."""
    cores = math.ceil(rate * (costs.before + costs.after) / UTILISATION)
    replicas = math.ceil(rate * costs.device(MAX_BATCH) / MAX_BATCH / UTILISATION)
    return max(1, cores), max(1, replicas)


@click.command()
@click.option("--fixed-ms", type=float, help="Of the device, a batch of one.")
@click.option("--each-ms", type=float, help="Of the device, every further picture of a batch.")
@click.option("--json", "as_json", is_flag=True)
def main(fixed_ms: float | None, each_ms: float | None, as_json: bool) -> None:
    """Measure one replica and simulate many."""
    cv2.setNumThreads(1)
    share_heap()  # as the server does
    figures: dict[str, object] = {"load": round(os.getloadavg()[0], 1)}
    large, small = (4000, 3000), (1632, 1224)
    kinds = {"12 MP": (large, False), "12 MP mask": (large, True), "2 MP": (small, False), "2 MP mask": (small, True)}
    for name, (size, mask) in kinds.items():
        costs = measured(size, mask)
        if fixed_ms is not None and each_ms is not None:
            costs = Costs(costs.before, costs.after, fixed_ms / 1000, each_ms / 1000, costs.bytes_in, costs.bytes_out)
        print(
            f"{name}: front {costs.before * 1000:.0f} + {costs.after * 1000:.0f} ms of a core, device {costs.fixed * 1000:.0f} ms "
            f"+ {costs.each * 1000:.0f} ms each, {costs.bytes_in / 1e6:.1f} MB in, {costs.bytes_out / 1e6:.1f} MB out"
        )
        print(
            f"{'pictures/s':>10} {'cores':>6} {'devices':>8} {'batch':>6} {'p50 s':>6} {'p95 s':>6} {'Gbit/s in':>9} {'out':>6}"
        )
        for rate in RATES:
            cores, replicas = plan(costs, rate)
            outcome = simulate(costs, rate, cores, replicas)
            gigabits = [rate * size * 8 / 1e9 for size in (costs.bytes_in, costs.bytes_out)]
            print(
                f"{rate:10} {cores:6} {replicas:8} {outcome.batch:6.1f} {outcome.p50:6.2f} {outcome.p95:6.2f} "
                f"{gigabits[0]:9.2f} {gigabits[1]:6.2f}"
            )
            figures[f"{name.replace(' ', '_')}_{rate}"] = {
                "cores": cores, "devices": replicas, "p95_s": round(outcome.p95, 3), "gbit_in": round(gigabits[0], 2)
            }  # fmt: skip
    if as_json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
