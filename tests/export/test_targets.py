"""What can be exported, and what is refused before anything heavy is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from export import targets
from export.errors import BadChoice, UnknownTarget
from server.networks.catalogue import NETWORKS


def test_every_network_can_be_exported() -> None:
    assert {name for target in targets.TARGETS.values() for name in target.networks} == set(NETWORKS)


def test_phones_get_every_network_that_fits_them() -> None:
    refused = {name for name, target in targets.TARGETS.items() if target.formats == ("onnx",)}
    assert refused == {
        "meticulousnet",
        "pgsnet",
        *(name for name in NETWORKS if name.startswith(("gfm-r34-2b", "gfm-r101"))),
    }
    assert all(targets.TARGETS[name].not_on_phones for name in refused)


@pytest.mark.parametrize(
    ("model", "format_", "precision", "size", "message"),
    [
        ("lite", "tflite", "fp32", None, "use onnx or coreml"),
        ("lite", "onnx", "fp8", None, "use fp32, fp16, int8, palette6"),
        ("lite", "onnx", "palette6", None, "--precision int8"),
        ("lite", "onnx", "fp32", 100, "256, 224, 320, 384"),
        ("pgsnet", "coreml", "fp32", None, "--format onnx"),
    ],
)
def test_a_choice_that_is_not_made_names_those_that_are(
    model: str, format_: str, precision: str, size: int | None, message: str
) -> None:
    with pytest.raises(BadChoice, match=message):
        targets.check_choice(targets.find(model), format_, precision, size)


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(UnknownTarget, match="gem-tiny"):
        targets.find("gem-tinny")
    with pytest.raises(UnknownTarget, match="export list"):
        targets.find("xyzzy")


def test_file_names() -> None:
    lite = targets.find("lite")
    assert targets.file_name(lite, 256, "onnx", "fp16") == "lite-256-fp16.onnx"
    assert targets.file_name(lite, 256, "coreml", "palette6") == "lite-256-palette6.mlpackage"


def test_importing_the_command_line_needs_no_torch() -> None:
    code = "import sys, export.__main__; sys.exit('torch' in sys.modules or 'coremltools' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
