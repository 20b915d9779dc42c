"""The engine: one process owns the device, and every HTTP thread hands its pictures over.

HTTP thread            engine's thread          HTTP thread
decode, prepare   ->   queue, batch, infer  ->  finish, select, compose, encode
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from server import registry
from server.companions import lent_by
from server.cutout import Cutout, cut
from server.engine import device as devices
from server.engine.batching import Batcher, Infer, Job
from server.engine.client import client_gone
from server.engine.metrics import EngineMetrics
from server.engine.shelf import Shelf, release_memory
from server.errors import BadOption, Busy, ServerError
from server.segmenter import RGB, Mask, Segmenter, Stages, Tap

WARM_UP_SIZE = (480, 640)
_log = logging.getLogger("server.engine")


@dataclass(frozen=True)
class EngineOptions:
    """``queue`` pictures may wait, ``max_batch`` go together, a picture waits at most ``deadline_s`` seconds.

    ``queue_megapixels`` bounds the photos that wait, ``model_memory_mb`` the weights of loaded models (0: no limit),
    ``workers`` the batches that run at once (0: one on a GPU, one for two cores on a CPU). ``fast_gpu`` 0 keeps networks on a
    GPU in fp32 and without CUDA graphs.
    """

    queue: int = 64
    max_batch: int = 16
    deadline_s: float = 30.0
    queue_megapixels: int = 800
    model_memory_mb: int = 4096
    workers: int = 0
    fast_gpu: int = 1

    @classmethod
    def from_environment(cls) -> EngineOptions:
        """``ARCP_QUEUE``, ``ARCP_MAX_BATCH``, ``ARCP_DEADLINE_S``, ... override the defaults. Raises ``BadOption``."""
        given: dict[str, Any] = {}
        kinds: dict[str, type[Any]] = {field.name: type(field.default) for field in fields(cls)}
        for name, kind in kinds.items():
            text = os.environ.get(f"ARCP_{name.upper()}")
            if text is None:
                continue
            try:
                given[name] = kind(text)
                if not 0 <= given[name] < 1e6:
                    raise ValueError(text)
            except ValueError:
                raise BadOption(f"ARCP_{name.upper()} is a number from 0, not '{text[:40]}'.") from None
        return cls(**given)


class Engine:
    """Cuts photos for many callers at once; ``cut`` and ``ready`` fit ``server.settings.Settings``.

    ``open_model`` (name -> loaded model) is the seam for other backends; ``weights`` are for ``model`` alone.
    """

    def __init__(
        self,
        model: str = registry.DEFAULT_MODEL,
        *,
        weights: Path | None = None,
        device: str = "auto",
        options: EngineOptions | None = None,
        metrics: EngineMetrics | None = None,
        open_model: Callable[[str], Segmenter] | None = None,
    ) -> None:
        self.options = options or EngineOptions.from_environment()
        self.metrics = metrics or EngineMetrics()
        self.model, self.device = model, device
        self._weights = weights
        budget = self.options.model_memory_mb << 20
        self.shelf = Shelf(
            open_model or self._open, weight_bytes, budget=budget or None, kept=model, metrics=self.metrics
        )
        self.batcher = Batcher(
            capacity=self.options.queue,
            max_batch=self.options.max_batch,
            max_pixels=self.options.queue_megapixels * 1_000_000,
            workers=self.options.workers or self._default_workers(),
            metrics=self.metrics,
            free_memory=self._free_memory,
        )
        self._failure: ServerError | None = Busy("The model is still loading: try again in a moment.", code="loading")

    def cut(self, image: RGB, model: str | None = None, **options: Any) -> Cutout:
        """``server.cutout.cut`` with the model of that name, its device work and its companions' in the engine's queue.

        Raises also ``Busy``, ``TooLate``, ``OutOfMemory`` (503, with ``retry_after``) and ``ClientGone``.
        """
        with ExitStack() as borrowed:

            def queued(name: str) -> QueuedSegmenter:
                segmenter = borrowed.enter_context(self.shelf.borrow(name))
                return QueuedSegmenter(segmenter, self.batcher, self.options.deadline_s)

            with lent_by(queued):
                return cut(image, queued(model or self.model), **options)

    def warm_up(self) -> None:
        """Loads the default model and runs it once alone and once in a full batch; then it is ready."""
        for name, value in (report := devices.report(self.device)).items():
            _log.info("%s: %s", name, value)
        self.metrics.device.info(report)
        start = time.monotonic()
        picture = np.random.default_rng(0).integers(0, 256, (*WARM_UP_SIZE, 3), np.uint8)
        with self.shelf.borrow(self.model) as segmenter:
            stages = stages_of(segmenter)
            item = stages.prepare(picture, None)
            stages.finish(stages.infer([item])[0], picture)
            if devices.uses_gpu(self.device):
                self._warm_batches(stages, item)
        self._failure = None
        _log.info("'%s' is ready after %.1f s", self.model, time.monotonic() - start)

    def ready(self) -> None:
        """Raises ``Busy`` before ``warm_up`` and after ``drain``."""
        if self._failure is not None:
            raise self._failure

    def drain(self, timeout: float) -> bool:
        """Not ready any more; waits until what was begun is done. False where that takes longer than ``timeout`` seconds."""
        self._failure = Busy("The server is stopping: try again in a moment.", code="stopping")
        return self.batcher.idle(timeout)

    def close(self) -> None:
        self.batcher.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _open(self, name: str) -> Segmenter:
        segmenter = registry.find(name).load(self._weights if name == self.model else None, self.device)
        if not self.options.fast_gpu or not devices.uses_gpu(self.device) or not hasattr(segmenter, "network"):
            return segmenter
        from server.backends.cuda import tuned

        return tuned(segmenter)

    def _default_workers(self) -> int:
        return 1 if devices.uses_gpu(self.device) else max(1, (os.cpu_count() or 1) // 2)

    def _free_memory(self) -> None:
        self.shelf.unload_idle()
        release_memory()

    def _warm_batches(self, stages: Stages, item: Any) -> None:
        """Every size that kernels are chosen for, so that no client waits for that; one that does not fit is no failure."""
        size = 2
        while size <= self.options.max_batch:
            try:
                stages.infer([item] * size)
            except Exception as error:
                _log.warning("a batch of %d cannot be warmed up: %s", size, str(error).splitlines()[0][:200])
                return
            size *= 2


class QueuedSegmenter:
    """A ``Segmenter`` whose device work waits for its turn."""

    def __init__(self, segmenter: Segmenter, batcher: Batcher, deadline_s: float) -> None:
        self.name = segmenter.name
        self.resolution: int | None = getattr(segmenter, "resolution", None)
        self.least_score: float = getattr(segmenter, "least_score", 0.0)
        self._segmenter, self._batcher, self._deadline_s = segmenter, batcher, deadline_s
        self._stages = stages_of(segmenter)

    def predict(self, image: RGB, tap: Tap | None = None) -> Mask:
        stages = self._stages
        return stages.finish(self._run(image, stages.prepare(image, tap), stages.infer, "predict"), image)

    def refine(self, image: RGB, mask: Mask) -> Mask:
        """Of a model that sharpens another one's mask."""
        refine = self._segmenter.refine  # type: ignore[attr-defined]
        return self._run(image, (image, mask), lambda items: [refine(*item) for item in items], "refine")

    def _run(self, image: RGB, item: Any, infer: Infer, what: str) -> Any:
        job = Job(
            key=(id(self._segmenter), what),
            model=self.name,
            item=item,
            infer=infer,
            pixels=image.shape[0] * image.shape[1],
            deadline=time.monotonic() + self._deadline_s,
        )
        return self._batcher.run(job, client_gone())


def stages_of(segmenter: Segmenter) -> Stages:
    """The model's own stages, else its ``predict_batch``, else one ``predict`` after the other."""
    own = getattr(segmenter, "stages", None)
    stages: Stages | None = own() if own else None
    if stages is not None:
        return stages
    predict_batch = getattr(segmenter, "predict_batch", None)
    if predict_batch is not None:
        return Stages(lambda image, tap: image, predict_batch, lambda mask, image: mask)
    return Stages(
        lambda image, tap: (image, tap),
        lambda items: [segmenter.predict(image, tap) for image, tap in items],
        lambda mask, image: mask,
    )


def weight_bytes(name: str) -> int:
    """Bytes of a model's weights in float32. Raises ``UnknownModel``."""
    return 4 * (registry.find(name).parameters or 0)


@contextmanager
def running(engine: Engine) -> Iterator[Engine]:
    """The engine, warmed up; closed at the end."""
    try:
        engine.warm_up()
        yield engine
    finally:
        engine.close()
