from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from server import registry
from server.errors import BadInput
from server.evaluation.command import evaluate as command
from server.evaluation.dataset import open_dataset
from server.evaluation.runner import evaluate
from server.evaluation.scores import score, summarise
from server.evaluation.sheet import CELL, ContactSheet
from tests.server.evaluation.cases import pair
from tests.server.evaluation.scenes import STEMS, Brightness, encoded, files, scene, write, write_tar


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "set", files("{}.png", "{}.mask.png", "PNG"))


def test_a_model_that_is_right_scores_full_marks(folder: Path) -> None:
    report = evaluate(Brightness(), open_dataset(folder), matte=True)
    values = {name: figure.value for name, figure in report.figures.items()}
    for name in ("weighted_f", "max_f", "s_measure", "iou", "boundary_f", "mba", "mq"):
        assert values[name] == pytest.approx(1), name
    for name in ("mae", "ber", "sad", "mse", "mad", "grad", "conn"):
        assert values[name] == pytest.approx(0, abs=1e-9), name
    assert [item.stem for item in report.scores] == list(STEMS)


def test_a_pale_map_is_stretched_for_saliency_only(folder: Path) -> None:
    figures = evaluate(Brightness(gain=0.4), open_dataset(folder), matte=True).figures
    assert figures["weighted_f"].value == pytest.approx(1), "toolboxes stretch the map"
    assert figures["iou"].value == 0, "nothing is above one half"
    area = np.mean([scene(index)[1].mean() / 255 for index in range(4)])
    assert figures["mad"].value == pytest.approx(0.6 * area, rel=1e-5)


def test_damaged_pictures_are_reported_and_the_rest_goes_on(folder: Path) -> None:
    (folder / "boat.png").write_bytes(b"no picture")
    (folder / "cup.mask.png").write_bytes(encoded(scene(0)[1][1:], "PNG"))
    (folder / "lone.png").write_bytes(encoded(scene(0)[0], "PNG"))
    report = evaluate(Brightness(), open_dataset(folder))
    assert [item.stem for item in report.scores] == ["apple", "dog"]
    assert [name for name, _ in report.skipped] == ["lone.png", "boat.png", "cup.png"]


def test_nothing_usable_is_an_error(folder: Path) -> None:
    for stem in STEMS:
        (folder / f"{stem}.png").write_bytes(b"no picture")
    with pytest.raises(BadInput, match=r"apple\.png"):
        evaluate(Brightness(), open_dataset(folder))


def test_intervals_hold_the_mean_and_shrink_with_more_pictures() -> None:
    scores = [score(str(seed), *(map_.astype(np.float32) for map_ in pair(seed, 40, 50))) for seed in range(24)]
    few, many = summarise(scores[:6]), summarise(scores)
    for name, figure in many.items():
        assert figure.low <= figure.value <= figure.high, name
        assert figure.high > figure.low, name
    assert many["mae"].value == pytest.approx(np.mean([item.values["mae"] for item in scores]))
    assert many["iou"].high - many["iou"].low < few["iou"].high - few["iou"].low
    standard_error = np.std([item.values["iou"] for item in scores]) / np.sqrt(24)
    assert many["iou"].high - many["iou"].low == pytest.approx(2 * 1.96 * standard_error, rel=0.15)
    assert summarise(scores) == many, "the same pictures give the same intervals"


def test_max_f_of_a_dataset_is_the_maximum_of_the_mean_curve() -> None:
    """Each picture's best threshold differs, so the dataset's maximum is below the mean of the maxima."""
    scores = [score(str(seed), *(map_.astype(np.float32) for map_ in pair(seed, 40, 50))) for seed in range(6)]
    figure = summarise(scores)["max_f"]
    assert figure.value == pytest.approx(np.mean([item.f for item in scores], axis=0).max())
    assert figure.value < np.mean([item.values["max_f"] for item in scores])


@pytest.mark.parametrize("value", [1.01, -0.01, np.nan])
def test_a_map_that_leaves_its_range_is_refused(value: float) -> None:
    prediction, truth = (map_.astype(np.float32) for map_ in pair(0))
    prediction[3, 3] = value
    with pytest.raises(ValueError, match=r"map of cup is not in \[0, 1\]"):
        score("cup", prediction, truth)


