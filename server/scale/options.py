"""What ``serve run server.scale.application:application key=value ...`` understands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from server import registry
from server.errors import BadOption


@dataclass(frozen=True)
class ScaleOptions:
    """``gpus`` a replica of the predictor takes, fractions share a card; ``cpus`` likewise, of the front too.

    ``min_replicas`` = ``max_replicas`` is a fixed number; between two numbers Ray adds replicas while more than
    ``target_ongoing`` pictures wait or run for each. ``fronts`` decode, cut out and encode.
    """

    model: str = registry.DEFAULT_MODEL
    device: str = "auto"
    gpus: float = 0.0
    cpus: float = 1.0
    min_replicas: int = 1
    max_replicas: int = 8
    target_ongoing: float = 8.0
    max_batch: int = 16
    batch_wait_s: float = 0.005
    fronts: int = 1
    threads: int = 16
    deadline_s: float = 30.0

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> ScaleOptions:
        """Text or numbers by name. Raises ``BadOption``."""
        kinds: dict[str, type[Any]] = {field.name: type(field.default) for field in fields(cls)}
        values: dict[str, Any] = {}
        for name, value in given.items():
            if name not in kinds:
                raise BadOption(f"'{name}' is not an option of the application: use {', '.join(kinds)}.")
            try:
                values[name] = kinds[name](value)
            except ValueError:
                raise BadOption(f"{name} is a {kinds[name].__name__}, not '{str(value)[:40]}'.") from None
        options = cls(**values)
        if not 0 <= options.min_replicas <= options.max_replicas or options.max_replicas < 1:
            raise BadOption("min_replicas is from 0 to max_replicas, and max_replicas at least 1.")
        return options
