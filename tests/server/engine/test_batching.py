from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from server.engine import Batcher, EngineMetrics, QueuedSegmenter
from server.engine.client import answering
from server.errors import Busy, ClientGone, OutOfMemory, TooLate
from tests.server.engine.stubs import StubModel, picture

Open = Callable[..., Batcher]


@pytest.fixture
def opened() -> Iterator[Open]:
    batchers: list[Batcher] = []

    def open_batcher(**options: Any) -> Batcher:
        batchers.append(Batcher(**{"capacity": 64, "max_batch": 8, "max_pixels": 10**9} | options))
        return batchers[-1]

    yield open_batcher
    for batcher in batchers:
        batcher.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(40, thread_name_prefix="arcp-test") as executor:
        yield executor


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def waiting(batcher: Batcher) -> int:
    return int(sample(batcher.metrics, "arcp_queue_length"))


def sample(metrics: EngineMetrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


def held(model: StubModel, batcher: Batcher, pool: ThreadPoolExecutor, reds: list[int]) -> list[Future[Any]]:
    """Pictures that wait behind one which the device works on until the gate opens."""
    model.gate.clear()
    model.started.clear()
    segmenter = QueuedSegmenter(model, batcher, 20)
    first = pool.submit(segmenter.predict, picture(reds[0]))
    assert model.started.wait(20)
    others = []
    for count, red in enumerate(reds[1:], 1):
        others.append(pool.submit(segmenter.predict, picture(red)))
        until(lambda count=count: waiting(batcher) == count)  # type: ignore[misc]
    return [first, *others]


def test_a_single_picture_goes_at_once_and_alone(opened: Open) -> None:
    model = StubModel()
    assert QueuedSegmenter(model, opened(), 5).predict(picture(51))[0, 0] == pytest.approx(0.2)
    assert model.batches == [1]


def test_what_waits_goes_together_and_everyone_gets_the_own_answer(opened: Open, pool: ThreadPoolExecutor) -> None:
    model, batcher = StubModel(), opened()
    reds = list(range(0, 220, 10))
    jobs = held(model, batcher, pool, reds)
    model.gate.set()
    assert [job.result(20)[3, 3] * 255 for job in jobs] == pytest.approx(reds)
    assert model.batches == [1, 8, 8, 5]
    assert sample(batcher.metrics, "arcp_batch_size_count", model="stub") == 4
    assert sample(batcher.metrics, "arcp_queue_seconds_count", model="stub") == 22
    assert waiting(batcher) == 0


def test_models_share_the_device_but_no_batch_and_the_oldest_goes_first(opened: Open, pool: ThreadPoolExecutor) -> None:
    order: list[str] = []

    class Noted(StubModel):
        def infer(self, items: Any) -> list[Any]:
            order.append(f"{self.name}{len(items)}")
            return super().infer(items)

    batcher = opened()
    a, b = Noted("a"), Noted("b")
    first = held(a, batcher, pool, [1])
    jobs = []
    for count, (model, red) in enumerate([(b, 2), (a, 3), (b, 4), (a, 5)], 1):
        jobs.append(pool.submit(QueuedSegmenter(model, batcher, 20).predict, picture(red)))
        until(lambda count=count: waiting(batcher) == count)  # type: ignore[misc]
    a.gate.set()
    assert [job.result(20)[0, 0] * 255 for job in [*first, *jobs]] == pytest.approx([1, 2, 3, 4, 5])
    assert order == ["a1", "b2", "a2"]


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(opened: Open, pool: ThreadPoolExecutor) -> None:
    model, batcher = StubModel(), opened(capacity=3)
    jobs = held(model, batcher, pool, [1, 2, 3, 4])
    with pytest.raises(Busy, match="3 pictures are waiting") as refused:
        QueuedSegmenter(model, batcher, 5).predict(picture(5))
    assert refused.value.status == 503
    assert refused.value.retry_after >= 1
    assert sample(batcher.metrics, "arcp_queue_refused_total", reason="busy") == 1
    model.gate.set()
    assert [job.result(20)[0, 0] * 255 for job in jobs] == pytest.approx([1, 2, 3, 4])
    assert QueuedSegmenter(model, batcher, 5).predict(picture(5))[0, 0] * 255 == pytest.approx(5)


def test_the_photos_that_wait_are_bounded_in_pixels_too(opened: Open, pool: ThreadPoolExecutor) -> None:
    model, batcher = StubModel(), opened(max_pixels=2 * 256)
    jobs = held(model, batcher, pool, [1, 2, 3])
    with pytest.raises(Busy):
        QueuedSegmenter(model, batcher, 5).predict(picture(4))
    model.gate.set()
    for job in jobs:
        job.result(20)
    large = QueuedSegmenter(model, batcher, 5).predict(picture(4, side=64))  # an empty queue takes any photo
    assert large.shape == (64, 64)


def test_a_deadline_passes(opened: Open, pool: ThreadPoolExecutor) -> None:
    model, batcher = StubModel(), opened()
    jobs = held(model, batcher, pool, [1])
    with pytest.raises(TooLate) as late:
        QueuedSegmenter(model, batcher, 0.05).predict(picture(2))
    assert late.value.status == 503
    assert waiting(batcher) == 0, "it gave its place away"
    model.gate.set()
    jobs[0].result(20)
    assert sum(model.batches) == 1


def test_who_left_is_not_computed_for(opened: Open, pool: ThreadPoolExecutor) -> None:
    model, batcher = StubModel(), opened()
    jobs = held(model, batcher, pool, [1])
    gone = threading.Event()

    def cut_and_leave() -> None:
        with answering(gone.is_set):
            QueuedSegmenter(model, batcher, 20).predict(picture(2))

    leaving = pool.submit(cut_and_leave)
    until(lambda: waiting(batcher) == 1)
    gone.set()
    with pytest.raises(ClientGone):
        leaving.result(20)
    assert waiting(batcher) == 0
    model.gate.set()
    jobs[0].result(20)
    assert sum(model.batches) == 1
    assert sample(batcher.metrics, "arcp_queue_refused_total", reason="gone") == 1


def test_a_batch_that_does_not_fit_is_halved_and_the_size_remembered(opened: Open, pool: ThreadPoolExecutor) -> None:
    freed: list[bool] = []
    model, batcher = StubModel(fits=2), opened(free_memory=lambda: freed.append(True))
    reds = list(range(9))
    jobs = held(model, batcher, pool, reds)
    model.gate.set()
    assert [job.result(20)[0, 0] * 255 for job in jobs] == pytest.approx(reds)
    assert model.batches == [1, 2, 2, 2, 2]
    assert len(freed) == 3, "at 8, and at each 4"
    model.batches.clear()
    for job in held(model, batcher, pool, [1, 2, 3, 4, 5]):
        model.gate.set()
        job.result(20)
    assert model.batches == [1, 2, 2]


def test_one_picture_that_does_not_fit_is_refused_after_a_second_try(opened: Open) -> None:
    batcher = opened()
    with pytest.raises(OutOfMemory, match="does not fit"):
        QueuedSegmenter(StubModel(fits=0), batcher, 5).predict(picture(1))

    class FitsLater(StubModel):
        def infer(self, items: Any) -> list[Any]:
            self.fits += 1
            return super().infer(items)

    assert QueuedSegmenter(FitsLater(fits=-1), batcher, 5).predict(picture(255)).max() == 1


def test_one_bad_picture_does_not_spoil_the_others(opened: Open, pool: ThreadPoolExecutor) -> None:
    model, batcher = StubModel(broken=3), opened()
    jobs = held(model, batcher, pool, [1, 2, 3, 4])
    model.gate.set()
    for red, job in zip([1, 2, 3, 4], jobs, strict=True):
        if red == 3:
            with pytest.raises(ValueError, match="picture 3 cannot be done"):
                job.result(20)
        else:
            assert job.result(20)[0, 0] * 255 == pytest.approx(red)


def test_closing_refuses_what_waits(opened: Open, pool: ThreadPoolExecutor) -> None:
    model, batcher = StubModel(), opened()
    jobs = held(model, batcher, pool, [1, 2])
    closing = pool.submit(batcher.close)
    with pytest.raises(Busy, match="stopping"):
        jobs[1].result(20)
    model.gate.set()
    assert jobs[0].result(20)[0, 0] * 255 == pytest.approx(1)
    closing.result(20)
    with pytest.raises(Busy, match="stopping"):
        QueuedSegmenter(model, batcher, 5).predict(picture(1))


def test_plain_models_and_batch_models_run_too(opened: Open) -> None:
    class Plain:
        name = "plain"

        def predict(self, image: Any, tap: Any = None) -> Any:
            return np.full(image.shape[:2], tap[0], np.float32)

    class Batch(Plain):
        def predict_batch(self, images: Any) -> Any:
            return [np.full(image.shape[:2], 0.25, np.float32) for image in images]

    batcher = opened()
    assert QueuedSegmenter(Plain(), batcher, 5).predict(picture(1), (0.5, 0))[0, 0] == 0.5
    assert QueuedSegmenter(Batch(), batcher, 5).predict(picture(1))[0, 0] == 0.25