def test_one_picture_has_no_spread() -> None:
    prediction, truth = (map_.astype(np.float32) for map_ in pair(0))
    figure = summarise([score("one", prediction, truth)])["mae"]
    assert figure.low == figure.high == pytest.approx(figure.value)


def test_the_sheet_shows_the_extremes() -> None:
    sheet = ContactSheet("iou", rows=2)
    for index in range(5):
        level = np.float32(index / 4)
        map_ = np.full((30, 60), level)
        sheet.add(f"picture-{index}-with-a-name-that-is-much-too-long-for-its-caption-to-hold-it-in-one-line", float(level),
                  np.full((30, 60, 3), 50 * index, np.uint8), map_, 1 - map_)  # fmt: skip
    image = sheet.image()
    assert image.dtype == np.uint8
    assert image.shape[1] == 2 * 3 * CELL + 40
    middle = 10 + 20 + CELL // 2
    photo, truth, prediction = (10 + CELL * column + CELL // 2 for column in range(3))
    right = 3 * CELL + 20
    assert image[middle, [photo, truth, prediction]].tolist() == [[200] * 3, [255] * 3, [0] * 3], "the best first"
    worst = image[middle, [right + photo, right + truth, right + prediction]].tolist()
    assert worst == [[0] * 3, [0] * 3, [255] * 3]


@pytest.fixture
def brightness(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    calls: list[tuple[object, ...]] = []

    def load(name: str, *, weights: Path | None = None, device: str = "auto") -> Brightness:
        calls.append((name, weights, device))
        return Brightness()

    monkeypatch.setattr(registry, "load", load)
    return calls


def test_command_writes_json_csv_and_sheet(tmp_path: Path, brightness: list[tuple[object, ...]]) -> None:
    shard = write_tar(
        tmp_path / "shard.tar", files("{}.webp", "{}.mask.png", "WEBP") | {"lone.webp": encoded(scene(0)[0], "WEBP")}
    )
    options = [
        "--model",
        "x",
        "--data",
        str(shard),
        "--json",
        "--csv",
        str(tmp_path / "o.csv"),
        "--sheet",
        str(tmp_path / "o.png"),
    ]
    result = CliRunner().invoke(command, [*options, "--limit", "3", "--weights", "w.safetensors", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert brightness == [("x", Path("w.safetensors"), "cpu")]
    assert (report["model"], report["data"], report["images"]) == ("brightness", "shard.tar", 3)
    assert report["metrics"]["iou"]["low"] <= report["metrics"]["iou"]["value"] <= report["metrics"]["iou"]["high"]
    assert report["skipped"] == [{"file": "lone.webp", "reason": "no mask of this name"}]
    assert "skipped lone.webp" in result.stderr
    rows = list(csv.DictReader((tmp_path / "o.csv").read_text().splitlines()))
    assert [row["image"] for row in rows] == ["apple", "boat", "cup"]
    assert float(rows[0]["iou"]) == pytest.approx(report["metrics"]["iou"]["value"], abs=0.1)
    with Image.open(tmp_path / "o.png") as sheet:
        assert sheet.size[0] == 2 * 3 * CELL + 40


def test_command_prints_a_table_with_two_folders(tmp_path: Path, brightness: list[tuple[object, ...]]) -> None:
    write(tmp_path, files("photos/{}.png", "truth/{}.png", "PNG"))
    options = ["--model", "x", "--data", str(tmp_path / "photos"), "--masks", str(tmp_path / "truth"), "--matte"]
    result = CliRunner().invoke(command, options)
    assert result.exit_code == 0, result.output
    assert "4 pictures" in result.stdout
    lines = {line.split()[0]: line for line in result.stdout.splitlines()[1:]}
    assert {"weighted_f", "mq", "sad", "conn"} <= lines.keys()
    assert "1.0000   [1.0000, 1.0000]" in lines["iou"]


def test_many_problems_are_not_all_printed(tmp_path: Path, brightness: list[tuple[object, ...]]) -> None:
    extra = {f"lone{index}.webp": b"" for index in range(30)}
    shard = write_tar(tmp_path / "shard.tar", files("{}.webp", "{}.mask.png", "WEBP") | extra)
    result = CliRunner().invoke(command, ["--model", "x", "--data", str(shard)])
    assert result.stderr.count("skipped lone") == 20
    assert "10 more skipped" in result.stderr
