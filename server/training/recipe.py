"""A recipe: everything that decides what a training run makes, in one small TOML file. Needs no torch."""

from __future__ import annotations

import math
import random
import tomllib
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase as fnmatch
from pathlib import Path
from typing import Any

from server.errors import BadOption
from server.networks.catalogue import NETWORKS
from server.training.augment import Augment

FOLDER = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Optimizer:
    """``encoder_lr`` is for the parameters under ``encoder``, ``lr`` for the rest."""

    kind: str = "adamw"
    lr: float = 1e-3
    encoder_lr: float | None = None
    encoder: str = "encoder."
    weight_decay: float = 0.01
    momentum: float = 0.9
    clip: float | None = None


@dataclass(frozen=True)
class Schedule:
    """Learning rate over ``steps``.

    ``constant`` falls only in the last ``decay`` steps, so a run can be lengthened without knowing its end at its start;
    ``cosine`` and ``poly`` (power 0.9) fall to 0 over the whole run; ``steps`` divides by 10 at each of ``drops``.
    """

    kind: str = "cosine"
    warmup: int = 0
    decay: int = 0
    drops: tuple[float, ...] = ()

    def factor(self, step: int, steps: int) -> float:
        """Multiplier of the base rate at ``step`` (from 0) of ``steps``."""
        start = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        done = min(1.0, step / max(1, steps))
        if self.kind == "constant":
            return start * min(1.0, (steps - step) / self.decay) if self.decay else start
        if self.kind == "cosine":
            return start * 0.5 * (1 + math.cos(math.pi * done))
        if self.kind == "poly":
            return start * (1 - done) ** 0.9
        return start * 0.1 ** sum(done >= drop for drop in self.drops)

    def decaying(self, step: int, steps: int) -> bool:
        return self.kind == "constant" and bool(self.decay) and step >= steps - self.decay


@dataclass(frozen=True)
class Recipe:
    """One run.

    ``sizes`` are (first step, input side in px); ``decay_size`` is the side in a constant schedule's decay; ``scales`` are
    sides of which every step draws one instead. ``pretrained`` starts a network that has ImageNet weights at hand from
    them, ``frozen_blocks`` of its encoder stay so, ``distill`` weighs saved teacher maps. ``mix`` maps item-name patterns
    to shares of the items drawn (first match counts), ``exclude`` names items never trained on.
    """

    name: str
    network: str
    objective: str
    sizes: tuple[tuple[int, int], ...]
    steps: int
    batch: int
    accumulate: int = 1
    decay_size: int | None = None
    scales: tuple[int, ...] = ()
    pack_side: int = 352
    ema: float = 0.998
    seed: int = 0
    pretrained: bool = True
    frozen_blocks: int = 0
    distill: float = 0.0
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    augment: Augment = field(default_factory=Augment)
    mix: dict[str, float] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()

    def size(self, step: int, steps: int) -> int:
        """Input side in px at ``step``."""
        if self.scales:
            return self.scales[random.Random(self.seed * 1_000_003 + step).randrange(len(self.scales))]
        if self.decay_size and self.schedule.decaying(step, steps):
            return self.decay_size
        return next(size for first, size in reversed(self.sizes) if step >= first)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def load_recipe(name: str) -> Recipe:
    """A shipped recipe by name or by one of the networks it is for, or a recipe file by path.

    A recipe whose ``network`` is a pattern serves several networks. Raises ``BadOption`` where there is none, or where a
    key is wrong.
    """
    path, network = _file_of(name)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        recipe: Recipe = _build(Recipe, {**table, "name": path.stem, "network": network or table["network"]})
    except FileNotFoundError as error:
        raise BadOption(
            f"There is no recipe '{name}': use one of {', '.join(recipe_names())}, or a .toml file."
        ) from error
    except (tomllib.TOMLDecodeError, TypeError, KeyError) as error:
        raise BadOption(f"Recipe {path} is not valid: {error}.") from error
    if recipe.network not in NETWORKS:
        raise BadOption(f"Recipe '{name}' is for several networks: give one that fits '{recipe.network}'.")
    return recipe


def recipe_names() -> list[str]:
    """What ``load_recipe`` takes: recipes, and every network with a recipe of its family."""
    patterns = {path.stem: tomllib.loads(path.read_text(encoding="utf-8"))["network"] for path in FOLDER.glob("*.toml")}
    names = [stem for stem, pattern in patterns.items() if pattern in NETWORKS]
    return sorted({*names, *(net for net in NETWORKS if any(fnmatch(net, pattern) for pattern in patterns.values()))})


def _file_of(name: str) -> tuple[Path, str | None]:
    """The recipe's file, and the network where the file is for a family."""
    exact = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if exact.is_file() or name not in NETWORKS:
        return exact, None
    for path in sorted(FOLDER.glob("*.toml")):
        if fnmatch(name, tomllib.loads(path.read_text(encoding="utf-8"))["network"]):
            return path, name
    return exact, None


def _build(kind: type[Any], table: dict[str, Any]) -> Any:
    parts = {"optimizer": Optimizer, "schedule": Schedule, "augment": Augment}
    known = {part.name for part in fields(kind)}
    if unknown := set(table) - known:
        raise TypeError(f"unknown keys {', '.join(sorted(unknown))}")
    values = {key: _build(parts[key], value) if key in parts else _frozen(value) for key, value in table.items()}
    return kind(**values)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(part) for part in value) if isinstance(value, list) else value
