"""How long exported files take on this machine's CPU, in one run, one thread."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.errors import UnreadableModel
from export.pictures import Feed
from export.running import session
from export.writing import size_of

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


@dataclass(frozen=True)
class Timing:
    """``cpu_ms`` is the process's CPU time of one run, the median; None where the file runs on Apple's devices only."""

    path: Path
    bytes: int
    cpu_ms: float | None


def bench(paths: list[Path], seconds: float = 2.0, rounds: int = 5) -> list[Timing]:
    """Files measured in turns, so that a machine that slows down slows all of them. Raises ``UnreadableModel``."""
    sessions: dict[Path, tuple[Any, Feed]] = {}
    for path in paths:
        if path.suffix == ".onnx":
            opened = session(path)
            sessions[path] = (opened, noise(opened))
        elif path.suffix != ".mlpackage" or not path.is_dir():
            raise UnreadableModel(
                f"{path} is neither an .onnx file nor an .mlpackage: give what 'python -m export' wrote."
            )
    times: dict[Path, list[float]] = {path: [] for path in sessions}
    for _ in range(rounds):
        for path, (opened, feed) in sessions.items():
            times[path].append(latency(opened, feed, seconds / rounds))
    return [Timing(path, size_of(path), statistics.median(times[path]) if path in times else None) for path in paths]


def latency(opened: Any, feed: Feed, seconds: float) -> float:
    """CPU milliseconds of one run: the median over ``seconds``, after one to warm up."""
    opened.run(None, feed)
    taken: list[float] = []
    stop = time.perf_counter() + seconds
    while not taken or time.perf_counter() < stop:
        begun = time.process_time()
        opened.run(None, feed)
        taken.append(1e3 * (time.process_time() - begun))
    return statistics.median(taken)


def noise(opened: Any) -> Feed:
    """Inputs of the shapes that the file asks for; pictures in 0..255, masks in [0, 1]."""
    generator = np.random.default_rng(7)
    feed: Feed = {}
    for given in opened.get_inputs():
        if not all(isinstance(side, int) for side in given.shape):
            raise UnreadableModel(
                f"The input '{given.name}' has no fixed shape: export the model with 'python -m export'."
            )
        scale = 255 if given.shape[1] == 3 else 1
        feed[given.name] = (scale * generator.random(given.shape)).astype(_TYPES.get(given.type, np.float32))
    return feed
