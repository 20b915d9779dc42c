"""A bounded queue in front of a device, with dynamic micro-batching.

An idle device takes what is there at once, so that a single picture pays nothing; what arrives while it is busy goes together in
the next batch (as Crankshaw et al., "Clipper", NSDI 2017, section 4.3, without their delay). One worker thread owns the device.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from server.engine.client import Gone
from server.engine.metrics import EngineMetrics
from server.errors import Busy, ClientGone, OutOfMemory, TooLate

Infer = Callable[[Sequence[Any]], Sequence[Any]]

GONE_POLL_SECONDS = 0.1
GROW_AFTER = 1000
"""Batches in a row that fit before a size that once was too large is tried again."""
_log = logging.getLogger("server.engine")


@dataclass(eq=False)
class Job:
    """One picture's turn on the device. Jobs of one ``key`` may share a batch; ``pixels`` is what its photo holds in memory."""

    key: Hashable
    model: str
    item: Any
    infer: Infer
    pixels: int
    deadline: float
    submitted: float = field(default_factory=time.monotonic)
    done: threading.Event = field(default_factory=threading.Event)
    output: Any = None
    error: BaseException | None = None

    def finish(self, output: Any = None, error: BaseException | None = None) -> None:
        self.output, self.error, self.item = output, error, None
        self.done.set()


