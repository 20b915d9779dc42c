"""Exact rewritings of an ONNX graph: operations that onnxruntime computes slowly, or cannot quantise, as others that it can."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.packages import LARGE, table_of

INTEGERS = {3, 6}
"""TensorProto's int8 and int32, whose zero point is 0 in symmetric quantisation."""
DEFAULTS = {"dilations": 1, "strides": 1, "pads": 0, "group": 1}
"""Of a convolution."""


def pool_means(model: Any) -> None:
    """Means over height and width as global average pools, in place: those have a kernel for each layout, and an integer one."""
    constants = _constants(model)

    def rewritten(node: Any) -> list[Any] | None:
        if node.op_type != "ReduceMean" or len(node.input) < 2 or _attribute(node, "keepdims", 1) != 1:
            return None
        axes = constants.get(node.input[1])
        if axes is None or sorted(axis % 4 for axis in axes.tolist()) != [2, 3]:
            return None
        return [_node("GlobalAveragePool", node.input[:1], node.output, node)]

    _rewrite(model, rewritten)


def share_constants(model: Any) -> None:
    """In place: constants of one content once, and attention's biases by distance as their table, looked up when a file is loaded.

    Converters transpose a shared layer's weights anew for each of its calls, and spell a bias out for each pair of places.
    """
    names: dict[tuple[Any, ...], str] = {}
    same: dict[str, str] = {}
    constants = _constants(model)
    for name, array in constants.items():
        content = (str(array.dtype), array.shape, hashlib.sha256(array.tobytes()).digest())
        same[name] = names.setdefault(content, name)
    looked_up: list[Any] = []
    for name, array in constants.items():
        if same[name] == name and array.ndim == 3 and array.size >= LARGE and array.dtype == np.float32:
            looked_up += _table(model, name, array)
    for node in model.graph.node:
        node.input[:] = [same.get(name, name) for name in node.input]
    _replace_nodes(model, [*looked_up, *model.graph.node])
    prune(model)


def _table(model: Any, name: str, array: NDArray[Any]) -> list[Any]:
    """Nodes that make HxAxB of a table HxK and one byte for each of AxB, where so few different columns occur."""
    from onnx import helper

    found = table_of(array)
    if found is None:
        return []
    table, places = found
    kept = _constant(model, f"{name}_table", table)
    seen = _constant(model, f"places_{hashlib.sha256(places.tobytes()).hexdigest()[:12]}", places, np.uint8)
    del model.graph.initializer[next(i for i, one in enumerate(model.graph.initializer) if one.name == name)]
    return [
        helper.make_node("Cast", [seen], [f"{name}_index"], name=f"{name}_cast", to=6),  # int32
        helper.make_node("Gather", [kept, f"{name}_index"], [name], name=f"{name}_lookup", axis=1),
    ]


def flat_resizes(model: Any) -> None:
    """Resizes of one channel as resizes of a plane, in place: onnxruntime would pad the channel to a block of sixteen."""
    from onnx import helper

    shapes, constants = _shapes(model), _constants(model)

    def rewritten(node: Any) -> list[Any] | None:
        before = shapes.get(node.input[0], []) if node.op_type == "Resize" and len(node.input) == 4 else []
        if before[:2] != [1, 1] or len(before) != 4 or node.input[3] not in constants:
            return None
        sides = constants[node.input[3]]
        plane, wanted, whole = (
            _constant(model, "_".join(map(str, ["shape", *shape])), shape, np.int64)
            for shape in (before[2:], sides[2:].tolist(), sides.tolist())
        )
        options = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        flat, resized = f"{node.name}_flat", f"{node.name}_resized"
        return [
            _node("Reshape", [node.input[0], plane], [flat], node, suffix="_flat"),
            _node("Resize", [flat, "", "", wanted], [resized], node, **options),
            _node("Reshape", [resized, whole], node.output, node, suffix="_whole"),
        ]

    _rewrite(model, rewritten)


