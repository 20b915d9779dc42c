from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from server.engine import Shelf
from server.errors import Busy, ModelUnavailable, UnknownModel
from tests.server.engine.stubs import StubModel

SIZES = {"small": 40, "kept": 30, "other": 40, "large": 90}


def size_of(name: str) -> int:
    if name not in SIZES:
        raise UnknownModel(name)
    return SIZES[name]


def shelf(budget: int | None = 100) -> tuple[Shelf, list[str]]:
    opened: list[str] = []

    def open_model(name: str) -> StubModel:
        opened.append(name)
        return StubModel(name)

    return Shelf(open_model, size_of, budget=budget, kept="kept"), opened


def use(models: Shelf, *names: str) -> None:
    for name in names:
        with models.borrow(name) as segmenter:
            assert segmenter.name == name


def test_a_model_is_loaded_once_and_kept() -> None:
    models, opened = shelf()
    use(models, "small", "small", "kept", "small")
    assert opened == ["small", "kept"]
    assert models.names() == ["kept", "small"]


def test_the_one_used_longest_ago_makes_room_but_never_the_default() -> None:
    models, opened = shelf()
    use(models, "kept", "small", "other")
    assert models.names() == ["kept", "other"]
    assert models.metrics.registry.get_sample_value("arcp_model_unloaded_total", {"model": "small"}) == 1
    assert models.metrics.registry.get_sample_value("arcp_model_bytes", {"model": "small"}) is None
    assert models.metrics.registry.get_sample_value("arcp_model_bytes", {"model": "other"}) == 40
    use(models, "small")
    assert opened == ["kept", "small", "other", "small"]


def test_a_model_in_use_stays() -> None:
    models, _ = shelf()
    with models.borrow("small"), models.borrow("kept"):
        with pytest.raises(Busy, match="in use"):
            use(models, "other")
        models.unload_idle()
        assert models.names() == ["small", "kept"]
    use(models, "other")
    assert models.names() == ["kept", "other"]


def test_a_model_over_the_whole_budget_is_refused_with_the_setting_to_raise() -> None:
    models, _ = shelf()
    use(models, "kept")
    with pytest.raises(ModelUnavailable, match="ARCP_MODEL_MEMORY_MB"):
        use(models, "large")
    unlimited, _ = shelf(budget=None)
    use(unlimited, "kept", "small", "other", "large")
    assert len(unlimited.names()) == 4


def test_unknown_names_leave_nothing_behind() -> None:
    models, _ = shelf()
    with pytest.raises(UnknownModel):
        use(models, "nothing")
    assert not models._loading


def test_two_who_want_it_at_once_load_it_once_and_others_are_served_meanwhile() -> None:
    loading, proceed = threading.Event(), threading.Event()
    opened: list[str] = []

    def open_model(name: str) -> StubModel:
        opened.append(name)
        if name == "small":
            loading.set()
            assert proceed.wait(20)
        return StubModel(name)

    models = Shelf(open_model, size_of, budget=100, kept="kept")
    with ThreadPoolExecutor(2, thread_name_prefix="arcp-test") as pool:
        first = pool.submit(use, models, "small")
        assert loading.wait(20)
        second = pool.submit(use, models, "small")
        use(models, "kept")
        with pytest.raises(Busy):
            use(models, "other")
        proceed.set()
        first.result(20)
        second.result(20)
    assert opened == ["small", "kept"]


def test_a_model_that_cannot_be_loaded_takes_no_room() -> None:
    def broken(name: str) -> StubModel:
        raise ModelUnavailable("Install it.")

    models = Shelf(broken, size_of, budget=100, kept="kept")
    for _ in range(5):
        with pytest.raises(ModelUnavailable, match="Install it"):
            use(models, "small")
    models.open = StubModel
    use(models, "small")
