"""CoreML packages made small without changing a number: look-up tables, every blob and constant once, short names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGE = 10_000
"""Numbers in a constant that is worth a look."""
TABLE = 256
"""Entries of a table whose indices are bytes."""
TABLES_PASS = "arcp::tables"
_KINDS = {"FLOAT16": "fp16", "FLOAT32": "float", "INT8": "int8", "UINT8": "uint8", "INT16": "int16", "UINT16": "uint16",
          "INT32": "int32"}  # fmt: skip
"""What the weight file's reader and writer call the program's types."""


def register_tables() -> str:
    """coremltools' name of a pass that spells attention's biases by distance, HxTxT, as H tables and one byte for each of TxT.

    A phone looks them up as it loads the model; the numbers stay what they were.
    """
    from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
    from coremltools.converters.mil.mil.passes.pass_registry import PASS_REGISTRY

    class Tables(AbstractGraphPass):  # type: ignore[misc]
        def apply(self, prog: Any) -> None:
            for function in prog.functions.values():
                for operation in list(function.operations):
                    if operation.op_type == "const":
                        _look_up(function, operation)

    PASS_REGISTRY.passes[TABLES_PASS] = Tables()
    return TABLES_PASS


def _look_up(block: Any, operation: Any) -> None:
    from coremltools.converters.mil import Builder

    (variable,) = operation.outputs
    value = variable.val
    if not isinstance(value, np.ndarray) or value.ndim != 3 or value.size < LARGE or value.dtype.kind != "f":
        return
    found = table_of(value)
    if found is None:
        return
    table, places = found
    with block:
        heads = [
            Builder.constexpr_lut_to_dense(
                indices=places.reshape(-1),
                lut=np.pad(row, (0, TABLE - len(row))),
                shape=np.array([1, *places.shape], np.uint32),
                before_op=operation,
                name=f"{variable.name}_{index}",
            )
            for index, row in enumerate(table)
        ]
        whole = Builder.concat(values=heads, axis=0, before_op=operation, name=f"{variable.name}_looked_up")
    block.replace_uses_of_var_after_op(anchor_op=operation, old_var=variable, new_var=whole)
    block.remove_ops([operation])


def table_of(array: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.uint8]] | None:
    """HxAxB -> HxK and the uint8 AxB that says which of the K columns stands where; None where there are too many.

    In the order of the columns' first occurrence, so that layers of one pattern have the same places.
    """
    columns = np.ascontiguousarray(array.reshape(len(array), -1).T)
    _, first, inverse = np.unique(columns, axis=0, return_index=True, return_inverse=True)
    if len(first) > TABLE:
        return None
    rank = np.argsort(np.argsort(first))
    return columns[np.sort(first)].T, rank[inverse.reshape(-1)].reshape(array.shape[1:]).astype(np.uint8)


def compact_package(package: Path) -> None:
    """A saved package with short names, each constant and each blob once, and no notes for debuggers."""
    from coremltools.proto import Model_pb2

    for notes in package.glob("*debug*.json"):
        notes.unlink()
    (file,) = package.rglob("model.mlmodel")
    spec = Model_pb2.Model()
    spec.ParseFromString(file.read_bytes())
    function = spec.mlProgram.functions["main"]
    (block,) = function.block_specializations.values()
    for weights in package.rglob("weight.bin"):
        _share_blobs(list(_blobs(block)), weights)
    _shorten(block, [value.name for value in function.inputs])
    file.write_bytes(spec.SerializeToString())


def _blobs(block: Any) -> Iterator[Any]:
    """Values of the block that lie in the weight file."""
    for operation in block.operations:
        for value in operation.attributes.values():
            if value.WhichOneof("value") == "blobFileValue":
                yield value


def _share_blobs(values: list[Any], weights: Path) -> None:
    """Write the file anew with only what these values read, equal contents once, and point the values there."""
    from coremltools.libmilstoragepython import _BlobStorageReader, _BlobStorageWriter
    from coremltools.proto import MIL_pb2

    renewed = weights.with_name("weight.new")
    reader, writer = _BlobStorageReader(str(weights)), _BlobStorageWriter(str(renewed))
    places: dict[tuple[str, bytes], int] = {}
    for value in values:
        kind = _KINDS[MIL_pb2.DataType.Name(value.type.tensorType.dataType)]
        numbers = getattr(reader, f"read_{kind}_data")(value.blobFileValue.offset)
        content = (kind, hashlib.sha256(np.asarray(numbers).tobytes()).digest())
        if content not in places:
            places[content] = getattr(writer, f"write_{kind}_data")(numbers)
        value.blobFileValue.offset = places[content]
    del reader, writer  # the file is whole once its writer is gone
    os.replace(renewed, weights)


def _shorten(block: Any, inputs: list[str]) -> None:
    short = {name: name for name in [*inputs, *block.outputs]}
    contents: dict[tuple[bytes, bytes], str] = {}
    kept = []
    for operation in block.operations:
        for given in operation.inputs.values():
            for argument in given.arguments:
                if argument.name:
                    argument.name = short[argument.name]
        (first, *_) = operation.outputs
        if operation.type == "const":
            value = operation.attributes["val"].SerializeToString(deterministic=True)
            content = (value, first.type.SerializeToString(deterministic=True))
            if content in contents:
                short[first.name] = contents[content]
                continue
            contents[content] = f"c{len(contents)}"
            short.setdefault(first.name, contents[content])
        for output in operation.outputs:
            output.name = short.setdefault(output.name, f"v{len(short)}")
        if "name" in operation.attributes:
            operation.attributes["name"].immediateValue.tensor.strings.values[0] = first.name
        kept.append(operation)
    del block.operations[:]
    block.operations.extend(kept)
