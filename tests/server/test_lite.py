"""``lite``: the network, its export, and the shipped model behind the segmenter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from server.cutout import cut
from server.errors import BadWeights, DeviceUnavailable, ModelUnavailable, NoObject
from server.segmenters.lite import WEIGHTS, LiteSegmenter


def test_missing_damaged_and_foreign_files_get_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx = pytest.importorskip("onnx")
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ModelUnavailable, match=r"none.onnx: name lite's \.onnx file"):
        LiteSegmenter(tmp_path / "none.onnx")
    with pytest.raises(DeviceUnavailable, match="--device auto"):  # not a fault of the file
        LiteSegmenter(device="cuda")
    (tmp_path / "torn.onnx").write_bytes(WEIGHTS.read_bytes()[:50_000])
    with pytest.raises(BadWeights, match="not a usable ONNX model"):
        LiteSegmenter(tmp_path / "torn.onnx")
    shape = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, 8, 8]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", shape[:1], shape[1:])
    foreign = onnx.helper.make_model(graph, ir_version=9, opset_imports=[onnx.helper.make_opsetid("", 18)])
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(BadWeights, match="another model"):
        LiteSegmenter(tmp_path / "foreign.onnx")


@pytest.mark.parametrize("shape", [(480, 640), (1, 1), (2000, 37), (320, 320)])
def test_maps_have_the_pictures_size(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    mask = LiteSegmenter().predict(picture)
    assert mask.shape == shape
    assert mask.dtype == np.float32
    assert 0 <= mask.min() <= mask.max() <= 1


def test_it_finds_the_object_on_photographs_that_a_package_ships() -> None:
    """Positions of the object and of plain background, read off the photographs by eye: x, y."""
    data = pytest.importorskip("skimage.data")
    inside = {"coffee": [(300, 180), (250, 330)], "chelsea": [(220, 120), (250, 220)]}
    outside = {"coffee": [(20, 20), (580, 20)], "chelsea": []}
    segmenter = LiteSegmenter()
    for name, points in inside.items():
        mask = segmenter.predict(np.ascontiguousarray(getattr(data, name)()))
        for x, y in points:
            assert mask[y, x] > 0.5, (name, x, y)
        for x, y in outside[name]:
            assert mask[y, x] < 0.3, (name, x, y)


@pytest.mark.parametrize("level", [0, 60, 128, 200, 255])
@pytest.mark.parametrize("noise", [0, 4])
def test_a_covered_lens_or_a_blank_wall_shows_no_object(level: int, noise: int) -> None:
    grain = np.random.default_rng(0).normal(0, noise, (300, 400, 3))
    picture = np.clip(level + grain, 0, 255).astype(np.uint8)
    assert not LiteSegmenter().predict(picture).any()
    with pytest.raises(NoObject):
        cut(picture, LiteSegmenter())


def test_the_onnx_file_equals_the_network_with_the_shipped_weights() -> None:
    torch = pytest.importorskip("torch")
    from server.training.ship import Shipped
    from server.weights.loading import load_network

    network = load_network("lite", WEIGHTS.with_suffix(".safetensors"))
    rng = np.random.default_rng(1)
    side = 256 // 32  # the shipped input side: no resizing comes between
    coarse = rng.integers(0, 256, (1, 3, side, side)).astype(np.float32)
    image = np.kron(coarse, np.ones((1, 1, 32, 32), np.float32))
    with torch.inference_mode():
        shipped = Shipped(network).eval()
        seen, mirrored = (shipped(torch.from_numpy(x.copy()))[0, 0].numpy() for x in (image, image[..., ::-1]))
    expected = (seen + mirrored[:, ::-1]) / 2
    (actual,) = LiteSegmenter().stages().infer([image])
    assert np.abs(actual - expected).max() < 1e-3
    assert np.abs(actual - expected).mean() < 1e-5


@pytest.mark.parametrize(("high", "looks"), [(0.999, 1), (0.9, 2)])
def test_only_where_it_is_unsure_it_looks_at_the_mirror_image_too(
    high: float, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = LiteSegmenter()
    seen: list[np.ndarray] = []

    def bright(item: np.ndarray) -> np.ndarray:
        """Finds what is bright, and less of it each time."""
        seen.append(item)
        return np.where(item[0, 0] > 128, np.float32(high / len(seen)), np.float32(0))

    monkeypatch.setattr(segmenter, "_map", bright)
    picture = np.zeros((1, 3, 256, 256), np.float32)
    picture[..., :100] = 255
    (mask,) = segmenter.stages().infer([picture])
    assert len(seen) == looks
    assert np.array_equal(seen[-1], picture[..., :: 1 if looks == 1 else -1])
    assert np.allclose(mask[:, :100], high * (1 + 1 / looks) / 2)
    assert not mask[:, 100:].any()


def test_the_network_takes_multiples_of_32_and_gives_five_scales() -> None:
    torch = pytest.importorskip("torch")
    from server.networks.lite import lite

    network = lite().eval()
    assert sum(parameter.numel() for parameter in network.parameters()) <= 5_000_000
    x = torch.zeros(1, 3, 64, 96)
    with torch.inference_mode():
        assert [tuple(map_.shape) for map_ in network.logits(x)] == [
            (1, 1, 64 // s, 96 // s) for s in (2, 4, 8, 16, 32)
        ]
        assert network(x).shape == (1, 1, 64, 96)
    with pytest.raises(ValueError, match="multiples of 32"):
        network(torch.zeros(1, 3, 60, 96))
