"""Each way an export can fail: one clear line, and nothing half-written."""

from __future__ import annotations

import errno
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from onnx import helper

from export import memory, networks, targets
from export.__main__ import main
from export.errors import (
    BadChoice,
    CannotWrite,
    ConversionFailed,
    ExportError,
    MissingWeights,
    TooLittleMemory,
    UnknownTarget,
    UnreadableModel,
)
from export.running import OnnxRunner
from export.writing import whole_or_nothing
from tests.export.test_rewriting import X, model_of


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["nosuch", "--format", "onnx"], UnknownTarget, "export list"),
        (["lite", "--format", "tflite"], BadChoice, "onnx or coreml"),
        (["lite", "--format", "onnx", "--precision", "palette6"], BadChoice, "int8"),
        (["lite", "--format", "onnx", "--size", "99"], BadChoice, "--size"),
        (["gem-tiny", "--format", "onnx"], MissingWeights, "--random-weights"),
        (["lite", "--format", "onnx", "--pictures", "nowhere"], BadChoice, "--pictures"),
        (["lite", "--format", "onnx", "--validate", "nowhere"], BadChoice, "nowhere"),
        (["lite", "--format", "onnx", "--weights", "nowhere.safetensors"], MissingWeights, "nowhere.safetensors"),
    ],
)
def test_a_wrong_request_writes_nothing(
    arguments: list[str], error: type[ExportError], message: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    asked = CliRunner().invoke(main, [*arguments, "-o", str(out)])
    assert isinstance(asked.exception, error)
    assert message in str(asked.exception)
    assert not out.exists()


def test_too_little_memory_is_said_before_anything_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "meminfo"
    state.write_text("MemTotal: 8000000 kB\nMemAvailable: 5000000 kB\nSwapFree: 1000000 kB\n")
    monkeypatch.setattr(memory, "STATE", state)
    monkeypatch.setattr(networks, "load", lambda *given: pytest.fail("the network was built"))
    asked = CliRunner().invoke(
        main, ["gfm-r101-tt", "--format", "onnx", "--random-weights", "-o", str(tmp_path / "out")]
    )
    assert isinstance(asked.exception, TooLittleMemory)
    assert "497 M parameters" in str(asked.exception)
    assert "6 GB are free" in str(asked.exception)
    memory.require(targets.find("lite"))
    state.unlink()
    memory.require(targets.find("gfm-r101-tt"))  # nobody knows


def test_an_error_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "export", "lite", "--format", "tflite", "-o", str(tmp_path)]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert asked.returncode == 1
    assert asked.stderr == "Error: 'tflite' is not a format: use onnx or coreml.\n"


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "cut.onnx").write_bytes(b"\x08\x0a garbage")
    (tmp_path / "empty.mlpackage").mkdir()
    broken = tmp_path / "broken.mlpackage"
    (broken / "Data" / "weights").mkdir(parents=True)
    (broken / "Manifest.json").write_text("{}")
    (tmp_path / "photo.jpg").write_bytes(b"")
    for name in ("cut.onnx", "empty.mlpackage", "broken.mlpackage", "photo.jpg", "missing.onnx"):
        for command in ("check", "bench"):
            asked = CliRunner().invoke(main, [command, str(tmp_path / name)])
            if command == "bench" and name.endswith("n.mlpackage"):
                continue  # packages are not opened there: they run on Apple's devices only
            if command == "bench" and name == "empty.mlpackage":
                continue
            assert isinstance(asked.exception, UnreadableModel), (command, name, asked.output)
            assert name in str(asked.exception)


def test_no_room_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("before")

    def fill_the_disk() -> None:
        with whole_or_nothing(tmp_path) as partial:
            (partial / "model.onnx").write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(CannotWrite, match="Make room"):
        fill_the_disk()
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert (tmp_path / "model.onnx").read_text() == "before"


def test_a_failed_export_leaves_nothing(tmp_path: Path) -> None:
    def interrupt() -> None:
        with whole_or_nothing(tmp_path) as partial:
            (partial / "model.mlpackage").mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named_for_a_package_too(tmp_path: Path) -> None:
    """A package's files are copied as a tree, whose errors come as a list."""

    def fill_the_disk() -> None:
        with whole_or_nothing(tmp_path) as partial:
            raise shutil.Error([("from", str(partial), "[Errno 28] No space left on device: 'weight.bin'")])

    with pytest.raises(CannotWrite, match=r"No space left on device.*Make room"):
        fill_the_disk()
    assert list(tmp_path.iterdir()) == []


def test_a_terminated_export_leaves_nothing(tmp_path: Path) -> None:
    code = """
import sys, time
from pathlib import Path
from export import __main__ as command
from export.running import OnnxRunner
from export.writing import whole_or_nothing
from tests.export.test_rewriting import X, model_of

def main():
    with whole_or_nothing(Path(sys.argv[1])) as partial:
        (partial / "model.onnx").write_text("half")
        print("writing", flush=True)
        time.sleep(60)

command.main = main
command.run()
"""
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as export:
        assert export.stdout is not None
        assert export.stdout.readline() == "writing\n"
        assert len(list(tmp_path.iterdir())) == 1
        export.terminate()
        assert export.wait(timeout=60) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match="-o"), whole_or_nothing(tmp_path / "file" / "models"):
        pass


def test_a_package_replaces_the_one_before(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with whole_or_nothing(tmp_path) as partial:
            (partial / "model.mlpackage").mkdir()
            (partial / "model.mlpackage" / text).write_text(text)
    assert [path.name for path in (tmp_path / "model.mlpackage").iterdir()] == ["second"]


def test_a_base_install_is_told_which_extra_is_missing(tmp_path: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; from export.__main__ import run; run()"
    arguments = ["lite", "--format", "onnx", "-o", str(tmp_path / "out")]
    asked = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert asked.returncode == 1
    assert asked.stderr == "Error: The package 'torch' is missing: pip install 'ar-copy-paste[export]'.\n"


def test_a_file_that_loads_but_cannot_run_is_told_in_one_line() -> None:
    model = model_of([helper.make_node("Reshape", ["x", "shape"], ["y"])], {"shape": np.array([1, 1, 7, 7])})
    runner = OnnxRunner(model.SerializeToString())
    with pytest.raises(ConversionFailed, match=r"loads this file and cannot run it \(.*[Rr]eshape"):
        runner.run({"x": X})
