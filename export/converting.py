"""A graph of torch -> an ONNX model or a CoreML package, at float32 or half precision. Needs the ``export`` extra."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

from export.errors import ConversionFailed, MissingTool
from export.packages import register_tables
from export.rewriting import fusable_gelus, maps_last, pool_means, share_constants
from export.targets import Target

if TYPE_CHECKING:
    import torch
    from torch import nn

OPSET = 18
IMAGE, MASK_IN, MASK = "image", "mask", "result"
"""The names of inputs and output in every file."""

FULL_PRECISION_ONNX = (
    "Resize",
    "TopK",
    "GreaterOrEqual",
    "Min",
    "GridSample",
    "Log",
    "Div",
    "ReduceMean",
    "GlobalAveragePool",
)
FULL_PRECISION_MIL = {"topk", "greater_equal", "minimum", "resample", "log", "real_div", "reduce_mean", "reduce_max"}
"""Operations kept in float32 in half-precision models: rounding would change a selection, or leave the range."""

INEXACT_PASS = "common::fuse_elementwise_to_batchnorm"
"""It turns the normalisation's scale and shift into a batch norm of variance 1 and epsilon 1e-5: five millionths too small."""


def require_tools() -> None:
    """Raises ``MissingTool`` with the command that installs what is missing."""
    from importlib.util import find_spec

    missing = [name for name in ("torch", "onnx", "onnxscript", "onnxslim", "coremltools") if find_spec(name) is None]
    if missing:
        raise MissingTool(f"{', '.join(missing)} missing: pip install 'ar-copy-paste[export]'.")


def coremltools() -> Any:
    """The package, imported without its warnings: it names each library that only macOS has."""
    with quiet():
        import coremltools as tools
    return tools


@contextmanager
def quiet() -> Iterator[None]:
    """Converters show a bar for every pass and warn about their own insides; what matters is raised."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def example(target: Target, size: int) -> tuple[torch.Tensor, ...]:
    """Inputs of the right shapes."""
    import torch

    image = torch.zeros(1, 3, size, size)
    return (image, torch.zeros(1, 1, size, size)) if target.with_mask else (image,)


def captured(graph: nn.Module, inputs: tuple[torch.Tensor, ...]) -> Any:
    """The graph as an exported program of core operations. Raises ``ConversionFailed``."""
    import torch

    try:
        with quiet(), torch.no_grad():
            return torch.export.export(graph, inputs).run_decompositions({})
    except Exception as error:
        raise ConversionFailed(f"torch cannot capture this network ({reason_of(error)}).") from error


def to_onnx(program: Any, inputs: tuple[torch.Tensor, ...]) -> Any:
    """An ``onnx.ModelProto`` in float32, simplified."""
    import onnxslim
    import torch

    names = [IMAGE, MASK_IN][: len(inputs)]
    try:
        with quiet():
            exported = torch.onnx.export(
                program, inputs, dynamo=True, opset_version=OPSET, input_names=names, output_names=[MASK], verbose=False
            )
            assert exported is not None  # it is, with dynamo
            model = exported.model_proto
            scopes = {node.name: _scope(node) for node in model.graph.node}
            _forget_traces(model)
            model = onnxslim.slim(model)
    except Exception as error:
        raise ConversionFailed(f"The ONNX exporter refused this network ({reason_of(error)}).") from error
    for node in model.graph.node:  # which part of the network each node is of, for the quantiser
        node.doc_string = scopes.get(node.name, "")
    for rewrite in (pool_means, fusable_gelus, maps_last, share_constants):
        rewrite(model)
    return model


def _scope(node: Any) -> str:
    return next((prop.value for prop in node.metadata_props if prop.key == "pkg.torch.onnx.name_scopes"), "")


def _forget_traces(model: Any) -> None:
    """The exporter notes the stack of every operation: paths of this machine, and half of a small file."""
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output]:
        value.ClearField("metadata_props")
        value.ClearField("doc_string")
    model.graph.ClearField("doc_string")
    model.graph.ClearField("metadata_props")


def compact(model: Any) -> None:
    """Short names for everything inside and no notes on shapes, in place: in a small network names are a tenth of the file."""
    graph = model.graph
    kept = {value.name for value in [*graph.input, *graph.output]}
    short: dict[str, str] = {"": ""}

    def renamed(name: str) -> str:
        if name not in short:
            short[name] = name if name in kept else f"t{len(short)}"
        return short[name]

    for tensor in graph.initializer:
        tensor.name = renamed(tensor.name)
    for node in graph.node:
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]
        node.name = node.doc_string = ""
    del graph.value_info[:]


def half_onnx(model: Any) -> Any:
    """Half-precision weights and activations; inputs and output stay float32. ``model`` is left as it is."""
    import copy

    model = copy.deepcopy(model)
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    with quiet():
        half = convert_float_to_float16(
            model, keep_io_types=True, disable_shape_infer=False, op_block_list=list(FULL_PRECISION_ONNX)
        )
        once = {node.name or index: node for index, node in enumerate(half.graph.node)}
        nodes = list(once.values())  # the converter casts a value anew, by the same name, for each that reads it
        del half.graph.node[:]
        half.graph.node.extend(nodes)
        sorted_ = OnnxModel(half)
        sorted_.topological_sort()
        return sorted_.model


def to_coreml(program: Any, inputs: tuple[torch.Tensor, ...], half: bool) -> Any:
    """An ``MLModel`` with an RGB image input (iOS 16 and later)."""
    import numpy as np

    ct = coremltools()
    kinds = [ct.ImageType(name=IMAGE, shape=tuple(inputs[0].shape), color_layout=ct.colorlayout.RGB)]
    kinds += [ct.TensorType(name=MASK_IN, shape=tuple(mask.shape), dtype=np.float32) for mask in inputs[1:]]
    precision = ct.precision.FLOAT32
    if half:
        precision = ct.transform.FP16ComputePrecision(op_selector=lambda op: op.op_type not in FULL_PRECISION_MIL)
    passes = ct.PassPipeline.DEFAULT
    passes.remove_passes({INEXACT_PASS})
    passes.append_pass(register_tables())
    try:
        with quiet():
            return ct.convert(
                program,
                inputs=kinds,
                outputs=[ct.TensorType(name=MASK, dtype=np.float32)],
                convert_to="mlprogram",
                minimum_deployment_target=ct.target.iOS16,
                compute_precision=precision,
                pass_pipeline=passes,
                skip_model_load=True,
            )
    except Exception as error:
        raise ConversionFailed(f"coremltools refused this network ({reason_of(error)}).") from error


def reason_of(error: Exception) -> str:
    """A converter's error in one line."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:300] if lines else ''}"
