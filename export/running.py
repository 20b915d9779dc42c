"""Runs exported files: ONNX in onnxruntime, CoreML by the MIL evaluator (on macOS by CoreML itself)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from export.converting import IMAGE, MASK_IN, coremltools, reason_of
from export.errors import ConversionFailed, UnreadableModel
from export.pictures import Feed, feed_of
from server.predictors.base import resize_map
from server.segmenter import RGB, Mask, Tap


class Runner(Protocol):
    """``metadata`` are the file's own notes; ``run`` gives the map, float32 1x1xSxS."""

    metadata: dict[str, str]

    def run(self, feed: Feed) -> NDArray[np.float32]: ...


class OnnxRunner:
    def __init__(self, model: Path | bytes, threads: int = 1) -> None:
        self.session = session(model, threads)
        self.metadata: dict[str, str] = dict(self.session.get_modelmeta().custom_metadata_map)

    def run(self, feed: Feed) -> NDArray[np.float32]:
        """Raises ``ConversionFailed`` for a graph that loads, and whose kernels refuse what they get."""
        try:
            (result,) = self.session.run(None, feed)
        except Exception as error:  # onnxruntime's own have no common class
            raise ConversionFailed(f"onnxruntime loads this file and cannot run it ({reason_of(error)}).") from error
        return np.asarray(result, np.float32)


class CoreMLRunner:
    """By the MIL evaluator, wherever it runs."""

    def __init__(self, package: Path, *, precise: bool = False) -> None:
        from export.mil import MilProgram

        self.program = MilProgram(package, precise=precise)
        self.metadata = self.program.metadata

    def run(self, feed: Feed) -> NDArray[np.float32]:
        (result,) = self.program.run(feed).values()
        return result


class ApplesRunner:
    """By CoreML, which only macOS has."""

    def __init__(self, package: Path) -> None:
        self._model = coremltools().models.MLModel(str(package))
        self.metadata: dict[str, str] = dict(self._model.user_defined_metadata)

    def run(self, feed: Feed) -> NDArray[np.float32]:
        from PIL import Image

        picture = Image.fromarray(feed[IMAGE][0].transpose(1, 2, 0).astype(np.uint8))
        given: dict[str, Any] = {IMAGE: picture, **{key: value for key, value in feed.items() if key == MASK_IN}}
        (result,) = self._model.predict(given).values()
        return np.asarray(result, np.float32)


def open_model(path: Path, threads: int = 1) -> Runner:
    """By the file's kind. Raises ``UnreadableModel``."""
    if path.suffix == ".onnx":
        return OnnxRunner(path, threads)
    if path.suffix == ".mlpackage":
        return ApplesRunner(path) if sys.platform == "darwin" else CoreMLRunner(path)
    raise UnreadableModel(f"{path} is neither an .onnx file nor an .mlpackage: give what 'python -m export' wrote.")


def session(model: Path | bytes, threads: int = 1) -> Any:
    """An onnxruntime session on the CPU that leaves the cores to others while it waits. Raises ``UnreadableModel``."""
    import onnxruntime as ort

    if isinstance(model, Path) and not model.is_file():
        raise UnreadableModel(f"There is no {model}: export it first, or mend the path.")
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors only; they are raised too
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(
            str(model) if isinstance(model, Path) else model, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's exceptions share no base of their own
        reason = str(error).splitlines()[0][:200]
        name = model if isinstance(model, Path) else "The model"
        raise UnreadableModel(f"{name} is no usable ONNX model ({reason}): export it again.") from error


class ExportedSegmenter:
    """An exported file as a ``server.segmenter.Segmenter``: the picture squeezed to its square, the map stretched back."""

    def __init__(self, runner: Runner, size: int, name: str) -> None:
        self.name = name
        self._runner, self._size = runner, size

    def predict(self, image: RGB, tap: Tap | None = None) -> Mask:
        """uint8 HxWx3 RGB -> float32 HxW in [0, 1]; the tap is not used."""
        result = self._runner.run(feed_of(False, self._size, image))
        return resize_map(np.clip(result[0, 0], 0, 1), *image.shape[:2])


class TorchRunner:
    """The network itself, to compare with."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self.metadata: dict[str, str] = {}

    def run(self, feed: Feed) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            result: NDArray[np.float32] = self._graph(*(torch.from_numpy(array) for array in feed.values())).numpy()
        return result
