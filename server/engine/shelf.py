"""Loaded models within a memory budget: the one that was used longest ago makes room."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from server.engine.metrics import EngineMetrics
from server.errors import Busy, ModelUnavailable
from server.segmenter import Segmenter


@dataclass(eq=False)
class _Loaded:
    segmenter: Segmenter
    bytes: int
    borrowers: int = 0


@dataclass(eq=False)
class Shelf:
    """``open`` loads a model by name, ``size`` tells the bytes of one before it is loaded. ``budget`` in bytes, None: no limit.

    ``kept`` is never unloaded.
    """

    open: Callable[[str], Segmenter]
    size: Callable[[str], int]
    budget: int | None = None
    kept: str = ""
    metrics: EngineMetrics = field(default_factory=EngineMetrics)
    _loaded: dict[str, _Loaded] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _loading: dict[str, threading.Lock] = field(default_factory=dict)
    _claims: dict[str, int] = field(default_factory=dict)

    @contextlib.contextmanager
    def borrow(self, name: str) -> Iterator[Segmenter]:
        """The model, loaded if need be, and not unloaded before the block ends.

        Raises what loading raises, ``ModelUnavailable`` for a model over the whole budget and ``Busy`` while others in use
        fill it.
        """
        loaded = self._take(name)
        try:
            yield loaded.segmenter
        finally:
            with self._lock:
                loaded.borrowers -= 1

    def names(self) -> list[str]:
        """Loaded models, the one used longest ago first."""
        with self._lock:
            return list(self._loaded)

    def unload_idle(self) -> None:
        """Unloads everything that nobody uses, but for ``kept``."""
        with self._lock:
            self._unload([name for name in self._loaded if self._idle(name)])

    def _take(self, name: str) -> _Loaded:
        size = self.size(name)  # an unknown name ends here
        with self._lock:
            found = self._borrowed(name)
            if found:
                return found
            loading = self._loading.setdefault(name, threading.Lock())
        with loading:  # one thread loads; other models are served meanwhile
            with self._lock:
                found = self._borrowed(name)
                if found:
                    return found
                self._make_room(name, size)
                self._claims[name] = size  # before it is loaded, so that two models that load at once share the budget
            try:
                segmenter = self.open(name)
            finally:
                with self._lock:
                    del self._claims[name]
            with self._lock:
                loaded = self._loaded[name] = _Loaded(segmenter, size, borrowers=1)
                self.metrics.model_bytes.labels(name).set(size)
            return loaded

    def _borrowed(self, name: str) -> _Loaded | None:
        found = self._loaded.pop(name, None)
        if found:
            self._loaded[name] = found  # the dictionary's order is the order of use
            found.borrowers += 1
        return found

    def _make_room(self, name: str, size: int) -> None:
        if self.budget is None:
            return
        kept = self._loaded[self.kept].bytes if self.kept in self._loaded and name != self.kept else 0
        if size + kept > self.budget:
            raise ModelUnavailable(
                f"'{name}' needs {size / 2**20:.0f} MiB and {kept / 2**20:.0f} MiB are taken, more than the budget of "
                f"{self.budget / 2**20:.0f} MiB: raise ARCP_MODEL_MEMORY_MB.",
                code="model_too_large",
            )
        leaving: list[str] = []
        left = sum(loaded.bytes for loaded in self._loaded.values()) + sum(self._claims.values())
        for other in filter(self._idle, self._loaded):
            if left + size <= self.budget:
                break
            leaving.append(other)
            left -= self._loaded[other].bytes
        if left + size > self.budget:
            raise Busy(
                f"Other models are in use and leave no memory for '{name}': try again in a moment.", retry_after=2
            )
        self._unload(leaving)

    def _idle(self, name: str) -> bool:
        return name != self.kept and not self._loaded[name].borrowers

    def _unload(self, names: list[str]) -> None:
        for name in names:
            del self._loaded[name]
            self.metrics.model_bytes.remove(name)
            self.metrics.unloaded.labels(name).inc()
        if names:
            release_memory()


def release_memory() -> None:
    """Gives freed memory back to the device, where torch runs on one."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
