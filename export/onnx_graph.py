"""ONNX models as graphs: what reads and makes a value, constants, new nodes in the place of old ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def prune(model: Any) -> None:
    """Without nodes and constants that nothing reads, in place."""
    graph = model.graph
    read = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if read.intersection(node.output):
            kept.append(node)
            read.update(node.input)
    replace_nodes(model, kept[::-1])
    tensors = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(tensors)


def rewrite(model: Any, rewritten: Callable[[Any], list[Any] | None]) -> None:
    nodes: list[Any] = []
    for node in model.graph.node:
        nodes += rewritten(node) or [node]
    replace_nodes(model, nodes)
    prune(model)


def replace_nodes(model: Any, nodes: list[Any]) -> None:
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def makers_of(model: Any) -> dict[str, Any]:
    """Value -> the node that computes it."""
    return {name: node for node in model.graph.node for name in node.output}


def readers_of(model: Any) -> dict[str, list[Any]]:
    """Value -> the nodes that read it."""
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return readers


def constants_of(model: Any) -> dict[str, NDArray[Any]]:
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def shapes_of(model: Any) -> dict[str, list[int]]:
    """Of every value that onnx can tell; a side that is not fixed is 0."""
    from onnx import shape_inference

    graph = shape_inference.infer_shapes(model).graph
    values = [*graph.value_info, *graph.input, *graph.output]
    return {value.name: [side.dim_value for side in value.type.tensor_type.shape.dim] for value in values}


def type_of(model: Any, name: str) -> int:
    return next((int(tensor.data_type) for tensor in model.graph.initializer if tensor.name == name), 0)


def constant(model: Any, name: str, value: Any, kind: type = np.float32) -> str:
    from onnx import numpy_helper

    if all(tensor.name != name for tensor in model.graph.initializer):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value, kind), name))
    return name


def attribute(node: Any, name: str, default: Any) -> Any:
    from onnx import helper

    return next((helper.get_attribute_value(item) for item in node.attribute if item.name == name), default)


def node_like(kind: str, inputs: Any, outputs: Any, origin: Any, suffix: str = "", **attributes: Any) -> Any:
    """Of the same part of the network as ``origin``, which the quantiser asks for."""
    from onnx import helper

    return helper.make_node(
        kind, list(inputs), list(outputs), name=origin.name + suffix, doc_string=origin.doc_string, **attributes
    )