def fusable_gelus(model: Any) -> None:
    """x * (0.5 * (1 + erf)) as (x * (1 + erf)) * 0.5, in place: the order in which onnxruntime sees its one Gelu."""
    makers, constants = _makers(model), _constants(model)

    def rewritten(node: Any) -> list[Any] | None:
        halved = makers.get(node.input[1]) if node.op_type == "Mul" else None
        if halved is None or halved.op_type != "Mul" or halved.input[0] not in constants:
            return None
        half, one_more = constants[halved.input[0]], makers.get(halved.input[1])
        if half.size != 1 or one_more is None or one_more.op_type != "Add":
            return None
        if all(makers[name].op_type != "Erf" for name in one_more.input if name in makers):
            return None
        whole = f"{node.name}_whole"
        return [
            _node("Mul", [node.input[0], halved.input[1]], [whole], node, suffix="_whole"),
            _node("Mul", [whole, halved.input[0]], node.output, node),
        ]

    _rewrite(model, rewritten)


def maps_last(model: Any) -> None:
    """Many maps enlarged, put through a sigmoid and mixed by a product: with the maps as the last axis, in place.

    onnxruntime resizes all maps of a pixel at once then, and a product with two columns is faster than one with two rows.
    """
    from onnx import helper

    makers, shapes = _makers(model), _shapes(model)

    def rewritten(node: Any) -> list[Any] | None:
        flat = makers.get(node.input[1]) if node.op_type == "MatMul" else None
        chain = _chain(flat, ("Reshape", "Sigmoid", "Resize"), makers)
        if not chain:
            return None
        _, sigmoid, resize = chain
        before, after = shapes.get(resize.input[0], []), shapes.get(resize.output[0], [])
        if (
            len(before) != 4
            or len(after) != 4
            or before[:2] != [1, after[1]]
            or len(shapes.get(node.input[0], [])) != 3
        ):
            return None
        maps, height, width = after[1:]
        last, wide, gates, rows, columns, mixed = (
            f"{node.name}_{part}" for part in ("last", "wide", "gates", "rows", "columns", "mixed")
        )
        sides = _constant(model, f"{node.name}_sides", [1, height, width, maps], np.int64)
        pixels = _constant(model, f"{node.name}_pixels", [1, height * width, maps], np.int64)
        options = {item.name: helper.get_attribute_value(item) for item in resize.attribute}
        return [
            _node("Transpose", [resize.input[0]], [last], resize, suffix="_last", perm=[0, 2, 3, 1]),
            _node("Resize", [last, "", "", sides], [wide], resize, suffix="_wide", **options),
            _node("Sigmoid", [wide], [gates], sigmoid, suffix="_gates"),
            _node("Reshape", [gates, pixels], [rows], node, suffix="_rows"),
            _node("Transpose", [node.input[0]], [columns], node, suffix="_columns", perm=[0, 2, 1]),
            _node("MatMul", [rows, columns], [mixed], node, suffix="_mixed"),
            _node("Transpose", [mixed], node.output, node, perm=[0, 2, 1]),
        ]

    _rewrite(model, rewritten)


def _chain(node: Any, kinds: tuple[str, ...], makers: dict[str, Any]) -> list[Any]:
    """``node`` and the makers of first inputs before it, where they are of these kinds; else nothing."""
    found = []
    for kind in kinds:
        if node is None or node.op_type != kind:
            return []
        found.append(node)
        node = makers.get(node.input[0])
    return found


def quantisable(model: Any) -> None:
    """In place: a batch norm as a convolution of each channel with one weight, hard-swish as products, a sum and a clip.

    onnxruntime has integer kernels for these; around the originals it would go to float32 and back.
    """
    constants = _constants(model)

    def rewritten(node: Any) -> list[Any] | None:
        if node.op_type == "BatchNormalization":
            return [_depthwise(model, node, [constants[name] for name in node.input[1:5]])]
        return list(_hard_swish(model, node)) if node.op_type == "HardSwish" else None

    _rewrite(model, rewritten)


def _depthwise(model: Any, node: Any, statistics: list[NDArray[Any]]) -> Any:
    scale, bias, mean, variance = (array.astype(np.float64) for array in statistics)
    factor = scale / np.sqrt(variance + _attribute(node, "epsilon", 1e-5))
    weight = _constant(model, f"{node.name}_factor", factor.reshape(-1, 1, 1, 1))
    shift = _constant(model, f"{node.name}_shift", bias - mean * factor)
    made = [node.input[0], weight, shift]
    return _node("Conv", made, node.output[:1], node, group=len(factor), kernel_shape=[1, 1])


