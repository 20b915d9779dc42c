from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from server import registry
from server.backends.exported import ExportedSegmenter, model_in
from server.engine import stages_of
from server.errors import BadWeights, ModelUnavailable
from server.segmenters.lite import WEIGHTS

onnx = pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def redness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as the exporter writes them: its map is the red of the picture."""
    from onnx import TensorProto, helper

    first = helper.make_tensor("first", TensorProto.INT64, [1], [0])
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [], [1 / 255])
    nodes = [
        helper.make_node("Gather", ["image", "first"], ["red"], axis=1),
        helper.make_node("Mul", ["red", "scale"], ["mask"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 64, 64])
    mask = helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 1, 64, 64])
    model = helper.make_model(
        helper.make_graph(nodes, "redness", [image], [mask], [first, scale]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    helper.set_model_props(model, {"author": "test", "model": "basnet", "size": "64"})
    path = tmp_path_factory.mktemp("exported") / "basnet.onnx"
    onnx.save(model, path)
    return path


def test_a_picture_of_any_size_gets_its_map(redness: Path) -> None:
    segmenter = ExportedSegmenter("basnet", redness)
    picture = np.zeros((90, 150, 3), np.uint8)
    picture[:, 75:, 0] = 255
    mask = segmenter.predict(picture)
    assert mask.shape == (90, 150)
    assert mask.dtype == np.float32
    assert mask[:, :70].max() < 0.01
    assert mask[:, 80:].min() > 0.99
    stages = stages_of(segmenter)
    pair = stages.infer([stages.prepare(picture, None), stages.prepare(picture[:, ::-1], None)])
    assert np.array_equal(stages.finish(pair[0], picture), mask)
    assert np.abs(cv2.flip(stages.finish(pair[1], picture), 1) - mask).max() < 0.01


def test_files_say_whose_they_are(redness: Path, tmp_path: Path) -> None:
    assert model_in(redness) == "basnet"
    assert model_in(WEIGHTS) == "lite"
    with pytest.raises(BadWeights, match="of 'basnet'"):
        ExportedSegmenter("pgsnet", redness)
    nobody = tmp_path / "nobody.onnx"
    nobody.write_bytes(b"nothing of the kind")
    with pytest.raises(BadWeights, match="not written by"):
        ExportedSegmenter("basnet", nobody)
    with pytest.raises(ModelUnavailable, match="python -m export basnet"):
        ExportedSegmenter("basnet", tmp_path / "missing.onnx")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(redness.read_bytes()[40:])
    with pytest.raises(BadWeights):
        ExportedSegmenter("basnet", damaged)


def test_an_exported_file_is_the_models_weights(redness: Path) -> None:
    assert isinstance(registry.find("basnet").load(redness, "cpu"), ExportedSegmenter)
