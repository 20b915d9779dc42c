"""The rewritings of ONNX graphs are exact, and leave what they say."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from export import integers, rewriting
from export.refinement import GatheredRefinement, gathered, has_points
from export.running import session
from export.upsampling import EarlyDeconvolution, early
from server.networks.meticulous import Deconvolution, HierarchicalPointRefinement

GENERATOR = np.random.default_rng(11)
SHAPE = [1, 6, 8, 8]


def model_of(nodes: list[Any], constants: dict[str, Any]) -> Any:
    graph = helper.make_graph(
        nodes,
        "made up",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None] * 4)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def kinds(model: Any) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def run(model: Any, x: Any) -> Any:
    onnx.checker.check_model(model)
    return session(model.SerializeToString()).run(None, {"x": x})[0]


X = (4 * GENERATOR.standard_normal(SHAPE)).astype(np.float32)
NORM = {
    name: (GENERATOR.random(6) + 0.5).astype(np.float32) for name in ("scale", "bias", "mean", "variance")
}  # fmt: skip
CASES: dict[str, tuple[list[Any], dict[str, Any], Counter[str]]] = {
    "means": (
        [helper.make_node("ReduceMean", ["x", "axes"], ["y"], name="mean")],
        {"axes": np.array([-1, 2])},
        Counter(GlobalAveragePool=1),
    ),
    "a mean over channels stays": (
        [helper.make_node("ReduceMean", ["x", "axes"], ["y"], name="mean")],
        {"axes": np.array([1, 2])},
        Counter(ReduceMean=1),
    ),
    "norm": (
        [helper.make_node("BatchNormalization", ["x", *NORM], ["y"], name="norm", epsilon=1e-3)],
        NORM,
        Counter(Conv=1),
    ),
    "hard-swish": ([helper.make_node("HardSwish", ["x"], ["y"], name="swish")], {}, Counter(Mul=2, Add=1, Clip=1)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_same_map_by_other_operations(name: str) -> None:
    nodes, constants, expected = CASES[name]
    model = model_of(nodes, constants)
    before = run(model, X)
    rewriting.pool_means(model)
    integers.quantisable(model)
    assert kinds(model) == expected
    np.testing.assert_allclose(run(model, X), before, atol=2e-6)
    read = {given for node in model.graph.node for given in node.input}
    assert {tensor.name for tensor in model.graph.initializer} <= read


def test_a_resize_of_one_channel_knows_no_channels() -> None:
    resize = helper.make_node(
        "Resize", ["one", "", "", "sizes"], ["y"], name="r", mode="linear", coordinate_transformation_mode="half_pixel"
    )
    mean = helper.make_node("ReduceMean", ["x", "axes"], ["one"], name="m")
    model = model_of([mean, resize], {"axes": np.array([1]), "sizes": np.array([1, 1, 16, 24])})
    before = run(model, X)
    rewriting.flat_resizes(model)
    assert kinds(model) == Counter(ReduceMean=1, Reshape=2, Resize=1)
    np.testing.assert_allclose(run(model, X), before, atol=1e-6)


def test_gelu_in_the_order_that_the_runtime_knows() -> None:
    node = helper.make_node
    nodes = [
        node("Div", ["x", "root"], ["d"], name="n1"),
        node("Erf", ["d"], ["e"], name="n2"),
        node("Add", ["e", "one"], ["a"], name="n3"),
        node("Mul", ["half", "a"], ["h"], name="n4"),
        node("Mul", ["x", "h"], ["y"], name="n5"),
    ]
    constants = {"root": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)}
    model = model_of(nodes, constants)
    before = run(model, X)
    rewriting.fusable_gelus(model)
    assert [node.op_type for node in model.graph.node] == ["Div", "Erf", "Add", "Mul", "Mul"]
    np.testing.assert_allclose(run(model, X), before, atol=1e-6)
    assert "Gelu" in runtimes_kinds(model)


def runtimes_kinds(model: Any) -> Counter[str]:
    """What onnxruntime makes of it, layouts of its own left out."""
    import onnxruntime as ort

    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return kinds(onnx.load(options.optimized_model_filepath))


def test_maps_are_the_last_axis_where_many_are_enlarged_and_mixed() -> None:
    node = helper.make_node
    options = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    nodes = [
        node("Resize", ["x", "", "", "sizes"], ["r"], name="n1", **options),
        node("Sigmoid", ["r"], ["s"], name="n2"),
        node("Reshape", ["s", "flat"], ["f"], name="n3"),
        node("MatMul", ["w", "f"], ["m"], name="n4"),
        node("Reshape", ["m", "whole"], ["y"], name="n5"),
    ]
    constants = {
        "sizes": np.array([1, 6, 16, 24]), "flat": np.array([1, 6, 384]), "whole": np.array([1, 2, 16, 24]),
        "w": GENERATOR.standard_normal((1, 2, 6)).astype(np.float32),
    }  # fmt: skip
    model = model_of(nodes, constants)
    model.graph.value_info.append(helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [1, 2, 6]))
    before = run(model, X)
    rewriting.maps_last(model)
    assert kinds(model) == Counter(Transpose=3, Resize=1, Sigmoid=1, Reshape=2, MatMul=1)
    np.testing.assert_allclose(run(model, X), before, atol=1e-6)


def test_constants_of_one_content_are_kept_once_and_biases_as_tables() -> None:
    table = GENERATOR.standard_normal((6, 40)).astype(np.float32)
    along = np.abs(np.arange(64)[:, None] - np.arange(64)) % 40
    bias = table[:, along]  # 6 x 64 x 64
    weight = GENERATOR.standard_normal((64, 64)).astype(np.float32)
    nodes = [
        helper.make_node("Reshape", ["x", "rows"], ["r"], name="n1"),
        helper.make_node("MatMul", ["bias", "r"], ["a"], name="n2"),
        helper.make_node("MatMul", ["w1", "a"], ["b"], name="n3"),
        helper.make_node("MatMul", ["w2", "b"], ["c"], name="n4"),
        helper.make_node("Reshape", ["c", "whole"], ["y"], name="n5"),
    ]
    constants = {
        "rows": np.array([6, 64, 1]),
        "whole": np.array(SHAPE),
        "bias": bias,
        "w1": weight,
        "w2": weight.copy(),
    }
    model = model_of(nodes, constants)
    before, size = run(model, X), len(model.SerializeToString())
    rewriting.share_constants(model)
    np.testing.assert_array_equal(run(model, X), before)
    assert kinds(model)["Gather"] == 1
    assert len(model.SerializeToString()) < size / 4


def quantised() -> Any:
    """x -> integers -> a convolution with a bias -> integers -> times a sixth -> integers -> y"""
    scale, zero = np.float32(0.05), np.uint8(128)
    weight = GENERATOR.integers(-127, 128, (4, 6, 1, 1)).astype(np.int8)
    scales = (GENERATOR.random(4) / 100).astype(np.float32)
    constants = {
        "xs": scale, "xz": zero, "w": weight, "ws": scales, "wz": np.zeros(4, np.int8), "ys": np.float32(0.1),
        "b": GENERATOR.integers(-999, 999, 4).astype(np.int32), "bs": scale * scales, "bz": np.zeros(4, np.int32),
        "f": np.uint8(255), "fs": np.float32(1 / 6 / 255), "fz": np.uint8(0), "zs": np.float32(0.1 / 6),
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("QuantizeLinear", ["x", "xs", "xz"], ["xq"], name="n1"),
        node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"], name="n2"),
        node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], name="n3", axis=0),
        node("DequantizeLinear", ["b", "bs", "bz"], ["bd"], name="n4", axis=0),
        node("Conv", ["xd", "wd", "bd"], ["c"], name="n5", kernel_shape=[1, 1], strides=[1, 1], group=1),
        node("QuantizeLinear", ["c", "ys", "xz"], ["cq"], name="n6"),
        node("DequantizeLinear", ["cq", "ys", "xz"], ["cd"], name="n7"),
        node("DequantizeLinear", ["f", "fs", "fz"], ["fd"], name="n8"),
        node("Mul", ["cd", "fd"], ["m"], name="n9"),
        node("QuantizeLinear", ["m", "zs", "xz"], ["mq"], name="n10"),
        node("DequantizeLinear", ["mq", "zs", "xz"], ["y"], name="n11"),
    ]
    return model_of(nodes, constants)


def test_a_product_with_a_number_becomes_a_scale() -> None:
    model = quantised()
    before = run(model, X)
    integers.absorb_factors(model)
    assert kinds(model)["Mul"] == 0
    np.testing.assert_allclose(run(model, X), before, atol=1e-6)


def test_a_lean_model_has_no_zeros_and_no_scales_of_biases() -> None:
    model = quantised()
    before = run(model, X)
    integers.lean(model)
    names = {tensor.name for tensor in model.graph.initializer}
    assert not {"wz", "bz", "bs"} & names
    assert "xz" in names
    (convolution,) = (node for node in model.graph.node if node.op_type == "Conv")
    assert [attribute.name for attribute in convolution.attribute] == ["kernel_shape"]
    np.testing.assert_allclose(run(model, X), before, atol=1e-6)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_gathered_rows_refine_as_sampled_points_do(factor: int) -> None:
    torch.manual_seed(4)
    refinement = HierarchicalPointRefinement(5, 8).eval().requires_grad_(False)
    logits, feature = torch.randn(2, 1, 12, 16), torch.randn(2, 5, 24 // factor, 32 // factor)
    previous = torch.rand(2, 1, 12, 16)
    wanted = refinement(refinement.fine(feature), logits, previous)
    rows = GatheredRefinement(refinement)
    ours = rows(rows.fine(feature), logits, previous)
    torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-6)


def test_every_refinement_of_a_network_is_replaced() -> None:
    graph = torch.nn.Sequential(
        HierarchicalPointRefinement(3, 4), torch.nn.Sequential(HierarchicalPointRefinement(3, 4))
    )
    assert has_points(graph)
    assert not has_points(torch.nn.Sequential(torch.nn.ReLU()))
    kinds_ = [type(module) for module in gathered(graph).modules() if not isinstance(module, torch.nn.Sequential)]
    assert kinds_.count(GatheredRefinement) == 2


def test_a_doubling_after_its_norm_is_the_doubling_before_it() -> None:
    torch.manual_seed(6)
    later = torch.nn.Sequential(Deconvolution(8, 5, 6)).eval().requires_grad_(False)
    for norm in later.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            for numbers in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                assert numbers is not None
                numbers.copy_(torch.rand_like(numbers) + 0.2)
    x, skip = torch.randn(2, 8, 7, 9), torch.randn(2, 5, 14, 18)
    wanted = later[0](x, skip)
    (sooner,) = early(later).children()
    assert isinstance(sooner, EarlyDeconvolution)
    torch.testing.assert_close(sooner(x, skip), wanted, rtol=0, atol=1e-5)
