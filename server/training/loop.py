"""The one training loop: EMA, accumulation, several processes, checkpoints that survive a kill, CSV logs.

What a step sees depends only on the recipe's seed and the step's number, so a resumed run goes on as if never stopped.
``last.pt`` is the newest state, ``stable.pt`` the last one before the learning rate's final decay: a later run with more
steps continues from there.
"""

from __future__ import annotations

import contextlib
import csv
import fnmatch
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch import distributed as dist

from server.errors import BadOption, BadWeights, DeviceUnavailable
from server.networks.catalogue import NETWORKS
from server.networks.meticulous import MeticulousNet, high_from_low
from server.training.augment import augment
from server.training.objectives import OBJECTIVES, Batch, Objective, Planes
from server.training.pack import Pack
from server.training.readers import Byte
from server.training.recipe import Recipe
from server.weights.loading import load_encoder, load_network

TEACHER = 4
"""The teacher's plane in a packed block, behind RGB and mask."""


@dataclass(frozen=True)
class Run:
    """Where and how a recipe runs; ``init`` is a file with the encoder's or the whole network's first weights."""

    out: Path
    steps: int
    init: Path | None = None
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    checkpoint_seconds: float = 180.0
    deterministic: bool = False
    progress: bool = True


def train(recipe: Recipe, pack: Pack, run: Run, *, resume: bool = False, rank: int = 0, world: int = 1) -> Path:
    """Train to ``run.steps``, or until SIGTERM or SIGINT; returns the last checkpoint's path."""
    if run.threads:
        torch.set_num_threads(run.threads)
        cv2.setNumThreads(run.threads)
    if run.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    run.out.mkdir(parents=True, exist_ok=True)
    return _Training(recipe, pack, run, rank, world).go(resume)


