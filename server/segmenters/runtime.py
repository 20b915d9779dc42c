"""Running an ONNX file: through onnxruntime, or OpenVINO where it is installed (several times faster on CPUs with AMX)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.errors import BadWeights, DeviceUnavailable

MAX_THREADS = 8

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def open_onnx(path: Path, device: str = "auto") -> tuple[Run, tuple[int, int]]:
    """The function from one picture's input (1, 3, H, W) to the file's first output, and its (H, W).

    Raises ``BadWeights`` where the file is damaged or does not take one RGB picture of a fixed size, ``DeviceUnavailable``.
    ``ARCP_ONNX_RUNTIME=onnxruntime`` keeps OpenVINO out.
    """
    wanted = os.environ.get("ARCP_ONNX_RUNTIME", "openvino")
    if wanted == "openvino" and not device.startswith("cuda") and find_spec("openvino"):
        return _openvino(path)
    return _onnxruntime(path, device)


def _onnxruntime(path: Path, device: str) -> tuple[Run, tuple[int, int]]:
    import onnxruntime as ort

    cuda = "CUDAExecutionProvider" in ort.get_available_providers() and device != "cpu"
    if device.startswith("cuda") and not cuda:
        raise DeviceUnavailable("onnxruntime here has no CUDA: use --device auto or cpu, or install onnxruntime-gpu.")
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors only; they are raised too
    options.intra_op_num_threads = min(os.cpu_count() or 1, MAX_THREADS)
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other work shares these cores
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"] if cuda else ["CPUExecutionProvider"]
    try:
        session = ort.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's exceptions share no base of their own
        raise _damaged(path, error) from error
    inputs = session.get_inputs()
    name, output = inputs[0].name, session.get_outputs()[0].name
    side = _side(path, len(inputs), list(inputs[0].shape))

    def run(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(session.run([output], {name: x})[0], np.float32)

    return run, side


def _openvino(path: Path) -> tuple[Run, tuple[int, int]]:
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # else importing it reports to Intel
    import openvino

    try:
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(path), "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    except Exception as error:  # a RuntimeError of many causes
        raise _damaged(path, error) from error
    shape = [side.get_length() if side.is_static else None for side in compiled.input(0).partial_shape]
    side = _side(path, len(compiled.inputs), shape)

    def run(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.array(compiled([x])[compiled.output(0)], np.float32)

    return run, side


def _damaged(path: Path, error: Exception) -> BadWeights:
    reason = str(error).strip().splitlines()[0][:160]
    return BadWeights(f"{path} is not a usable ONNX model ({reason}): download or import it again.")


def _side(path: Path, inputs: int, shape: list[Any]) -> tuple[int, int]:
    sides = shape[2:]
    if inputs != 1 or len(shape) != 4 or shape[1] != 3 or not all(isinstance(side, int) for side in sides):
        raise BadWeights(f"{path} does not take one RGB picture of a fixed size: it is another kind of model.")
    return int(sides[0]), int(sides[1])
