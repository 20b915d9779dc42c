"""Smaller weights by kept tools: ONNX QDQ after calibration on pictures, CoreML int8 weights and 6-bit palettes."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from export.converting import INEXACT_PASS, MASK, quiet, reason_of
from export.doubling import double_integers
from export.errors import ConversionFailed
from export.integers import absorb_factors, join_scales, lean, quantisable, unround
from export.onnx_graph import constants_of, makers_of, readers_of, shapes_of
from export.pictures import Feed
from export.widening import widen

KEPT_PARTS = (
    "hierpr", "head0.conv2", "head8.conv2", "head4.conv2", "head2.conv2", "heads", "sem_seg_head", "rim",
)  # fmt: skip
"""Parts of the networks that select, or that give the last logits: a rounded value there moves pixels."""
KEPT_NEAR_OUTPUT = 3
FEW = 16
"""Channels: integer kernels compute that many at once."""
ACTIVATIONS, MOVES = {"Relu", "Clip", "HardSwish"}, {"Transpose", "Reshape"}
CALIBRATION_GMACS, FEWEST_PICTURES = 1500.0, 8
"""What calibration may compute: onnxruntime runs the network unoptimised for it, seconds a picture for a large one."""
QUANTISED = [
    "Conv", "MatMul", "Gemm", "Add", "Mul", "Concat", "Resize", "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool",
]  # fmt: skip


class _Reader:
    """Hands onnxruntime one picture after the other."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self._feeds, None)


def calibrating(feeds: Sequence[Feed], gmacs: float) -> list[Feed]:
    """As many of the pictures, evenly spread, as a network of so many billions of products should be calibrated on."""
    wanted = min(len(feeds), max(FEWEST_PICTURES, int(CALIBRATION_GMACS / max(gmacs, 1.0))))
    return [feeds[index * len(feeds) // wanted] for index in range(wanted)]


def int8_onnx(model: Any, feeds: Sequence[Feed]) -> Any:
    """QDQ with U8 activations and S8 weights by channel, which x86 and ARM kernels both have.

    Ranges are those of all pictures together: their mean over the pictures, onnxruntime's other way, cuts extremes off and costs
    ``lite`` .008 weighted F.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    model = copy.deepcopy(model)
    kept = kept_nodes(model)
    widen(model)
    quantisable(model, kept)
    with tempfile.TemporaryDirectory(prefix="arcp-export-") as folder, quiet():
        plain, made = Path(folder) / "plain.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, plain)
        quant_pre_process(str(plain), str(plain), skip_optimization=True, skip_symbolic_shape=True)
        quantize_static(
            str(plain),
            str(made),
            _Reader(feeds),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=QUANTISED,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=sorted(kept),
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"ActivationSymmetric": False, "CalibMovingAverage": False},
        )
        quantised = onnx.load(made)
    unround(quantised, kept)
    join_scales(quantised)
    double_integers(quantised)
    absorb_factors(quantised)
    lean(quantised)
    return quantised


def kept_nodes(model: Any) -> set[str]:
    """Names of the nodes that stay in float32: the selecting parts, the last few before the output, and what integers slow down."""
    kept = {node.name for node in model.graph.node if any(part in node.doc_string for part in KEPT_PARTS)}
    makers = makers_of(model)
    frontier = [MASK]
    for _ in range(KEPT_NEAR_OUTPUT):
        nodes = [makers[name] for name in frontier if name in makers]
        kept |= {node.name for node in nodes}
        frontier = [name for node in nodes for name in node.input]
    return kept | thin_nodes(model) | picked_nodes(model) | stacked_nodes(model)


def thin_nodes(model: Any) -> set[str]:
    """Those that read and make maps of few channels, where float32 is two to three times as fast.

    Products of matrices are left out: where transformers have channels, theirs have heads.
    """
    constants, shapes = constants_of(model), shapes_of(model)
    kept: set[str] = set()
    floats: set[str] = set()

    def channels(name: str) -> int:
        shape = shapes.get(name, [])
        return shape[1] if len(shape) == 4 else 1 if len(shape) == 2 and node.op_type == "Resize" else FEW + 1

    for node in model.graph.node:
        values = [name for name in node.input if name and name not in constants]
        if not values or not node.output:
            continue
        if node.op_type in ACTIVATIONS:
            thin = all(name in floats for name in values)
        else:
            thin = node.op_type != "MatMul" and max(map(channels, [*values, node.output[0]])) <= FEW
        if thin:
            kept.add(node.name)
            floats.update(node.output)
    return kept


def picked_nodes(model: Any) -> set[str]:
    """Convolutions of whose result only rows are gathered: onnxruntime would dequantise all of it for each time that some are."""
    readers = readers_of(model)

    def picked(name: str) -> bool:
        found = readers.get(name, [])
        return bool(found) and all(
            node.op_type == "Gather" or (node.op_type in MOVES and picked(node.output[0])) for node in found
        )

    return {node.name for node in model.graph.node if node.op_type == "Conv" and picked(node.output[0])}


def stacked_nodes(model: Any) -> set[str]:
    """Products with a constant stack of matrices (GEM-Base's relative positions): onnxruntime has no integer kernel for scales by
    channel there, and finds out only when the model runs."""
    constants = constants_of(model)
    return {
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul" and any(name in constants and constants[name].ndim > 2 for name in node.input)
    }


def int8_coreml(model: Any) -> Any:
    """Weights in 8 bits by channel, activations as they are."""
    from coremltools.optimize.coreml import OpLinearQuantizerConfig, OptimizationConfig, linear_quantize_weights

    with _compressing():
        return linear_quantize_weights(
            model, OptimizationConfig(global_config=OpLinearQuantizerConfig(mode="linear_symmetric"))
        )


def palette_coreml(model: Any, bits: int = 6) -> Any:
    """Each weight tensor as indices into 2**bits values, found by k-means. Fewer bits crash some phones' Neural Engines."""
    from coremltools.optimize.coreml import OpPalettizerConfig, OptimizationConfig, palettize_weights

    with _compressing():
        return palettize_weights(
            model, OptimizationConfig(global_config=OpPalettizerConfig(mode="kmeans", nbits=bits, num_kmeans_workers=1))
        )


@contextmanager
def _compressing() -> Iterator[None]:
    """coremltools converts the whole program again, with every pass: the one that is left out elsewhere does nothing here too."""
    from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
    from coremltools.converters.mil.mil.passes.pass_registry import PASS_REGISTRY

    class Nothing(AbstractGraphPass):  # type: ignore[misc]
        def apply(self, prog: Any) -> None:
            pass

    left_out = PASS_REGISTRY.passes[INEXACT_PASS]
    PASS_REGISTRY.passes[INEXACT_PASS] = Nothing
    try:
        with quiet():
            yield
    except Exception as error:
        raise ConversionFailed(f"coremltools could not compress this network ({reason_of(error)}).") from error
    finally:
        PASS_REGISTRY.passes[INEXACT_PASS] = left_out