def choose_device(name: str) -> torch.device:
    """``auto``: CUDA where there is one. Raises ``DeviceUnavailable``."""
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceUnavailable("There is no CUDA device here: use --device cpu, or install torch with CUDA.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """``auto``: bf16 where the hardware multiplies it (CUDA, or a CPU with AMX or AVX512-BF16), else fp32."""
    fast = device.type == "cuda" or bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    return torch.bfloat16 if name == "bf16" or (name == "auto" and fast) else torch.float32


def groups_of(names: list[str], recipe: Recipe) -> list[tuple[float, list[int]]]:
    """(share, items) of each pattern of the mix that matches something; without a mix one group of everything."""
    mix = recipe.mix or {"*": 1.0}
    members: dict[str, list[int]] = {pattern: [] for pattern in mix}
    for index, name in enumerate(names):
        pattern = next((pattern for pattern in mix if fnmatch.fnmatchcase(name, pattern)), None)
        if pattern is not None and not any(fnmatch.fnmatchcase(name, out) for out in recipe.exclude):
            members[pattern].append(index)
    groups = [(mix[pattern], items) for pattern, items in members.items() if items]
    if not groups:
        raise BadOption("No item of --data matches the recipe's mix: name the sources as its patterns say.")
    total = sum(share for share, _ in groups)
    return [(share / total, items) for share, items in groups]


class _Batches:
    """Batches by number, augmented in background threads; the same number always gives the same batch."""

    def __init__(self, recipe: Recipe, objective: Objective, pack: Pack, rank: int, world: int, workers: int) -> None:
        self._objective = objective
        self._taught = bool((pack.sizes[:, 2] > TEACHER).any())
        self._recipe, self._pack, self._rank, self._world = recipe, pack, rank, world
        groups = groups_of(pack.names, recipe)
        self._shares = np.cumsum([share for share, _ in groups])
        self._items = [items for _, items in groups]
        self._workers = workers

    def one(self, number: int, size: int) -> Batch:
        """Batch ``number`` of this process, size x size."""
        count = self._recipe.batch // self._world
        first = number * self._recipe.batch + self._rank * count
        samples = [self._sample(first + index, size) for index in range(count)]
        blocks = [block for block, _ in samples]
        batch: Batch = {
            "image": _tensor([block[..., :3] for block in blocks]).div_(255),
            "mask": _tensor([block[..., 3:4] for block in blocks]).div_(255),
        }
        if self._taught:
            absent = np.full((size, size, 1), -255.0, np.float32)
            maps = [block[..., TEACHER:] if block.shape[2] > TEACHER else absent for block in blocks]
            batch["teacher"] = _tensor(maps).div_(255)
        for key in samples[0][1]:
            batch[key] = _tensor([planes[key][..., None] for _, planes in samples])
        return batch

    def _sample(self, number: int, size: int) -> tuple[Byte, Planes]:
        rng = np.random.default_rng((self._recipe.seed, number))
        group = min(int(np.searchsorted(self._shares, rng.random(), side="right")), len(self._items) - 1)
        items = self._items[group]
        block = augment(self._pack[items[int(rng.integers(len(items)))]], size, self._recipe.augment, rng)
        return block, self._objective.planes(block[..., 3].astype(np.float32) / np.float32(255), rng)

    def ahead(self, numbers: Iterator[tuple[int, int]]) -> Iterator[Batch]:
        """The batches of ``numbers`` (number, size), prepared a few ahead."""
        with ThreadPoolExecutor(self._workers, thread_name_prefix="arcp-augment") as pool:
            waiting = []
            for number, size in numbers:
                waiting.append(pool.submit(self.one, number, size))
                if len(waiting) > self._workers + 1:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()


def _tensor(planes: Sequence[NDArray[Any]]) -> Tensor:
    """HxWxC arrays -> float32 NxCxHxW."""
    return torch.from_numpy(np.stack([plane.astype(np.float32) for plane in planes])).permute(0, 3, 1, 2).contiguous()


class _Training:
    def __init__(self, recipe: Recipe, pack: Pack, run: Run, rank: int, world: int) -> None:
        if recipe.batch % world:
            raise BadOption(f"The recipe's batch of {recipe.batch} does not divide into {world} processes.")
        self.recipe, self.run, self.rank, self.world = recipe, run, rank, world
        self.device = choose_device(run.device)
        self.dtype = choose_precision(run.precision, self.device)
        torch.manual_seed(recipe.seed)
        network = NETWORKS[recipe.network].build()
        if run.init is not None:
            _initialise(network, recipe.network, run.init)
        elif recipe.pretrained and hasattr(network, "load_encoder"):
            network.load_encoder()  # type: ignore[operator]
        self.network: nn.Module = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = {key: value.detach().clone() for key, value in self.network.state_dict().items()}
        self._train_mode()
        self.objective = OBJECTIVES[recipe.objective](recipe)
        self.optimizer = make_optimizer(self.network, recipe)
        self.batches = _Batches(recipe, self.objective, pack, rank, world, 1 if self.device.type == "cpu" else 8)
        self.step = 0
        self._stop = False

    def go(self, resume: bool) -> Path:
        last = self.run.out / "last.pt"
        if resume:
            self._resume()
        elif last.exists():
            raise BadOption(f"{last} is there already: add --resume to go on from it, or choose another --out.")
        previous = self._catch_signals()
        saved = time.monotonic()
        bar = self._bar()
        log = _Log(self.run.out / "log.csv", self.step) if self.rank == 0 else None
        batches = self.batches.ahead(self._numbers(self.step))
        try:
            while self.step < self.run.steps and not self._stopped():
                entering = self._decaying(self.step) and not self._decaying(self.step - 1)
                if entering and self.rank == 0:
                    self._save(self.run.out / "stable.pt")
                started = time.monotonic()
                terms = self._step(batches)
                self.step += 1
                if log is not None:
                    log.add(self.step, self._rate(self.step - 1), terms, time.monotonic() - started)
                bar.update(1)
                if self.rank == 0 and time.monotonic() - saved > self.run.checkpoint_seconds:
                    self._save(last)
                    saved = time.monotonic()
        finally:
            batches.close()  # type: ignore[attr-defined]
            bar.close()
            if log is not None:
                log.close()
            for number, handler in previous.items():
                signal.signal(number, handler)
        if self.rank == 0:
            self._save(last)
        return last

    def _numbers(self, first: int) -> Iterator[tuple[int, int]]:
        for step in range(first, self.run.steps):
            size = self.recipe.size(step, self.run.steps)
            for part in range(self.recipe.accumulate):
                yield step * self.recipe.accumulate + part, size

    def _step(self, batches: Iterator[Batch]) -> dict[str, float]:
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.step)
        rate = self._rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base"] * rate
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, float] = {}
        for _ in range(self.recipe.accumulate):
            batch = {key: value.to(self.device, non_blocking=True) for key, value in next(batches).items()}
            batch["image"] = batch["image"].contiguous(memory_format=torch.channels_last)
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                terms = self.objective(self.network, batch)
            loss = torch.stack(list(terms.values())).sum()
            (loss / self.recipe.accumulate).backward()  # type: ignore[no-untyped-call]
            for key, value in terms.items():
                sums[key] = sums.get(key, 0.0) + float(value.detach()) / self.recipe.accumulate
        if not np.isfinite(sum(sums.values())):
            raise FloatingPointError(f"the loss is not finite at step {self.step}: {sums}; lower the learning rate")
        self._share_gradients()
        if self.recipe.optimizer.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.optimizer.clip)
        self.optimizer.step()
        self._average()
        return sums

    def _share_gradients(self) -> None:
        if self.world == 1:
            return
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        flat /= self.world
        parts = torch.split(flat, [g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        for key, value in self.network.state_dict().items():
            if value.dtype.is_floating_point:
                self.averaged[key].lerp_(value, 1 - decay)
            else:
                self.averaged[key].copy_(value)

    def _rate(self, step: int) -> float:
        return self.recipe.schedule.factor(step, self.run.steps)

    def _decaying(self, step: int) -> bool:
        return self.recipe.schedule.decaying(step, self.run.steps)

    def _train_mode(self) -> None:
        self.network.train()
        if self.recipe.frozen_blocks:
            self.network.freeze_encoder(self.recipe.frozen_blocks)  # type: ignore[operator]

    def _save(self, path: Path) -> None:
        state = {
            "step": self.step,
            "steps": self.run.steps,
            "recipe": self.recipe.as_dict(),
            "network": self.network.state_dict(),
            "averaged": self.averaged,
            "optimizer": self.optimizer.state_dict(),
        }
        part = path.with_suffix(".part")
        torch.save(state, part)
        part.replace(path)  # a kill in between leaves the previous checkpoint whole

    def _resume(self) -> None:
        state = checkpoint_to_resume(self.run.out, self.recipe, self.run.steps)
        self.network.load_state_dict(state["network"])
        self.averaged = {key: value.to(self.device) for key, value in state["averaged"].items()}
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = int(state["step"])
        self._train_mode()

    def _catch_signals(self) -> dict[int, Any]:
        if threading.current_thread() is not threading.main_thread():
            return {}

        def stop(number: int, frame: object) -> None:
            self._stop = True

        return {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}

    def _stopped(self) -> bool:
        """Whether any process was asked to stop; all agree, so that none waits for another."""
        if self.world == 1:
            return self._stop
        flag = torch.tensor([float(self._stop)])
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag.item())

    def _bar(self) -> Any:
        from tqdm import tqdm

        off = self.rank != 0 or not self.run.progress
        return tqdm(
            total=self.run.steps, initial=self.step, desc=self.recipe.name, unit="step", disable=off, mininterval=5
        )


def _initialise(network: nn.Module, name: str, path: Path) -> None:
    """First weights from ``path``; a MeticulousNet H also starts from an L's file (paper 4.4)."""
    if isinstance(network, MeticulousNet) and name.endswith("-h"):
        with contextlib.suppress(BadWeights):
            low = load_network(f"{name[:-1]}l", path)
            assert isinstance(low, MeticulousNet)  # by its name
            return high_from_low(network, low)
    return load_encoder(network, name, path)


def checkpoint_to_resume(out: Path, recipe: Recipe, steps: int) -> dict[str, Any]:
    """``last.pt``, or ``stable.pt`` where the last run had already lowered its rate for an earlier end."""
    path = out / "last.pt"
    if not path.exists():
        raise BadOption(f"There is nothing to resume in {out}: leave out --resume, or name the run's folder in --out.")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    stable = out / "stable.pt"
    if steps > state["steps"] and recipe.schedule.decaying(state["step"], state["steps"]) and stable.exists():
        state = torch.load(stable, map_location="cpu", weights_only=True)
    if state["recipe"]["network"] != recipe.network:
        raise BadOption(f"{out} holds a run of '{state['recipe']['network']}', not of '{recipe.network}'.")
    return state


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Two groups: parameters under ``encoder.`` at the encoder's rate, the rest; no weight decay on norms and biases."""
    settings = recipe.optimizer
    encoder_lr = settings.lr if settings.encoder_lr is None else settings.encoder_lr
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            lr = encoder_lr if name.startswith(settings.encoder) else settings.lr
            groups.setdefault((lr, settings.weight_decay if parameter.ndim > 1 else 0.0), []).append(parameter)
    parameters = [{"params": p, "lr": lr, "base": lr, "weight_decay": decay} for (lr, decay), p in groups.items()]
    if settings.kind == "sgd":
        return torch.optim.SGD(parameters, momentum=settings.momentum)
    if settings.kind == "adam":
        return torch.optim.Adam(parameters)
    if settings.kind == "adamw":
        return torch.optim.AdamW(parameters)
    raise BadOption(f"The recipe's optimizer '{settings.kind}' is not one of adamw, adam, sgd.")


class _Log:
    """``log.csv``: step, rate, seconds a step, and the mean of each loss term over the steps since the last row."""

    EVERY = 20

    def __init__(self, path: Path, step: int) -> None:
        self._file = path.open("a", newline="")
        self._writer = csv.writer(self._file)
        self._rows: list[dict[str, float]] = []
        self._seconds = 0.0
        self._headed = step > 0 and path.stat().st_size > 0

    def add(self, step: int, rate: float, terms: dict[str, float], seconds: float) -> None:
        self._rows.append(terms)
        self._seconds += seconds
        if len(self._rows) < self.EVERY:
            return
        if not self._headed:
            self._writer.writerow(["step", "rate", "seconds", *terms])
            self._headed = True
        means = [round(float(np.mean([row[key] for row in self._rows])), 5) for key in terms]
        self._writer.writerow([step, f"{rate:.5f}", round(self._seconds / len(self._rows), 3), *means])
        self._file.flush()
        self._rows, self._seconds = [], 0.0

    def close(self) -> None:
        self._file.close()