class Batcher:
    """``capacity`` pictures and ``max_pixels`` of photos may wait, up to ``max_batch`` of one model run together.

    ``free_memory`` is called when the device ran out of memory, before the batch is tried again in halves.
    """

    def __init__(
        self,
        *,
        capacity: int,
        max_batch: int,
        max_pixels: int,
        workers: int = 1,
        metrics: EngineMetrics | None = None,
        free_memory: Callable[[], None] = lambda: None,
    ) -> None:
        self.capacity, self.max_batch, self.max_pixels = capacity, max_batch, max_pixels
        self.metrics = metrics or EngineMetrics()
        self._free_memory = free_memory
        self._queue: list[Job] = []
        self._changed = threading.Condition()
        self._closed = False
        self._running = 0
        self._seconds_each = 0.05
        self._caps: dict[Hashable, int] = {}
        self._fits: dict[Hashable, int] = {}
        self._threads = [threading.Thread(target=self._work, name=f"arcp-engine-{number}") for number in range(workers)]
        for thread in self._threads:
            thread.start()

    def run(self, job: Job, gone: Gone | None = None) -> Any:
        """The job's output, once its batch has run.

        Raises ``Busy`` at once where too much waits, ``TooLate`` after the deadline, ``ClientGone`` when ``gone`` says so,
        and whatever ``infer`` raised for this picture.
        """
        self._submit(job)
        while not job.done.is_set():
            left = job.deadline - time.monotonic()
            if left <= 0:
                self._drop(job, "deadline")
                raise TooLate(
                    "The picture's turn did not come in time: try again later, or ask for more capacity.",
                    retry_after=self.retry_after(),
                )
            if gone is not None and gone():
                self._drop(job, "gone")
                raise ClientGone("The client left before its picture was cut.")
            job.done.wait(left if gone is None else min(left, GONE_POLL_SECONDS))
        if job.error is not None:
            raise job.error
        return job.output

    def retry_after(self) -> int:
        """Whole seconds until what waits now will be done, at least 1."""
        with self._changed:
            return self._retry_after()

    def idle(self, timeout: float) -> bool:
        """Waits until nothing waits or runs; False where that took longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue and not self._running, timeout)

    def close(self) -> None:
        """Ends the workers; what still waits is refused."""
        with self._changed:
            self._closed = True
            left, self._queue = self._queue, []
            self._changed.notify_all()
        for job in left:
            job.finish(error=Busy("The server is stopping: try again in a moment.", code="stopping"))
        for thread in self._threads:
            thread.join()

    def _submit(self, job: Job) -> None:
        with self._changed:
            if self._closed:
                raise Busy("The server is stopping: try again in a moment.", code="stopping")
            pixels = sum(waiting.pixels for waiting in self._queue)
            too_many = len(self._queue) >= self.capacity
            if too_many or (self._queue and pixels + job.pixels > self.max_pixels):
                self.metrics.refused.labels("busy").inc()
                seconds = self._retry_after()
                raise Busy(
                    f"{len(self._queue)} pictures are waiting already: try again in {seconds} s.", retry_after=seconds
                )
            self._queue.append(job)
            self._show()
            self._changed.notify()

    def _drop(self, job: Job, reason: str) -> None:
        self.metrics.refused.labels(reason).inc()
        with self._changed:
            if job in self._queue:
                self._queue.remove(job)
                self._show()
                self._changed.notify_all()

    def _retry_after(self) -> int:
        return max(1, math.ceil(len(self._queue) * self._seconds_each))

    def _show(self) -> None:
        self.metrics.waiting.set(len(self._queue))
        self.metrics.waiting_pixels.set(sum(job.pixels for job in self._queue))

    def _work(self) -> None:
        while True:
            batch = self._take()
            if not batch:
                return
            try:
                self._run(batch)
            finally:
                with self._changed:
                    self._running -= 1
                    self._changed.notify_all()

    def _take(self) -> list[Job]:
        """The longest waiting job and those that may go with it; empty when the batcher is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            if not self._queue:
                return []
            key = self._queue[0].key
            batch = [job for job in self._queue if job.key == key][: self._caps.get(key, self.max_batch)]
            self._queue = [job for job in self._queue if job not in batch]
            self._running += 1
            self._show()
            self._changed.notify_all()
        now = time.monotonic()
        for job in batch:
            self.metrics.wait_seconds.labels(job.model).observe(now - job.submitted)
        return batch

    def _run(self, batch: list[Job]) -> None:
        first = batch[0]
        start = time.monotonic()
        failure: BaseException | None = None
        try:
            outputs = first.infer([job.item for job in batch])
            if len(outputs) != len(batch):
                raise RuntimeError(f"{first.model} gave {len(outputs)} outputs for {len(batch)} pictures")
        except Exception as error:
            # without its traceback, whose frames hold the tensors that did not fit
            failure = error.with_traceback(None) if is_out_of_memory(error) else error
        if failure is not None:
            self._recover(batch, failure)
            return
        seconds = time.monotonic() - start
        with self._changed:
            self._seconds_each += 0.2 * (seconds / len(batch) - self._seconds_each)
        self.metrics.batch_size.labels(first.model).observe(len(batch))
        self.metrics.device_seconds.labels(first.model).observe(seconds)
        self._grow(first.key)
        for job, output in zip(batch, outputs, strict=True):
            job.finish(output)

    def _recover(self, batch: list[Job], failure: BaseException) -> None:
        """Halves a batch that did not fit; runs the others of a batch in which one picture failed."""
        first = batch[0]
        if not is_out_of_memory(failure):
            if len(batch) == 1:
                first.finish(error=failure)
                return
            for job in batch:
                self._run([job])
            return
        self.metrics.halved.labels(first.model).inc()
        self._free_memory()
        half = len(batch) // 2
        if half == 0:
            if self._retried(first):
                self.metrics.refused.labels("out_of_memory").inc()
                first.finish(
                    error=OutOfMemory(
                        f"'{first.model}' does not fit into the device's memory: use --device cpu, or stop what else uses it.",
                        retry_after=30,
                    )
                )
            return
        _log.warning("%s: a batch of %d does not fit into the device's memory; trying halves", first.model, len(batch))
        self._caps[first.key], self._fits[first.key] = half, 0
        for start in range(0, len(batch), half):
            self._run(batch[start : start + half])

    def _retried(self, job: Job) -> bool:
        """One more try after memory was freed; True where it did not fit either."""
        try:
            (output,) = job.infer([job.item])
        except Exception as error:
            if not is_out_of_memory(error):
                job.finish(error=error)
                return False
            return True
        job.finish(output)
        return False

    def _grow(self, key: Hashable) -> None:
        if key in self._caps:
            self._fits[key] += 1
            if self._fits[key] >= GROW_AFTER:
                self._caps[key], self._fits[key] = min(self.max_batch, 2 * self._caps[key]), 0


def is_out_of_memory(error: BaseException) -> bool:
    """torch's exception or onnxruntime's message; by name, so that neither need be installed."""
    if any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return True
    text = str(error)
    return "CUDA out of memory" in text or "BFCArena" in text or "Failed to allocate memory" in text
