"""Exact rewritings of an ONNX graph: operations that onnxruntime computes slowly, or cannot quantise, as others that it can."""

from __future__ import annotations

import hashlib
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
    replace_nodes,
    rewrite,
    shapes_of,
)
from export.packages import LARGE, table_of


def pool_means(model: Any) -> None:
    """Means over height and width as global average pools, in place: those have a kernel for each layout, and an integer one."""
    constants = constants_of(model)

    def rewritten(node: Any) -> list[Any] | None:
        if node.op_type != "ReduceMean" or len(node.input) < 2 or attribute(node, "keepdims", 1) != 1:
            return None
        axes = constants.get(node.input[1])
        if axes is None or sorted(axis % 4 for axis in axes.tolist()) != [2, 3]:
            return None
        return [node_like("GlobalAveragePool", node.input[:1], node.output, node)]

    rewrite(model, rewritten)


def share_constants(model: Any) -> None:
    """In place: constants of one content once, and attention's biases by distance as their table, looked up when a file is loaded.

    Converters transpose a shared layer's weights anew for each of its calls, and spell a bias out for each pair of places.
    """
    names: dict[tuple[Any, ...], str] = {}
    same: dict[str, str] = {}
    constants = constants_of(model)
    for name, array in constants.items():
        content = (str(array.dtype), array.shape, hashlib.sha256(array.tobytes()).digest())
        same[name] = names.setdefault(content, name)
    looked_up: list[Any] = []
    for name, array in constants.items():
        if same[name] == name and array.ndim == 3 and array.size >= LARGE and array.dtype == np.float32:
            looked_up += _table(model, name, array)
    for node in model.graph.node:
        node.input[:] = [same.get(name, name) for name in node.input]
    replace_nodes(model, [*looked_up, *model.graph.node])
    prune(model)


def _table(model: Any, name: str, array: NDArray[Any]) -> list[Any]:
    """Nodes that make HxAxB of a table HxK and one byte for each of AxB, where so few different columns occur."""
    from onnx import helper

    found = table_of(array)
    if found is None:
        return []
    table, places = found
    kept = constant(model, f"{name}_table", table)
    seen = constant(model, f"places_{hashlib.sha256(places.tobytes()).hexdigest()[:12]}", places, np.uint8)
    del model.graph.initializer[next(i for i, one in enumerate(model.graph.initializer) if one.name == name)]
    return [
        helper.make_node("Cast", [seen], [f"{name}_index"], name=f"{name}_cast", to=6),  # int32
        helper.make_node("Gather", [kept, f"{name}_index"], [name], name=f"{name}_lookup", axis=1),
    ]


def flat_resizes(model: Any) -> None:
    """Resizes of one channel as resizes of a plane, in place: onnxruntime would pad the channel to a block of sixteen."""
    from onnx import helper

    shapes, constants = shapes_of(model), constants_of(model)

    def rewritten(node: Any) -> list[Any] | None:
        before = shapes.get(node.input[0], []) if node.op_type == "Resize" and len(node.input) == 4 else []
        if before[:2] != [1, 1] or len(before) != 4 or node.input[3] not in constants:
            return None
        sides = constants[node.input[3]]
        plane, wanted, whole = (
            constant(model, "_".join(map(str, ["shape", *shape])), shape, np.int64)
            for shape in (before[2:], sides[2:].tolist(), sides.tolist())
        )
        options = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        flat, resized = f"{node.name}_flat", f"{node.name}_resized"
        return [
            node_like("Reshape", [node.input[0], plane], [flat], node, suffix="_flat"),
            node_like("Resize", [flat, "", "", wanted], [resized], node, **options),
            node_like("Reshape", [resized, whole], node.output, node, suffix="_whole"),
        ]

    rewrite(model, rewritten)


def fusable_gelus(model: Any) -> None:
    """x * (0.5 * (1 + erf)) as (x * (1 + erf)) * 0.5, in place: the order in which onnxruntime sees its one Gelu."""
    makers, constants = makers_of(model), constants_of(model)

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
            node_like("Mul", [node.input[0], halved.input[1]], [whole], node, suffix="_whole"),
            node_like("Mul", [whole, halved.input[0]], node.output, node),
        ]

    rewrite(model, rewritten)


def maps_last(model: Any) -> None:
    """Many maps enlarged, put through a sigmoid and mixed by a product: with the maps as the last axis, in place.

    onnxruntime resizes all maps of a pixel at once then, and a product with two columns is faster than one with two rows.
    """
    from onnx import helper

    makers, shapes = makers_of(model), shapes_of(model)

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
        sides = constant(model, f"{node.name}_sides", [1, height, width, maps], np.int64)
        pixels = constant(model, f"{node.name}_pixels", [1, height * width, maps], np.int64)
        options = {item.name: helper.get_attribute_value(item) for item in resize.attribute}
        return [
            node_like("Transpose", [resize.input[0]], [last], resize, suffix="_last", perm=[0, 2, 3, 1]),
            node_like("Resize", [last, "", "", sides], [wide], resize, suffix="_wide", **options),
            node_like("Sigmoid", [wide], [gates], sigmoid, suffix="_gates"),
            node_like("Reshape", [gates, pixels], [rows], node, suffix="_rows"),
            node_like("Transpose", [node.input[0]], [columns], node, suffix="_columns", perm=[0, 2, 1]),
            node_like("MatMul", [rows, columns], [mixed], node, suffix="_mixed"),
            node_like("Transpose", [mixed], node.output, node, perm=[0, 2, 1]),
        ]

    rewrite(model, rewritten)


def _chain(node: Any, kinds: tuple[str, ...], makers: dict[str, Any]) -> list[Any]:
    """``node`` and the makers of first inputs before it, where they are of these kinds; else nothing."""
    found = []
    for kind in kinds:
        if node is None or node.op_type != kind:
            return []
        found.append(node)
        node = makers.get(node.input[0])
    return found
