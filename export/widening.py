"""Channels of depthwise convolutions rounded up to sixteen, before quantisation: integer kernels compute the rest one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.onnx_graph import attribute, constant, constants_of, prune

LANES = 16
"""Channels that onnxruntime's depthwise integer kernels compute at once, on x86 and on ARM."""
BY_CHANNEL = {"Relu", "Clip", "HardSwish", "HardSigmoid", "Sigmoid", "GlobalAveragePool", "Mul", "Add"}
"""Operations that keep channels apart, so that a channel more changes no other."""


class _Channels:
    """Which values have the same channels, and what of the graph would have to be widened with them."""

    def __init__(self, model: Any) -> None:
        self.constants = constants_of(model)
        self._parents: dict[str, str] = {}
        self.fixed = {value.name for value in [*model.graph.input, *model.graph.output]}
        self.depthwise: dict[str, int] = {}
        for node in model.graph.node:
            self._read(node)
        self.fixed = {self.group(name) for name in self.fixed}

    def group(self, name: str) -> str:
        """The one value that stands for all that have these channels."""
        while self._parents.get(name, name) != name:
            name = self._parents[name]
        return name

    def _read(self, node: Any) -> None:
        values = [name for name in node.input if name and name not in self.constants]
        if node.op_type == "Conv":
            weight = self.constants.get(node.input[1])
            if weight is None:
                self.fixed.update([*values, *node.output])
            elif is_depthwise(node, weight):
                self._join(values[0], node.output[0])
                self.depthwise[node.output[0]] = len(weight)
            elif attribute(node, "group", 1) != 1:
                self.fixed.update([*values, *node.output])
        elif node.op_type in BY_CHANNEL and all(
            _spread(self.constants[name]) for name in node.input if name in self.constants
        ):
            for name in values:
                self._join(name, node.output[0])
        else:
            self.fixed.update([*values, *node.output])

    def _join(self, one: str, other: str) -> None:
        self._parents[self.group(one)] = self.group(other)

    def widened(self) -> dict[str, int]:
        """Group -> channels to add."""
        found = {self.group(name): -width % LANES for name, width in self.depthwise.items()}
        return {group: more for group, more in found.items() if more and group not in self.fixed}


def is_depthwise(node: Any, weight: NDArray[Any]) -> bool:
    return bool(weight.shape[1] == 1 and attribute(node, "group", 1) == weight.shape[0])


def widen(model: Any) -> None:
    """In place: zeros as further channels from the convolution before a depthwise one to the convolution after it.

    The result is the same: what a channel of zero weights becomes on its way is multiplied by zero weights at its end.
    """
    channels = _Channels(model)
    more = channels.widened()
    for node in model.graph.node:
        if node.op_type == "Conv":
            _widen_convolution(model, node, channels, more)
        elif node.op_type in BY_CHANNEL:
            extra = more.get(channels.group(node.output[0]), 0)
            for index, name in enumerate(node.input):
                if extra and name in channels.constants and channels.constants[name].size > 1:
                    node.input[index] = _padded(model, channels.constants, name, {1: extra})
    prune(model)
    del model.graph.value_info[:]  # which had the shapes


def _widen_convolution(model: Any, node: Any, channels: _Channels, more: dict[str, int]) -> None:
    made, read = (more.get(channels.group(name), 0) for name in (node.output[0], node.input[0]))
    if not made and not read:
        return
    weight = channels.constants[node.input[1]]
    if is_depthwise(node, weight):
        read = 0
        group = next(item for item in node.attribute if item.name == "group")
        group.i += made
    for index, sides in _sides(node, made, read):
        node.input[index] = _padded(model, channels.constants, node.input[index], sides)


def _sides(node: Any, made: int, read: int) -> Iterator[tuple[int, dict[int, int]]]:
    yield 1, {0: made, 1: read}
    if len(node.input) > 2 and node.input[2]:
        yield 2, {0: made}


def _padded(model: Any, constants: dict[str, NDArray[Any]], name: str, sides: dict[int, int]) -> str:
    array = constants[name]
    if not any(sides.values()):
        return name
    wide = np.pad(array, [(0, sides.get(axis, 0)) for axis in range(array.ndim)])
    return constant(model, "_".join([name, "wide", *map(str, wide.shape)]), wide, array.dtype.type)


def _spread(array: NDArray[Any]) -> bool:
    """Whether it is one number, or one for each channel of 1xCx1x1."""
    return bool(array.size == 1 or (array.ndim == 4 and array.size == array.shape[1]))
