"""What is prepared for integer kernels, and what stays in float32 because they would slow it down."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper

from export import integers, quantising
from export.doubling import double_integers
from export.onnx_graph import attribute, constants_of
from export.refinement import Plane
from export.widening import LANES, widen
from tests.export.test_rewriting import SHAPE, X, model_of, run

GENERATOR = np.random.default_rng(5)
node = helper.make_node


def weights(*shape: int) -> Any:
    return GENERATOR.standard_normal(shape).astype(np.float32)


def block() -> Any:
    """MobileNetV3's: a convolution to 10 channels, one by channel, both with hard-swish, attention to channels, a convolution."""
    constants = {
        "w1": weights(10, 6, 1, 1), "b1": weights(10), "w2": weights(10, 1, 3, 3), "b2": weights(10),
        "w3": weights(5, 10, 1, 1), "w4": weights(10, 5, 1, 1), "b4": weights(10), "w5": weights(7, 10, 1, 1), "b5": weights(7),
        "per": weights(1, 10, 1, 1),
    }  # fmt: skip
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["a"], name="n1"),
        node("HardSwish", ["a"], ["b"], name="n2"),
        node("Conv", ["b", "w2", "b2"], ["c"], name="n3", group=10, pads=[1] * 4),
        node("Mul", ["c", "per"], ["d"], name="n4"),
        node("GlobalAveragePool", ["d"], ["e"], name="n5"),
        node("Conv", ["e", "w3"], ["f"], name="n6"),
        node("Conv", ["f", "w4", "b4"], ["g"], name="n7"),
        node("HardSigmoid", ["g"], ["h"], name="n8"),
        node("Mul", ["d", "h"], ["i"], name="n9"),
        node("Conv", ["i", "w5", "b5"], ["y"], name="n10"),
    ]
    return model_of(nodes, constants)


def depthwise_widths(model: Any) -> list[int]:
    constants = constants_of(model)
    return [
        len(constants[one.input[1]])
        for one in model.graph.node
        if one.op_type == "Conv" and attribute(one, "group", 1) > 1
    ]


def test_a_depthwise_convolution_of_whole_sixteens_gives_the_same_map() -> None:
    model = block()
    before = run(model, X)
    widen(model)
    assert depthwise_widths(model) == [LANES]
    np.testing.assert_allclose(run(model, X), before, atol=1e-5)


def test_channels_that_something_else_reads_stay_as_they_are() -> None:
    model = block()
    model.graph.node.insert(3, node("Softmax", ["c"], ["s"], name="n3a", axis=1))
    model.graph.node[4].input[0] = "s"
    before = run(model, X)
    widen(model)
    assert depthwise_widths(model) == [10]
    np.testing.assert_array_equal(run(model, X), before)


def test_few_channels_stay_in_float_with_the_activation_after_them() -> None:
    constants = {
        "w1": weights(8, 6, 1, 1),
        "w2": weights(20, 8, 1, 1),
        "w3": weights(8, 20, 1, 1),
        "w4": weights(8, 8, 1, 1),
    }
    nodes = [
        node("Conv", ["x", "w1"], ["a"], name="few"),
        node("Relu", ["a"], ["b"], name="its activation"),
        node("Conv", ["b", "w2"], ["c"], name="to many"),
        node("Conv", ["c", "w3"], ["d"], name="from many"),
        node("Relu", ["d"], ["e"], name="a convolution's own"),
        node("Conv", ["e", "w4"], ["f"], name="few again"),
        node("MatMul", ["f", "f"], ["y"], name="heads"),
    ]
    assert quantising.thin_nodes(model_of(nodes, constants)) == {"few", "its activation", "few again"}


@pytest.mark.parametrize(("reader", "kept"), [("Gather", {"picked"}), ("Softmax", set())])
def test_a_table_that_rows_are_picked_from_stays_in_float(reader: str, kept: set[str]) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["a"], name="picked"),
        node("Transpose", ["a"], ["b"], name="t", perm=[0, 2, 3, 1]),
        node("Reshape", ["b", "rows"], ["c"], name="r"),
        node("Gather", ["c", "at"], ["d"], name="g1"),
        node(reader, ["c", "at"] if reader == "Gather" else ["c"], ["e"], name="g2"),
    ]
    model = model_of(nodes, {"w": weights(20, 6, 1, 1), "rows": np.array([64, 20]), "at": np.array([3, 5])})
    assert quantising.picked_nodes(model) == kept


def test_a_plane_is_a_convolution_to_one_channel() -> None:
    torch.manual_seed(1)
    convolution = torch.nn.Conv2d(SHAPE[1], 1, 1)
    x = torch.randn(2, SHAPE[1], 3, 5)
    torch.testing.assert_close(Plane(convolution)(x), convolution(x), rtol=0, atol=1e-6)


