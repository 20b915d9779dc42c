"""ONNX graphs made ready for integer kernels, and what a quantiser leaves made small."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.onnx_graph import (
    attribute,
    constant,
    constants_of,
    makers_of,
    node_like,
    prune,
    readers_of,
    replace_nodes,
    rewrite,
    type_of,
)

INTEGERS = {3, 6}
"""TensorProto's int8 and int32, whose zero point is 0 in symmetric quantisation."""
DEFAULTS = {"dilations": 1, "strides": 1, "pads": 0, "group": 1}
"""Of a convolution."""


def quantisable(model: Any, kept: Collection[str] = ()) -> None:
    """In place: a batch norm as a convolution of each channel with one weight, hard-swish as products, a sum and a clip.

    onnxruntime has integer kernels for these; around the originals it would go to float32 and back. The nodes of the names
    ``kept`` stay.
    """
    constants = constants_of(model)

    def rewritten(node: Any) -> list[Any] | None:
        if node.name in kept:
            return None
        if node.op_type == "BatchNormalization":
            return [_depthwise(model, node, [constants[name] for name in node.input[1:5]])]
        return list(_hard_swish(model, node)) if node.op_type == "HardSwish" else None

    rewrite(model, rewritten)


def _depthwise(model: Any, node: Any, statistics: list[NDArray[Any]]) -> Any:
    scale, bias, mean, variance = (array.astype(np.float64) for array in statistics)
    factor = scale / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    weight = constant(model, f"{node.name}_factor", factor.reshape(-1, 1, 1, 1))
    shift = constant(model, f"{node.name}_shift", bias - mean * factor)
    made = [node.input[0], weight, shift]
    return node_like("Conv", made, node.output[:1], node, group=len(factor), kernel_shape=[1, 1])


def _hard_swish(model: Any, node: Any) -> Iterator[Any]:
    """x * clip(x / 6 + 0.5, 0, 1)"""
    numbers = {"sixth": 1 / 6, "half": 0.5, "zero": 0.0, "one": 1.0}
    sixth, half, zero, one = (constant(model, f"hard_swish_{name}", value) for name, value in numbers.items())
    x, (y,), name = node.input[0], node.output, node.name
    yield node_like("Mul", [x, sixth], [f"{name}_scaled"], node, suffix="_scaled")
    yield node_like("Add", [f"{name}_scaled", half], [f"{name}_shifted"], node, suffix="_shifted")
    yield node_like("Clip", [f"{name}_shifted", zero, one], [f"{name}_gate"], node, suffix="_gate")
    yield node_like("Mul", [x, f"{name}_gate"], [y], node)


def unround(model: Any, kept: Collection[str]) -> None:
    """In a quantised model, in place: the nodes of the names ``kept`` read what others of them make as it is made.

    The quantiser rounds a value for all that read it, and onnxruntime takes a node between rounded values for one to quantise.
    """
    makers = makers_of(model)
    for node in model.graph.node:
        if node.name not in kept:
            continue
        for index, name in enumerate(node.input):
            read: Any = makers.get(name)
            rounding: Any = (
                makers.get(read.input[0]) if read is not None and read.op_type == "DequantizeLinear" else None
            )
            maker: Any = makers.get(rounding.input[0]) if rounding is not None else None
            if maker is not None and maker.name in kept:
                node.input[index] = rounding.input[0]
    prune(model)


def join_scales(model: Any) -> None:
    """In a quantised model, in place: what is rounded only to be joined is rounded as the whole is, instead of twice."""
    makers, readers = makers_of(model), readers_of(model)
    for node in model.graph.node:
        if node.op_type != "Concat":
            continue
        (whole, *others) = readers.get(node.output[0], [None])
        if others or whole is None or whole.op_type != "QuantizeLinear":
            continue
        for name in node.input:
            read: Any = makers.get(name)
            rounding: Any = (
                makers.get(read.input[0]) if read is not None and read.op_type == "DequantizeLinear" else None
            )
            if rounding is None or rounding.op_type != "QuantizeLinear":
                continue
            if len(readers[rounding.output[0]]) == 1 and len(readers[name]) == 1:
                for rounded in (rounding, read):
                    rounded.input[1:] = whole.input[1:]


def absorb_factors(model: Any) -> None:
    """In a quantised model, in place: a product with one positive number is the same integers, read with another scale."""
    constants = constants_of(model)
    makers = makers_of(model)
    readers = readers_of(model)
    for node in model.graph.node:
        scaled: list[Any] = [makers.get(name) for name in node.input] if node.op_type == "Mul" else []
        if len(scaled) != 2 or any(made is None or made.op_type != "DequantizeLinear" for made in scaled):
            continue
        value, factor = scaled
        number = _dequantised(constants, factor)
        quantisers = readers.get(node.output[0], [])
        if number is None or number <= 0 or any(reader.op_type != "QuantizeLinear" for reader in quantisers):
            continue
        scale = constant(model, f"{node.name}_scale", constants[value.input[1]] * number)
        for last in [last for quantiser in quantisers for last in readers.get(quantiser.output[0], [])]:
            last.input[:] = [value.input[0], scale, *value.input[2:]]
    prune(model)


def _dequantised(constants: dict[str, NDArray[Any]], node: Any) -> float | None:
    """The number that a DequantizeLinear makes of a constant of one element."""
    if any(name not in constants or constants[name].size != 1 for name in node.input):
        return None
    value, scale, zero = (*(float(constants[name].item()) for name in node.input), 0.0)[:3]
    return (value - zero) * scale


def lean(model: Any) -> None:
    """A quantised model without what can be told from the rest, in place: zero points that are zero, the scales of biases (the
    product of the input's and the weight's, which a runtime multiplies once), attributes at their defaults, unread constants."""
    constants = constants_of(model)
    dequantised: dict[str, Any] = {}
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear":
            continue
        dequantised[node.output[0]] = node
        zero = constants.get(node.input[2]) if len(node.input) > 2 else None
        if zero is not None and type_of(model, node.input[0]) in INTEGERS and not zero.any():
            del node.input[2]
    scales = []
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        for item in list(node.attribute):
            values = [item.i] if item.name == "group" else list(item.ints)
            if item.name in DEFAULTS and set(values) == {DEFAULTS[item.name]}:
                node.attribute.remove(item)
        read: list[Any] = [dequantised.get(name) for name in node.input]
        if len(read) == 3 and all(read):
            product = node_like(
                "Mul", [read[0].input[1], read[1].input[1]], [f"{node.name}_scale"], node, suffix="_scale"
            )
            read[2].input[1] = product.output[0]
            scales.append(product)
    replace_nodes(model, [*scales, *model.graph.node])
    prune(model)
