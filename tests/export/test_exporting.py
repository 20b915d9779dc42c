"""The two models that phones run most, in both formats: proven, described, usable without our code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from export import exporting, parity, pictures, quantising, running, snippets, targets, writing
from export.__main__ import main
from export.errors import QualityLost
from export.exporting import Exported, Exporter, Options
from export.fitness import check, peak_bytes
from server.networks import meticulous

PHOTO = pictures.SHIPPED / "coffee.jpg"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def lite(folder: Path) -> dict[tuple[str, str], Exported]:
    exporter = Exporter(targets.find("lite"), None, Options())
    kinds = [("onnx", "fp32"), ("onnx", "fp16"), ("onnx", "int8"), ("coreml", "fp16")]
    return {kind: exporter.export(*kind, folder) for kind in kinds}


@pytest.fixture(scope="module")
def mobile_exporter() -> Iterator[Exporter]:
    """Every cell of every grid is rewritten: without the selection, whose near ties rounding decides, files can be held to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meticulous, "UNCERTAIN_SHARE", 1.0)
        yield Exporter(targets.find("mobile-meticulousnet-l"), 224, Options(random_weights=True))


@pytest.fixture(scope="module")
def mobile(mobile_exporter: Exporter, folder: Path) -> dict[str, Exported]:
    return {format_: mobile_exporter.export(format_, "fp32", folder) for format_ in targets.FORMATS}


@pytest.fixture(scope="module")
def mobile_in_float32(mobile_exporter: Exporter) -> float:
    """How far torch's own float32 is from its float64: networks with made-up weights enlarge any rounding."""
    network = running.TorchRunner(mobile_exporter.graph)
    maps = [network.run(feed) for feed in mobile_exporter.feeds[: len(mobile_exporter.expected)]]
    return parity.compare(maps, mobile_exporter.expected).largest


def test_parity_is_gated(
    lite: dict[tuple[str, str], Exported], mobile: dict[str, Exported], mobile_in_float32: float
) -> None:
    """The exporter raises beyond the gates; the promised numbers stand here, so that a gate cannot be loosened unseen."""
    assert lite["onnx", "fp32"].parity.largest <= 2e-5
    for format_ in targets.FORMATS:
        half = lite[format_, "fp16"].parity
        assert half.mean <= 2e-3
        assert half.flipped <= 1e-3
        assert mobile[format_].parity.largest <= max(2e-5, mobile_in_float32)
    assert lite["onnx", "int8"].parity.mean <= 0.02


def test_sizes(lite: dict[tuple[str, str], Exported], mobile: dict[str, Exported]) -> None:
    assert mobile["onnx"].target.parameters == 3_332_054
    assert mobile["onnx"].bytes <= 2 * 6.8e6
    assert lite["onnx", "fp16"].bytes <= 7.4e6
    assert lite["coreml", "fp16"].bytes <= 7.6e6
    assert lite["onnx", "int8"].bytes <= 4.2e6


@pytest.mark.parametrize("format_", targets.FORMATS)
def test_a_file_says_what_it_is(lite: dict[tuple[str, str], Exported], format_: str) -> None:
    done = lite[format_, "fp16"]
    metadata = check(done.path).metadata
    assert metadata["model"] == "lite"
    assert metadata["precision"] == "fp16"
    assert "non-commercial" in metadata["licence"]
    assert "in 0..255" in metadata["input"]
    assert len(metadata["source_commit"]) >= 7
    assert metadata["weights"].startswith("lite.safetensors ")
    card = done.path.with_name(f"{done.path.name}.md").read_text()
    assert "RANDOM" not in card
    assert "## Proof" in card
    sums = done.path.with_name(f"{done.path.name}.sha256").read_text()
    assert sums == writing.digests(done.path)
    assert sums.strip() in card


def test_a_quantised_file_says_what_calibrated_it(lite: dict[tuple[str, str], Exported]) -> None:
    done = lite["onnx", "int8"]
    assert check(done.path).metadata["calibration"] == "24 pictures"  # eight views of each of the shipped photographs
    assert "int8, calibrated on 24 pictures" in done.path.with_name(f"{done.path.name}.md").read_text()


@pytest.mark.parametrize(("gmacs", "expected"), [(0.6, 100), (15.0, 100), (127.0, 11), (400.0, 8)])
def test_large_networks_are_calibrated_on_fewer_pictures(gmacs: float, expected: int) -> None:
    feeds = [{"image": np.full((1, 1), index, np.float32)} for index in range(100)]
    chosen = [int(feed["image"][0, 0]) for feed in quantising.calibrating(feeds, gmacs)]
    assert len(chosen) == expected
    assert chosen[0] == 0
    assert np.ptp(np.diff(chosen)) <= 1


def test_made_up_weights_are_named_everywhere(mobile: dict[str, Exported]) -> None:
    for done in mobile.values():
        assert "RANDOM WEIGHTS" in done.path.with_name(f"{done.path.name}.md").read_text()
        assert "RANDOM WEIGHTS" in check(done.path).metadata["description"]


def test_the_program_holds_no_paths_of_the_machine(lite: dict[tuple[str, str], Exported]) -> None:
    assert b"/server/networks" not in lite["onnx", "fp32"].path.read_bytes()


