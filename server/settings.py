"""What the server was started with, and the one seam between HTTP and what cuts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from prometheus_client import CollectorRegistry

from server import registry
from server.cutout import Cutout, cut
from server.fetch import fetch_public
from server.images import Limits
from server.keys import KeyStore
from server.segmenter import RGB


class Cut(Protocol):
    """A photo and a model's registry name -> a cut-out; ``options`` and errors are those of ``server.cutout.cut``.

    One that is busy raises a ``ServerError`` with status 503 and ``retry_after`` in seconds.
    """

    def __call__(self, image: RGB, model: str, **options: Any) -> Cutout: ...


@dataclass(frozen=True)
class Settings:
    """``cut`` and ``ready`` (raises what is missing) replace cutting in the request's own thread.

    ``weights`` is for ``model`` alone. ``keys``: None lets everybody in. ``rate_limit`` is flask-limiter's, by client and on
    cutting alone; ``rate_storage`` the place of its counters (redis:// for several processes). ``fetch`` gets pictures by
    address; None: addresses are refused. ``results`` is an fsspec URL of a folder (None: in the user's data folder) whose
    files live ``results_seconds``. ``proxies`` is the number of trusted reverse proxies in front. ``metrics`` is the registry
    that ``/metrics`` shows, for one application (None: a new one).
    """

    model: str = registry.DEFAULT_MODEL
    weights: Path | None = None
    device: str = "auto"
    limits: Limits = field(default_factory=Limits.from_environment)
    cut: Cut | None = None
    ready: Callable[[], None] | None = None
    keys: KeyStore | None = None
    rate_limit: str | None = None
    rate_storage: str = "memory://"
    fetch: Callable[[str], bytes] | None = fetch_public
    results: str | None = None
    results_seconds: float = 24 * 3600
    proxies: int = 0
    metrics: CollectorRegistry | None = None

    def cut_photo(self, image: RGB, model: str | None = None, **options: Any) -> Cutout:
        """``cut`` with the model of that name, or the default one."""
        name = model or self.model
        if self.cut is not None:
            return self.cut(image, name, **options)
        weights = self.weights if name == self.model else None
        return cut(image, registry.load(name, weights=weights, device=self.device), **options)

    def check_ready(self) -> None:
        """Raises ``ServerError`` while nothing could be cut; loads the default model where it is cut here."""
        if self.ready is not None:
            self.ready()
        elif self.cut is None:
            registry.load(self.model, weights=self.weights, device=self.device)