SCALES = {"s": np.float32(0.1), "z": np.uint8(100), "s2": np.float32(0.08), "z2": np.uint8(0), "s3": np.float32(0.2)}
"""Of values that are rounded: from -10 to 15.5; from 0 to 20.4; from -20 to 31."""


def doubled(sizes: list[int]) -> Any:
    """x, rounded, enlarged bilinearly, rounded to what is not negative."""
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["a"], name="n1"),
        node("DequantizeLinear", ["a", "s", "z"], ["b"], name="n2"),
        node(
            "Resize",
            ["b", "", "", "sizes"],
            ["c"],
            name="n3",
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        ),
        node("QuantizeLinear", ["c", "s2", "z2"], ["d"], name="n4"),
        node("DequantizeLinear", ["d", "s2", "z2"], ["y"], name="n5"),
    ]
    return model_of(nodes, {**SCALES, "sizes": np.array(sizes)})


def test_a_doubling_of_integers_is_off_by_roundings_only() -> None:
    model = doubled([1, SHAPE[1], 2 * SHAPE[2], 2 * SHAPE[3]])
    before = run(model, X)
    double_integers(model)
    after = run(model, X)
    assert not {"Resize"} & {one.op_type for one in model.graph.node}
    difference = np.abs(after - before)
    assert before.min() == 0 < before.max()
    assert difference.max() <= 0.05 + 0.08 + 1e-5  # half a step on the way, and a whole one at the end
    assert difference.mean() < 0.03
    assert abs((after - before).mean()) < 0.005


def test_another_enlargement_stays() -> None:
    model = doubled([1, SHAPE[1], 3 * SHAPE[2], 3 * SHAPE[3]])
    before = len(model.graph.node)
    double_integers(model)
    assert len(model.graph.node) == before


def joined() -> Any:
    """x and its absolute values, rounded on their own, joined and rounded as a whole; the negatives are read elsewhere too."""
    nodes = [
        node("Abs", ["x"], ["p"], name="n0"),
        node("QuantizeLinear", ["p", "s2", "z2"], ["a"], name="n1"),
        node("DequantizeLinear", ["a", "s2", "z2"], ["b"], name="n2"),
        node("QuantizeLinear", ["x", "s", "z"], ["c"], name="n3"),
        node("DequantizeLinear", ["c", "s", "z"], ["d"], name="n4"),
        node("Concat", ["b", "d"], ["e"], name="n5", axis=1),
        node("QuantizeLinear", ["e", "s3", "z"], ["f"], name="n6"),
        node("DequantizeLinear", ["f", "s3", "z"], ["g"], name="n7"),
        node("Concat", ["g", "d"], ["y"], name="n8", axis=1),
    ]
    return model_of(nodes, SCALES)


def test_what_is_only_joined_is_rounded_once() -> None:
    model = joined()
    before = run(model, X)
    integers.join_scales(model)
    after = run(model, X)
    scales = {one.name: one.input[1] for one in model.graph.node if one.op_type == "QuantizeLinear"}
    assert scales == {"n1": "s3", "n3": "s", "n6": "s3"}
    exact = np.concatenate([np.abs(X), X, X], 1)
    assert np.abs(after - exact).mean() < np.abs(before - exact).mean()
    np.testing.assert_array_equal(after[:, SHAPE[1] :], before[:, SHAPE[1] :])


def test_a_float_node_reads_what_another_made_before_it_was_rounded() -> None:
    nodes = [
        node("Abs", ["x"], ["p"], name="first"),
        node("QuantizeLinear", ["p", "s2", "z2"], ["a"], name="n1"),
        node("DequantizeLinear", ["a", "s2", "z2"], ["b"], name="n2"),
        node("Neg", ["b"], ["y"], name="second"),
    ]
    rounded = run(model_of(nodes, SCALES), X)
    alone, both = model_of(nodes, SCALES), model_of(nodes, SCALES)
    integers.unround(alone, {"second"})
    integers.unround(both, {"first", "second"})
    np.testing.assert_array_equal(run(alone, X), rounded)
    np.testing.assert_array_equal(run(both, X), -np.abs(X))
    assert np.abs(rounded + np.abs(X)).max() > 0.01


def test_products_with_a_stack_of_matrices_run_after_quantisation() -> None:
    constants = {"stack": weights(SHAPE[1], SHAPE[3], 20), "flat": weights(20, 24)}
    products = [node("MatMul", ["x", "stack"], ["a"], name="n1"), node("MatMul", ["a", "flat"], ["b"], name="n2")]
    tail = [node("Relu", [last], [now], name=f"r{now}") for last, now in zip("bcdefgh", "cdefghy", strict=True)]
    model = model_of([*products, *tail], constants)
    assert quantising.stacked_nodes(model) == {"n1"}
    before = run(model, X)
    after = run(quantising.int8_onnx(model, [{"x": X}]), X)
    assert np.abs(after - before).mean() < 0.02 * np.abs(before).max()
