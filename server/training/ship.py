"""From a run's checkpoint to the files that are shipped: ``python -m server.training.ship CHECKPOINT -o FOLDER``.

The averaged weights, sharpened by a gain on the last logits (short runs are less sure than they are right) and halved:
``lite.safetensors`` (matrices fp16, vectors fp32) and ``lite.onnx``, whose weights are the same fp16 numbers behind casts, so
that the runtime computes in fp32. Both say in their metadata which run made them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, nn

from server.command import run
from server.networks.backbones.efficientnet_lite0 import MEAN, STD
from server.networks.lite import Lite, lite

OPSET = 18
FINEST = "heads.4"
HALVED = 2
"""Tensors with at least so many dimensions are stored as fp16."""


class Shipped(nn.Module):
    """``lite`` as its ONNX file computes it: float32 Nx3xHxW RGB in 0..255 -> Nx1xHxW in [0, 1]."""

    def __init__(self, network: Lite) -> None:
        super().__init__()
        self.network = network
        self.rgb_mean: Tensor
        self.rgb_std: Tensor
        self.register_buffer("rgb_mean", torch.tensor(MEAN).view(1, 3, 1, 1) * 255)
        self.register_buffer("rgb_std", torch.tensor(STD).view(1, 3, 1, 1) * 255)

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.network((image - self.rgb_mean) / self.rgb_std)
        return out


def averaged_network(checkpoint: Path, gain: float = 1.0) -> tuple[Lite, dict[str, str]]:
    """The run's averaged network, its matrices rounded to fp16, in eval mode; and what made it.

    ``gain`` multiplies the finest logits, in the head's weights.
    """
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    tensors = dict(state["averaged"])
    for key in (f"{FINEST}.weight", f"{FINEST}.bias"):
        tensors[key] = tensors[key] * gain
    tensors = {key: value.half().float() if value.ndim >= HALVED else value for key, value in tensors.items()}
    network = lite()
    network.load_state_dict(tensors)
    recipe = state["recipe"]
    made = {
        "model": "lite",
        "recipe": recipe["name"],
        "seed": str(recipe["seed"]),
        "step": str(state["step"]),
        "batch": str(recipe["batch"]),
        "gain": str(gain),
        "licence": "research and non-commercial use",
    }
    return network.eval(), made


def write_safetensors(network: Lite, made: dict[str, str], path: Path) -> None:
    from safetensors.torch import save_file

    tensors = {
        key: (value.half() if value.ndim >= HALVED else value).contiguous()
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    save_file(tensors, path, metadata=made)


def write_onnx(network: Lite, made: dict[str, str], path: Path, size: int) -> None:
    """A fixed input of size x size. Matrices become fp16 initialisers behind a cast."""
    import onnx

    program = torch.onnx.export(
        Shipped(network).eval(),
        (torch.zeros(1, 3, size, size),),
        dynamo=True,
        opset_version=OPSET,
        input_names=["image"],
        output_names=["mask"],
        optimize=False,  # which would fold norms into weights before they are halved; the runtime folds them in fp32
        verbose=False,
    )
    assert program is not None  # it is, with dynamo
    model = program.model_proto
    for node in model.graph.node:
        node.ClearField("metadata_props")  # the exporter's stack traces
        node.ClearField("doc_string")
    _fix_types(model)
    _halve(model)
    onnx.helper.set_model_props(model, {**made, "size": str(size)})
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _fix_types(model: Any) -> None:
    """CastLike to Cast, which onnxruntime can fold, and then the norms behind it: the model runs in a third of the time."""
    from onnx import helper, shape_inference

    graph = shape_inference.infer_shapes(model).graph
    types = {value.name: value.type.tensor_type.elem_type for value in [*graph.value_info, *graph.input]}
    types |= {initialiser.name: initialiser.data_type for initialiser in graph.initializer}
    for node in model.graph.node:
        if node.op_type == "CastLike":
            node.op_type = "Cast"
            node.attribute.append(helper.make_attribute("to", types[node.input.pop(1)]))


def _halve(model: Any) -> None:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for initialiser in model.graph.initializer:
        values = numpy_helper.to_array(initialiser)
        if values.dtype == np.float32 and values.ndim >= HALVED and values.size >= 64:
            name = initialiser.name
            initialiser.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + ".half"))
            casts.append(helper.make_node("Cast", [name + ".half"], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder for the two files.")
@click.option("--size", default=256, show_default=True, type=click.IntRange(32), help="Input side of the ONNX model.")
@click.option("--gain", default=1.0, show_default=True, help="Of the last logits, fitted on pictures held out.")
def main(checkpoint: Path, out: Path, size: int, gain: float) -> None:
    """Write lite.safetensors and lite.onnx from a training checkpoint."""
    network, made = averaged_network(checkpoint, gain)
    out.mkdir(parents=True, exist_ok=True)
    write_safetensors(network, made, out / "lite.safetensors")
    write_onnx(network, made, out / "lite.onnx", size)
    click.echo(json.dumps({**made, "files": {p.name: p.stat().st_size for p in sorted(out.glob("lite.*"))}}))


if __name__ == "__main__":
    run(main, "python -m server.training.ship")
