from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from server import cut, load
from server.engine import Engine, EngineOptions, device, gpus, report, require_gpu, running, stages_of
from server.errors import BadOption, Busy, DeviceUnavailable, ModelUnavailable, TooLate, UnknownModel
from tests.server.engine.stubs import StubModel, picture


@pytest.mark.parametrize("model", ["grabcut", "lite"])
def test_the_engine_changes_nothing_about_a_cut(model: str, coffee: np.ndarray) -> None:
    alone = cut(coffee, load(model), tap=(300, 200))
    with running(Engine(model)) as engine, ThreadPoolExecutor(3, thread_name_prefix="arcp-test") as pool:
        together = list(pool.map(lambda _: engine.cut(coffee, tap=(300, 200)), range(3)))
    for cutout in together:
        assert np.array_equal(cutout.rgba, alone.rgba)
        assert cutout.box == alone.box
        assert cutout.model == model


def test_it_is_ready_once_warm_and_no_more_when_it_stops() -> None:
    with Engine(open_model=StubModel) as engine:
        with pytest.raises(Busy, match="loading"):
            engine.ready()
        engine.warm_up()
        engine.ready()
        assert engine.metrics.registry.get_sample_value("arcp_model_bytes", {"model": "lite"}) > 1e6
        assert engine.drain(10)
        with pytest.raises(Busy, match="stopping"):
            engine.ready()


def test_every_model_by_name_and_none_by_another(coffee: np.ndarray) -> None:
    with Engine("lite") as engine:
        assert engine.cut(coffee, "grabcut").model == "grabcut"
        assert engine.shelf.names() == ["grabcut"]
        with pytest.raises(UnknownModel, match="grabcut"):
            engine.cut(coffee, "grabcutt")


def test_weights_are_for_the_default_model_alone(coffee: np.ndarray, tmp_path: Path) -> None:
    with Engine("grabcut", weights=tmp_path / "missing.onnx") as engine:
        assert engine.cut(coffee, "lite").model == "lite"


def test_options_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCP_QUEUE", "7")
    monkeypatch.setenv("ARCP_DEADLINE_S", "2.5")
    options = EngineOptions.from_environment()
    assert (options.queue, options.deadline_s, options.max_batch) == (7, 2.5, EngineOptions.max_batch)
    monkeypatch.setenv("ARCP_QUEUE", "many")
    with pytest.raises(BadOption, match="ARCP_QUEUE"):
        EngineOptions.from_environment()


def test_predictors_that_do_more_than_their_stages_are_not_split() -> None:
    pytest.importorskip("torch")
    from server.predictors.meticulous import MeticulousLowPredictor
    from server.predictors.pgsnet import PGSNetPredictor
    from tests.server.predictors.test_base import Brightness, pictures

    predictor = PGSNetPredictor(Brightness(), "pgsnet", device="cpu")
    stages = predictor.stages()
    assert stages is not None
    outputs = stages.infer([stages.prepare(photo, None) for photo in pictures()])
    for photo, output, mask in zip(pictures(), outputs, predictor.predict_batch(pictures()), strict=True):
        assert np.allclose(stages.finish(output, photo), mask, atol=1e-6)

    class Refining(MeticulousLowPredictor):
        def predict_batch(self, images: object) -> list[np.ndarray]:
            return []

    refining = Refining(Brightness(), "meticulousnet-l", device="cpu")
    assert refining.stages() is None
    assert stages_of(refining).infer == refining.predict_batch


def test_without_a_driver_there_is_no_gpu_and_the_report_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "gpus", tuple)
    with pytest.raises(DeviceUnavailable, match="--require-gpu"):
        require_gpu()
    assert report("auto")["device"] == "cpu"
    assert report("auto")["gpu"] == "none"
    monkeypatch.setattr(device, "gpus", lambda: (device.Gpu(0, "Card", 8 << 30),))
    require_gpu()
    assert report("auto") | {"cpu": ""} == report("cuda") | {"cpu": ""}
    assert report("auto")["gpu"] == "Card (8 GiB)"
    assert report("cpu")["device"] == "cpu"


@pytest.mark.gpu
def test_the_driver_lists_the_card() -> None:
    if not gpus():
        pytest.skip("needs a CUDA device")
    assert gpus()[0].memory > 1 << 30


class Refiner(StubModel):
    """Stands for an installed network at the boundary; notes in which thread it was asked."""

    def refine(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        assert mask.shape == image.shape[:2]
        self.gate.wait(30)
        self.threads = [*getattr(self, "threads", []), threading.current_thread().name]
        return mask


@pytest.fixture
def with_refiner(monkeypatch: pytest.MonkeyPatch) -> dict[str, StubModel]:
    """Models that an engine opened, by name; the boundary believes that a refining network is installed."""
    monkeypatch.setattr("server.boundary.installed", lambda names: "mobile-meticulousnet-h")
    return {}


def opener(opened: dict[str, StubModel]) -> Callable[[str], StubModel]:
    def open_model(name: str) -> StubModel:
        opened[name] = Refiner(name) if name.endswith("-h") else StubModel(name)
        return opened[name]

    return open_model


def test_companions_run_where_the_device_is_owned_and_count_in_the_budget(with_refiner: dict[str, StubModel]) -> None:
    with Engine("grabcut", open_model=opener(with_refiner)) as engine:
        cutout = engine.cut(picture(230), refine=True)
        assert cutout.methods == {"boundary": "mobile-meticulousnet-h"}
        (thread,) = with_refiner["mobile-meticulousnet-h"].threads  # type: ignore[attr-defined]
        assert thread.startswith("arcp-engine-")
        assert engine.shelf.names() == ["grabcut", "mobile-meticulousnet-h"]
    small = EngineOptions(model_memory_mb=1)
    with Engine("grabcut", open_model=opener(with_refiner), options=small) as engine:
        with pytest.raises(ModelUnavailable, match="ARCP_MODEL_MEMORY_MB"):
            engine.cut(picture(230), refine=True)
        assert engine.cut(picture(230)).model == "grabcut"


def test_a_companion_keeps_the_deadline(with_refiner: dict[str, StubModel]) -> None:
    options = EngineOptions(deadline_s=0.3)
    with Engine("grabcut", open_model=opener(with_refiner), options=options) as engine:
        engine.cut(picture(230), refine=True)
        refiner = with_refiner["mobile-meticulousnet-h"]
        refiner.gate.clear()
        try:
            with pytest.raises(TooLate):
                engine.cut(picture(230), refine=True)
        finally:
            refiner.gate.set()
