"""Bilinear doubling of quantised maps by integer sums, for onnxruntime resizes integers more slowly than float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from export.onnx_graph import attribute, constant, constants_of, makers_of, node_like, readers_of, rewrite, shapes_of

UNTIED = 2**-12
NEAR, FAR = 0.75 + UNTIED, 0.25 - UNTIED
"""Shares of the two cells around the middle of half a cell. A quarter of all sums of integers would lie in the middle of two
integers, where each runtime's last bit decides: so the near cell counts a little more, at most a sixteenth of an integer."""
SIDES: dict[str, Callable[[int], list[int]]] = {
    "before": lambda length: [0, *range(length - 1)],
    "after": lambda length: [*range(1, length), length - 1],
}
"""A line's cells -> the neighbour of each on that side; beyond an end the last cell goes on."""


def double_integers(model: Any) -> None:
    """In a quantised model, in place: every doubling between a DequantizeLinear and a QuantizeLinear.

    A cell becomes two, three quarters of itself and a quarter of the one before it or after it: a sum of integers that have a
    scale each, for which there is a kernel. Rows first, then columns, with the channels as the last axis.
    """
    makers, readers, constants, shapes = makers_of(model), readers_of(model), constants_of(model), shapes_of(model)

    def doubles(resize: Any, read: Any) -> bool:
        before, after = shapes.get(resize.input[0], []), shapes.get(resize.output[0], [])
        return bool(
            read is not None
            and read.op_type == "DequantizeLinear"
            and read.input[1] in constants
            and len(readers[resize.output[0]]) == 1
            and len(before) == 4
            and after == [*before[:2], 2 * before[2], 2 * before[3]]
            and attribute(resize, "mode", b"nearest") == b"linear"
            and attribute(resize, "coordinate_transformation_mode", b"half_pixel") == b"half_pixel"
        )

    def rewritten(node: Any) -> list[Any] | None:
        resize = makers.get(node.input[0]) if node.op_type == "QuantizeLinear" else None
        read = makers.get(resize.input[0]) if resize is not None and resize.op_type == "Resize" else None
        if resize is None or not doubles(resize, read):
            return None
        pictures, channels, height, width = shapes[resize.input[0]]
        integers, scale, *zero = read.input  # type: ignore[union-attr]
        last, tall, wide = (f"{node.name}_{part}" for part in ("last", "tall", "wide"))

        def shares(of: str) -> list[str]:
            return [constant(model, f"{of}_{share}", share * constants[of]) for share in (NEAR, FAR)]

        return [
            _node("Transpose", [integers], last, node, perm=[0, 2, 3, 1]),
            *_line(
                model,
                node,
                (last, tall),
                (1, height),
                [pictures, 2 * height, width, channels],
                shares(scale),
                zero,
                [scale, *zero],
            ),
            *_line(
                model,
                node,
                (tall, wide),
                (2, width),
                [pictures, 2 * height, 2 * width, channels],
                shares(scale),
                zero,
                node.input[1:],
            ),
            _node("Transpose", [wide], node.output[0], node, perm=[0, 3, 1, 2]),
        ]

    rewrite(model, rewritten)


def _line(
    model: Any,
    origin: Any,
    names: tuple[str, str],
    line: tuple[int, int],
    shape: list[int],
    scales: list[str],
    zero: Any,
    made: Any,
) -> Iterator[Any]:
    """Nodes that double one axis of integers NxHxWxC. ``line``: the axis and its length; ``made``: scale and zero of the result."""
    (integers, result), (axis, length), (near, far) = names, line, scales
    own, halves = f"{result}_own", []
    yield _node("DequantizeLinear", [integers, near, *zero], own, origin)
    for side, cells in SIDES.items():
        index = constant(model, f"{side}_{length}", cells(length), np.int64)
        moved, share, total, half = (f"{result}_{side}_{part}" for part in ("cells", "share", "sum", "half"))
        yield _node("Gather", [integers, index], moved, origin, axis=axis)
        yield _node("DequantizeLinear", [moved, far, *zero], share, origin)
        yield _node("Add", [own, share], total, origin)
        yield _node("QuantizeLinear", [total, *made], half, origin)
        halves.append(half)
    yield _node("Concat", halves, f"{result}_pairs", origin, axis=axis + 1)
    sides = constant(model, f"{result}_sides", shape, np.int64)
    yield _node("Reshape", [f"{result}_pairs", sides], result, origin)


def _node(kind: str, inputs: Any, output: str, origin: Any, **attributes: Any) -> Any:
    return node_like(kind, inputs, [output], origin, suffix=f"_{output}", **attributes)
