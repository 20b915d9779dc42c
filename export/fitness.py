"""What a phone will make of a file: operations that leave the Neural Engine, shapes, memory, onnxruntime's own checker."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from export.errors import UnreadableModel

OFF_ENGINE_ONNX = {
    "Gather": "gather", "GatherElements": "gather", "GatherND": "gather", "ScatterElements": "scatter",
    "ScatterND": "scatter", "GridSample": "resample", "TopK": "top-k", "NonZero": "shape that depends on the data",
    "Loop": "control flow", "If": "control flow", "Sin": "sine", "Cos": "cosine",
}  # fmt: skip
OFF_ENGINE_MIL = {
    "gather": "gather", "gather_along_axis": "gather", "gather_nd": "gather", "scatter": "scatter",
    "scatter_along_axis": "scatter", "scatter_nd": "scatter", "resample": "resample", "topk": "top-k",
    "non_zero": "shape that depends on the data", "while_loop": "control flow", "cond": "control flow", "sin": "sine",
    "cos": "cosine",
}  # fmt: skip
KNOWN_DOMAINS = {"", "ai.onnx", "com.microsoft"}
HIGHEST_RANK = 4
TOO_MUCH_MEMORY = 500_000_000


@dataclass
class Fitness:
    """``off_engine``: reason -> how often. ``problems`` make ``check`` fail."""

    kind: str
    operations: Counter[str]
    off_engine: Counter[str] = field(default_factory=Counter)
    peak_bytes: int = 0
    mobile: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """For a terminal."""
        engine = ", ".join(f"{count} {reason}" for reason, count in self.off_engine.most_common())
        shown = ", ".join(f"{name} {count}" for name, count in self.operations.most_common(12))
        return [
            self.kind,
            f"operations: {self.operations.total()} ({shown}, ...)",
            f"leaves the Neural Engine: {engine or 'nothing'}",
            f"peak activation memory: about {self.peak_bytes / 1e6:.1f} MB",
            *(f"onnxruntime mobile: {line}" for line in self.mobile),
            *(f"PROBLEM: {problem}" for problem in self.problems),
        ]


def check(path: Path) -> Fitness:
    """Raises ``UnreadableModel`` for what is no model."""
    if not path.exists():
        raise UnreadableModel(f"There is no {path}: export it first, or mend the path.")
    if path.suffix == ".onnx":
        return _check_onnx(path)
    if path.suffix == ".mlpackage":
        return _check_coreml(path)
    raise UnreadableModel(f"{path} is neither an .onnx file nor an .mlpackage: give what 'python -m export' wrote.")


def _check_onnx(path: Path) -> Fitness:
    import onnx

    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # protobuf's and the checker's errors share no base
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise UnreadableModel(f"{path} is no valid ONNX model ({reason}): export it again.") from error
    opset = max(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
    fitness = Fitness(f"ONNX, opset {opset}", Counter(node.op_type for node in model.graph.node))
    fitness.metadata = {prop.key: prop.value for prop in model.metadata_props}
    custom = {f"{node.domain}.{node.op_type}" for node in model.graph.node if node.domain not in KNOWN_DOMAINS}
    if custom:
        fitness.problems.append(f"custom operations, which phones do not have: {', '.join(sorted(custom))}")
    values = [*model.graph.value_info, *model.graph.input, *model.graph.output]
    shapes = {value.name: _onnx_shape(value) for value in values}
    types = {value.name: int(value.type.tensor_type.elem_type) for value in values}
    if any(None in shapes[value.name] for value in model.graph.input):
        fitness.problems.append("an input of no fixed size: the Neural Engine takes fixed sizes only")
    fixed, scalars = _fixed(model.graph), {tensor.name for tensor in model.graph.initializer if not tensor.dims}
    for node in model.graph.node:
        slices = node.op_type == "Gather" and node.input[1] in scalars
        if not slices and not fixed.issuperset(node.output):  # what is fixed is computed as the file is loaded
            _note(fitness, OFF_ENGINE_ONNX.get(node.op_type, ""), [len(shapes.get(name, ())) for name in node.output])
    sizes = {name: _bytes(shape, 2 if types[name] == 10 else 1 if types[name] in (2, 3) else 4)
             for name, shape in shapes.items()}  # fmt: skip
    steps = [(list(node.input), list(node.output)) for node in model.graph.node]
    fitness.peak_bytes = peak_bytes(steps, sizes, [value.name for value in model.graph.output])
    fitness.mobile = _mobile_checker(path)
    _judge_memory(fitness)
    return fitness


def _check_coreml(path: Path) -> Fitness:
    from export.mil import MilProgram

    program = MilProgram(path)
    from coremltools.converters.mil.mil import types

    fitness = Fitness(f"CoreML, specification {program.spec_version}", Counter(program.counts))
    fitness.metadata = program.metadata
    if "custom_layer" in program.counts or any(name.startswith("custom") for name in program.counts):
        fitness.problems.append("custom layers, which need code in the application")
    sizes: dict[Any, int] = {}
    steps = []
    for operation in program.operations:
        if operation.op_type.startswith("constexpr_"):
            continue
        outputs = list(operation.outputs)
        for variable in outputs:
            shape = [side if isinstance(side, int) else None for side in variable.shape]
            if None in shape:
                fitness.problems.append(f"'{variable.name}' has no fixed shape")
            sizes[variable] = _bytes(shape, 2 if variable.dtype == types.fp16 else 4)
        _note(fitness, OFF_ENGINE_MIL.get(operation.op_type, ""), [len(variable.shape) for variable in outputs])
        read = [
            one
            for given in operation.inputs.values()
            for one in (given if isinstance(given, (list, tuple)) else [given])
        ]
        steps.append((read, outputs))
    fitness.peak_bytes = peak_bytes(steps, sizes, program.outputs)
    _judge_memory(fitness)
    return fitness


def _note(fitness: Fitness, reason: str, ranks: Iterable[int]) -> None:
    if reason:
        fitness.off_engine[reason] += 1
    if any(rank > HIGHEST_RANK for rank in ranks):
        fitness.off_engine[f"rank above {HIGHEST_RANK}"] += 1


def _judge_memory(fitness: Fitness) -> None:
    if fitness.peak_bytes > TOO_MUCH_MEMORY:
        fitness.problems.append(f"activations of {fitness.peak_bytes / 1e6:.0f} MB: a phone may end the application")


def peak_bytes(steps: list[tuple[list[Any], list[Any]]], sizes: dict[Any, int], outputs: Iterable[Any]) -> int:
    """The most that is alive at once when each value is freed after its last reader, computed in this order."""
    last = {name: index for index, (read, _made) in enumerate(steps) for name in read}
    last |= dict.fromkeys(outputs, len(steps))
    made_inside = {name for _read, made in steps for name in made}
    alive = {name: sizes[name] for name in last if name in sizes and name not in made_inside}
    peak = sum(alive.values())
    for index, (read, made) in enumerate(steps):
        alive |= {name: sizes.get(name, 0) for name in made}
        peak = max(peak, sum(alive.values()))
        for name in [*read, *made]:
            if last.get(name, index) <= index:
                alive.pop(name, None)
    return peak


def _fixed(graph: Any) -> set[str]:
    """Names of the constants, and of what is made of constants alone."""
    fixed = {"", *(tensor.name for tensor in graph.initializer)}
    for node in graph.node:
        if fixed.issuperset(node.input):
            fixed.update(node.output)
    return fixed


def _onnx_shape(value: Any) -> list[int | None]:
    return [side.dim_value if side.HasField("dim_value") else None for side in value.type.tensor_type.shape.dim]


def _bytes(shape: Iterable[int | None], element: int) -> int:
    return math.prod(side or 1 for side in shape) * element


def _mobile_checker(path: Path) -> list[str]:
    """From onnxruntime's usability checker: how much of the model each mobile runtime takes, and whether that would help."""
    from onnxruntime.tools.mobile_helpers import usability_checker

    log = logging.getLogger("export.mobile")
    kept = _Lines()
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(kept)
    disabled = logging.root.manager.disable
    logging.disable(logging.NOTSET)  # its findings are a log
    try:
        usability_checker.analyze_model(path, True, log)
    except Exception as error:  # its parts raise whatever they meet; the rest of the check stands
        return [f"the usability checker gave up ({type(error).__name__})"]
    finally:
        log.removeHandler(kept)
        logging.disable(disabled)
    return [line for line in kept.lines if line.startswith("Model should perform") or "can be handled by" in line]


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += [line.strip() for line in record.getMessage().splitlines() if line.strip()]
