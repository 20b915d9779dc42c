"""The table of all exports: what is made, what is kept from before, what fails. A stand-in exports: others test the real one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from export import exporting, fitness, parity, report
from export.__main__ import main
from export.errors import BadChoice, CannotWrite, MissingWeights, NotEqual
from export.exporting import Exported, Options
from export.report import KEPT, Report, Row, export_all, table
from export.targets import Target, check_choice, file_name

PARITY = parity.Parity(1e-6, 1e-7, 0.0, 0.0, 0.0)
BROKEN = ("basnet", "coreml", "fp16")


class StandIn:
    """Writes a short file for each export; ``made`` notes them. Without weights, but for lite."""

    made: list[tuple[str, str, str]]

    def __init__(self, target: Target, size: int | None, options: Options, progress: Any = None) -> None:
        if target.name != "lite" and not options.random_weights:
            raise MissingWeights(f"no weights for {target.name}")
        self.target, self.size = target, check_choice(target, "onnx", "fp32", size)

    def export(self, format_: str, precision: str, folder: Path) -> Exported:
        if (self.target.name, format_, precision) == BROKEN:
            raise NotEqual("it does not compute what the network computes")
        type(self).made.append((self.target.name, format_, precision))
        path = folder / file_name(self.target, self.size, format_, precision)
        folder.mkdir(exist_ok=True)
        for file in (path, path.with_name(f"{path.name}.md"), path.with_name(f"{path.name}.sha256")):
            file.write_text("made")
        fit = fitness.Fitness("ONNX, opset 18", Counter(Conv=3))
        trained = self.target.name == "lite"
        return Exported(self.target, self.size, format_, precision, path, 4, PARITY, fit, trained, "", None, 0, 7.0)


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    StandIn.made = []
    monkeypatch.setattr(exporting, "Exporter", StandIn)


def made(models: list[str], folder: Path, **options: Any) -> list[Row]:
    return export_all(models, folder, Options(), ("fp32", "fp16"), **options)


def test_every_format_is_made_and_a_failure_does_not_stop_the_rest(tmp_path: Path) -> None:
    rows = made(["basnet", "lite"], tmp_path)
    assert [row.key for row in rows if row.failed] == [" ".join(BROKEN)]
    assert len(StandIn.made) == 7
    assert {row.model: row.note for row in rows if row.bytes} == {"basnet": "random weights", "lite": ""}


def test_what_is_there_and_still_true_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = made(["lite"], tmp_path)
    StandIn.made = []
    assert made(["lite"], tmp_path) == first
    assert StandIn.made == []
    (tmp_path / "lite-256-fp16.onnx").unlink()
    made(["lite"], tmp_path)
    assert StandIn.made == [("lite", "onnx", "fp16")]
    monkeypatch.setattr(report, "source_of", lambda target, options: "other weights")
    made(["lite"], tmp_path)
    assert len(StandIn.made) == 5


def test_a_failure_is_tried_again(tmp_path: Path) -> None:
    made(["basnet"], tmp_path, formats=("coreml",))
    StandIn.made = []
    assert made(["basnet"], tmp_path, formats=("coreml",))[-1].failed
    assert StandIn.made == []


def test_measuring_alone_leaves_no_files(tmp_path: Path) -> None:
    made(["lite"], tmp_path, table_only=True)
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == [KEPT]
    StandIn.made = []
    made(["lite"], tmp_path, table_only=True)
    assert StandIn.made == []


def test_what_no_phone_loads_is_not_made_for_phones(tmp_path: Path) -> None:
    rows = export_all(["pgsnet"], tmp_path, Options(), ("fp32", "int8", "palette6"))
    assert [(row.format, row.precision) for row in rows] == [("onnx", "fp32"), ("coreml", "")]
    assert rows[1].note.startswith("not made: 197 M parameters")
    assert not rows[1].failed


def test_one_command_makes_the_table(tmp_path: Path) -> None:
    for model in ("lite", "gem-tiny"):
        asked = CliRunner().invoke(
            main, ["all", "--report", "--model", model, "--precision", "fp32", "-o", str(tmp_path)]
        )
        assert asked.exit_code == 0, asked.output
    lines = (tmp_path / "report.md").read_text().splitlines()
    assert len(lines) == 6  # of both runs
    assert lines[2] == "| lite | 256 | onnx | fp32 | 0.00 | 3 | 1.0e-06 | 1.0e-07 | 0.000 % |  | 7 |  |"
    assert {line.count("|") for line in lines} == {13}
    failed = CliRunner().invoke(main, ["all", "--model", "basnet", "-o", str(tmp_path)])
    assert failed.exit_code == 1
    assert "1 failed" in failed.output


def test_wrong_choices_and_folders(tmp_path: Path) -> None:
    asked = CliRunner().invoke(main, ["all", "--precision", "fp8", "-o", str(tmp_path)])
    assert isinstance(asked.exception, BadChoice)
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match="another folder"):
        Report(tmp_path / "file" / "models").add(Row("lite", "onnx", "fp32"))


def test_a_row_of_no_file_says_why() -> None:
    line = table([Row("pgsnet", "coreml", "", note="not made: too large")]).splitlines()[-1]
    assert line == "| pgsnet |  | coreml |  |  |  |  |  |  |  |  | not made: too large |"