def _hard_swish(model: Any, node: Any) -> Iterator[Any]:
    """x * clip(x / 6 + 0.5, 0, 1)"""
    numbers = {"sixth": 1 / 6, "half": 0.5, "zero": 0.0, "one": 1.0}
    sixth, half, zero, one = (_constant(model, f"hard_swish_{name}", value) for name, value in numbers.items())
    x, (y,), name = node.input[0], node.output, node.name
    yield _node("Mul", [x, sixth], [f"{name}_scaled"], node, suffix="_scaled")
    yield _node("Add", [f"{name}_scaled", half], [f"{name}_shifted"], node, suffix="_shifted")
    yield _node("Clip", [f"{name}_shifted", zero, one], [f"{name}_gate"], node, suffix="_gate")
    yield _node("Mul", [x, f"{name}_gate"], [y], node)


def absorb_factors(model: Any) -> None:
    """In a quantised model, in place: a product with one positive number is the same integers, read with another scale."""
    constants = _constants(model)
    makers = _makers(model)
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in model.graph.node:
        scaled: list[Any] = [makers.get(name) for name in node.input] if node.op_type == "Mul" else []
        if len(scaled) != 2 or any(made is None or made.op_type != "DequantizeLinear" for made in scaled):
            continue
        value, factor = scaled
        number = _dequantised(constants, factor)
        quantisers = readers.get(node.output[0], [])
        if number is None or number <= 0 or any(reader.op_type != "QuantizeLinear" for reader in quantisers):
            continue
        scale = _constant(model, f"{node.name}_scale", constants[value.input[1]] * number)
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
    constants = _constants(model)
    dequantised: dict[str, Any] = {}
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear":
            continue
        dequantised[node.output[0]] = node
        zero = constants.get(node.input[2]) if len(node.input) > 2 else None
        if zero is not None and _type_of(model, node.input[0]) in INTEGERS and not zero.any():
            del node.input[2]
    scales = []
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        for attribute in list(node.attribute):
            values = [attribute.i] if attribute.name == "group" else list(attribute.ints)
            if attribute.name in DEFAULTS and set(values) == {DEFAULTS[attribute.name]}:
                node.attribute.remove(attribute)
        read: list[Any] = [dequantised.get(name) for name in node.input]
        if len(read) == 3 and all(read):
            product = _node("Mul", [read[0].input[1], read[1].input[1]], [f"{node.name}_scale"], node, suffix="_scale")
            read[2].input[1] = product.output[0]
            scales.append(product)
    _replace_nodes(model, [*scales, *model.graph.node])
    prune(model)


def prune(model: Any) -> None:
    """Without nodes and constants that nothing reads, in place."""
    graph = model.graph
    read = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if read.intersection(node.output):
            kept.append(node)
            read.update(node.input)
    _replace_nodes(model, kept[::-1])
    tensors = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(tensors)


def _rewrite(model: Any, rewritten: Callable[[Any], list[Any] | None]) -> None:
    nodes: list[Any] = []
    for node in model.graph.node:
        nodes += rewritten(node) or [node]
    _replace_nodes(model, nodes)
    prune(model)


def _replace_nodes(model: Any, nodes: list[Any]) -> None:
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _makers(model: Any) -> dict[str, Any]:
    """Value -> the node that computes it."""
    return {name: node for node in model.graph.node for name in node.output}


def _constants(model: Any) -> dict[str, NDArray[Any]]:
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _shapes(model: Any) -> dict[str, list[int]]:
    """Of every value that onnx can tell; a side that is not fixed is 0."""
    from onnx import shape_inference

    graph = shape_inference.infer_shapes(model).graph
    values = [*graph.value_info, *graph.input, *graph.output]
    return {value.name: [side.dim_value for side in value.type.tensor_type.shape.dim] for value in values}


def _type_of(model: Any, name: str) -> int:
    return next((int(tensor.data_type) for tensor in model.graph.initializer if tensor.name == name), 0)


def _constant(model: Any, name: str, value: Any, kind: type = np.float32) -> str:
    from onnx import numpy_helper

    if all(tensor.name != name for tensor in model.graph.initializer):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value, kind), name))
    return name


def _attribute(node: Any, name: str, default: Any) -> Any:
    from onnx import helper

    return next((helper.get_attribute_value(item) for item in node.attribute if item.name == name), default)


def _node(kind: str, inputs: Any, outputs: Any, origin: Any, suffix: str = "", **attributes: Any) -> Any:
    """Of the same part of the network as ``origin``, which the quantiser asks for."""
    from onnx import helper

    return helper.make_node(
        kind, list(inputs), list(outputs), name=origin.name + suffix, doc_string=origin.doc_string, **attributes
    )
