"""Evaluates a saved CoreML package's MIL program in torch, so that conversions can be proven without a Mac.

Every operation's result is rounded to the type that the program gives it, float32 or float16. It proves the graph that the
package holds, not Apple's runtime, which may accumulate differently.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.converting import coremltools
from export.errors import UnknownOperation, UnreadableModel
from export.mil_ops import OPERATIONS, Value


class MilProgram:
    """The main function of a package. ``counts``: operations by name, constants left out.

    ``precise`` computes within an operation in float64, which is slow but leaves no rounding of torch's own.
    """

    def __init__(self, package: Path, *, precise: bool = False) -> None:
        self._type = torch.float64 if precise else torch.float32
        _check_package(package)
        try:
            spec = coremltools().models.utils.load_spec(str(package))
            weights = str(next(package.rglob("weights"), package))
        except Exception as error:  # protobuf's and coremltools' errors share no base
            raise UnreadableModel(f"{package} is no CoreML package, or damaged ({error}): export it again.") from error
        self._function = _main_function(spec, weights, package)
        self._types = coremltools().converters.mil.mil.types
        self.metadata: dict[str, str] = dict(spec.description.metadata.userDefined)
        self.description = spec.description
        self.spec_version = int(spec.specificationVersion)
        self.operations: list[Any] = [op for op in self._function.operations if op.op_type != "const"]
        self.counts: dict[str, int] = {}
        for operation in self.operations:
            self.counts[operation.op_type] = self.counts.get(operation.op_type, 0) + 1
        self._constants: dict[Any, Value] = {}

    @property
    def inputs(self) -> list[str]:
        return list(self._function.inputs)

    @property
    def outputs(self) -> list[Any]:
        return list(self._function.outputs)

    @torch.inference_mode()
    def run(self, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """Arrays by input name -> arrays by output name. Raises ``UnknownOperation``."""
        values: dict[Any, Value] = {}
        for name, variable in self._function.inputs.items():
            values[variable] = self._rounded(torch.from_numpy(np.asarray(feed[name], np.float32)), variable)
        last_use = self._last_uses()
        for index, operation in enumerate(self.operations):
            arguments = {key: self._resolve(given, values) for key, given in operation.inputs.items()}
            results = evaluate(operation.op_type, arguments)
            if operation.op_type.startswith("constexpr_"):
                self._constants[operation.outputs[0]] = self._rounded(results[0], operation.outputs[0])
                continue
            for variable, result in zip(operation.outputs, results, strict=True):
                values[variable] = self._rounded(result, variable)
            for variable in last_use.get(index, ()):
                values.pop(variable, None)
        return {
            variable.name: np.asarray(self._resolve(variable, values), np.float32)
            for variable in self._function.outputs
        }

    def _rounded(self, value: Value, variable: Any) -> Value:
        """To the type that the program gives the variable, kept in the type that is computed in."""
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return value
        half = self._types.is_tensor(variable.sym_type) and variable.dtype == self._types.fp16
        return value.to(torch.float16 if half else torch.float32).to(self._type)

    def _last_uses(self) -> dict[int, list[Any]]:
        """Step -> the values that nothing after it reads, so that a large network fits in memory."""
        last: dict[Any, int] = {}
        for index, operation in enumerate(self.operations):
            for given in operation.inputs.values():
                for variable in given if isinstance(given, (list, tuple)) else (given,):
                    last[variable] = index
        kept = set(self._function.outputs)
        steps: dict[int, list[Any]] = {}
        for variable, index in last.items():
            if variable not in kept:
                steps.setdefault(index, []).append(variable)
        return steps

    def _resolve(self, given: Any, values: dict[Any, Value]) -> Any:
        if isinstance(given, (list, tuple)):
            return [self._resolve(one, values) for one in given]
        if given in values:
            return values[given]
        if given not in self._constants:
            self._constants[given] = self._rounded(_constant(given), given)
        return self._constants[given]


def evaluate(name: str, arguments: dict[str, Any]) -> list[Value]:
    """One operation on resolved arguments: tensors, numbers, strings, lists of them."""
    if name not in OPERATIONS:
        raise UnknownOperation(f"The MIL evaluator does not know '{name}': add it to export/mil_ops.py, with a test.")
    result = OPERATIONS[name](**arguments)
    return list(result) if isinstance(result, (tuple, list)) else [result]


def _check_package(package: Path) -> None:
    if not package.exists():
        raise UnreadableModel(f"There is no {package}: export it first, or mend the path.")
    if not package.is_dir() or not (package / "Manifest.json").is_file():
        raise UnreadableModel(f"{package} is no CoreML package (a folder with Manifest.json): export it again.")


def _main_function(spec: Any, weights: str, package: Path) -> Any:
    from coremltools.converters.mil.frontend.milproto.load import load

    try:
        program = load(spec, spec.specificationVersion, weights)
        return program.functions["main"]
    except Exception as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise UnreadableModel(f"{package} holds no readable MIL program ({reason}): export it again.") from error


def _constant(variable: Any) -> Value:
    value = variable.val
    if isinstance(value, np.ndarray) and value.ndim:
        if value.dtype.kind in "US":
            return [str(item) for item in value]
        if value.dtype == np.float16:
            value = value.astype(np.float32)  # the same numbers
        return torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.item()
    if value is None:
        raise UnreadableModel(f"The program's value '{variable.name}' is never computed: export the model again.")
    result: Value = value
    return result