def test_coreml_takes_an_image(lite: dict[tuple[str, str], Exported]) -> None:
    description = running.CoreMLRunner(lite["coreml", "fp16"].path).program.description
    (image,) = description.input
    assert (image.name, image.type.WhichOneof("Type")) == ("image", "imageType")
    assert (image.type.imageType.width, image.type.imageType.height) == (256, 256)
    assert [output.name for output in description.output] == ["result"]
    assert description.metadata.author
    assert description.metadata.license
    assert description.metadata.shortDescription


def test_the_server_runs_the_exported_default(lite: dict[tuple[str, str], Exported]) -> None:
    from server.images import decode
    from server.segmenters.lite import LiteSegmenter

    photo = decode(PHOTO.read_bytes())
    ours = LiteSegmenter(lite["onnx", "fp32"].path).predict(photo)
    shipped = LiteSegmenter().predict(photo)
    assert np.abs(ours - shipped).max() <= 1e-4


def test_the_python_snippet_cuts(lite: dict[tuple[str, str], Exported], tmp_path: Path) -> None:
    done = lite["onnx", "fp16"]
    card = done.path.with_name(f"{done.path.name}.md").read_text()
    script = snippets.python(done.path.name, done.size, False)
    assert script in card
    (tmp_path / done.path.name).write_bytes(done.path.read_bytes())
    (tmp_path / "photo.jpg").write_bytes(PHOTO.read_bytes())
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    with Image.open(tmp_path / "cutout.png") as cutout, Image.open(PHOTO) as photo:
        assert cutout.size == photo.size
        alpha = np.asarray(cutout.getchannel("A"))
    assert alpha[alpha.shape[0] // 2, alpha.shape[1] // 2] > 200
    assert 0.1 < (alpha > 127).mean() < 0.95


def test_check_finds_what_leaves_the_neural_engine(
    lite: dict[tuple[str, str], Exported], mobile: dict[str, Exported]
) -> None:
    for format_ in targets.FORMATS:
        fit = lite[format_, "fp16"].fitness
        assert not fit.off_engine
        assert not fit.problems
        assert 2e6 < fit.peak_bytes < 5e7
        assert mobile[format_].fitness.off_engine["top-k"] == 7
    asked = CliRunner().invoke(main, ["check", str(lite["onnx", "fp32"].path)])
    for runtime in ("NNAPI", "CoreML MLProgram"):
        assert f"nodes can be handled by the {runtime} EP" in asked.output
        assert f"Model should perform well with {runtime} as is" in asked.output


def test_check_fails_on_custom_operations_and_free_shapes(
    lite: dict[tuple[str, str], Exported], tmp_path: Path
) -> None:
    model = onnx.load(lite["onnx", "fp32"].path)
    model.graph.node[-1].domain = "my.own"
    model.opset_import.append(onnx.helper.make_opsetid("my.own", 1))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(model, tmp_path / "custom.onnx")
    asked = CliRunner().invoke(main, ["check", str(tmp_path / "custom.onnx"), "--json"])
    assert asked.exit_code == 1
    problems = " ".join(json.loads(asked.output)["problems"])
    assert "my.own.Sigmoid" in problems
    assert "no fixed size" in problems


def test_bench_compares_in_one_run(lite: dict[tuple[str, str], Exported]) -> None:
    paths = [str(lite[kind].path) for kind in (("onnx", "fp32"), ("onnx", "int8"), ("coreml", "fp16"))]
    asked = CliRunner().invoke(main, ["bench", *paths, "--seconds", "0.1", "--json"])
    assert asked.exit_code == 0, asked.output
    first, second, third = json.loads(asked.output)
    assert first["cpu_ms"] > 0
    assert second["cpu_ms"] > 0
    assert third["cpu_ms"] is None


def test_the_evaluator_rounds_as_the_file_says(lite: dict[tuple[str, str], Exported]) -> None:
    """Half precision shows in the evaluated map, so its parity is no comparison of float32 with itself."""
    assert lite["coreml", "fp16"].parity.largest > 10 * lite["onnx", "fp32"].parity.largest


@pytest.mark.macos
@pytest.mark.skipif(sys.platform != "darwin", reason="CoreML runs on macOS only")
def test_apples_runtime_agrees(lite: dict[tuple[str, str], Exported]) -> None:
    feed = pictures.feeds(targets.find("lite"), 256, pictures.views(pictures.folder(None)), 1)[0]
    package = lite["coreml", "fp16"].path
    ours, apples = running.CoreMLRunner(package).run(feed), running.ApplesRunner(package).run(feed)
    assert np.abs(ours - apples).mean() <= 2e-3


def test_peak_memory_counts_what_lives_at_once() -> None:
    steps = [(["x"], ["a"]), (["a"], ["b"]), (["a", "b"], ["c"])]
    assert peak_bytes(steps, {"x": 100, "a": 10, "b": 5, "c": 1}, ["c"]) == 110
    assert peak_bytes(steps, {"x": 1, "a": 10, "b": 5, "c": 50}, ["c"]) == 65


def test_a_worse_file_is_not_offered(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the real loop around two scores: .80 as a network, .79 as a file."""
    from server.evaluation.dataset import Dataset

    scores = iter([(0.80, 5), (0.79, 5)])
    monkeypatch.setattr(exporting, "_weighted_f", lambda *given: next(scores))
    exporter = Exporter.__new__(Exporter)
    exporter.target, exporter.size, exporter.graph = targets.find("lite"), 256, None
    exporter.options, exporter.progress = Options(validate=Dataset("made up", [])), lambda line: None
    with pytest.raises(QualityLost, match=r"0\.8000 to 0\.7900.*--allow-worse"):
        exporter._quality(running.TorchRunner(None), "int8")
