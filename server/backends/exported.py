"""Networks of the catalogue from a file that ``python -m export`` wrote: no torch, fp32 or int8, onnxruntime or OpenVINO."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from server.errors import BadWeights, ModelUnavailable
from server.segmenter import RGB, Mask, Stages, Tap
from server.segmenters.runtime import open_onnx

TAIL_BYTES = 64 << 10
"""ONNX writes a model's properties behind its graph."""


class ExportedSegmenter:
    """See ``server.segmenter.Segmenter``. The file takes RGB in 0..255, squeezed to its size, and gives a map in [0, 1].

    Raises ``ModelUnavailable`` where the file is missing, ``BadWeights`` where it is damaged or another model's.
    """

    def __init__(self, name: str, path: Path, device: str = "auto") -> None:
        if not path.is_file():
            raise ModelUnavailable(
                f"There is no file {path}: 'python -m export {name} --format onnx -o DIR' writes one."
            )
        written = model_in(path)
        if written != name:
            whose = f"of '{written}'" if written else "not written by 'python -m export'"
            raise BadWeights(f"{path} is {whose}: give the file that 'python -m export {name} --format onnx' wrote.")
        self.name = name
        self._run, (self._height, self._width) = open_onnx(path, device)

    def predict(self, image: RGB, tap: Tap | None = None) -> Mask:
        """uint8 HxWx3 RGB -> float32 HxW in [0, 1], not stretched; the tap is not used."""
        return self._finish(self._infer([self._prepare(image, tap)])[0], image)

    def stages(self) -> Stages:
        """``predict`` in steps, for ``server.engine``."""
        return Stages(self._prepare, self._infer, self._finish)

    def _prepare(self, image: RGB, tap: Tap | None) -> NDArray[np.float32]:
        shrinking = image.shape[0] >= self._height and image.shape[1] >= self._width
        way = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
        small = cv2.resize(image, (self._width, self._height), interpolation=way)
        return np.ascontiguousarray(small.transpose(2, 0, 1)[None], np.float32)

    def _infer(self, items: Sequence[NDArray[np.float32]]) -> list[Mask]:
        """One after the other: the files' batch is 1."""
        return [self._run(item)[0, 0] for item in items]

    @staticmethod
    def _finish(mask: Mask, image: RGB) -> Mask:
        full = cv2.resize(mask, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
        return np.asarray(np.clip(full, 0, 1), np.float32)


def model_in(path: Path) -> str | None:
    """The name of the model that an exported file says it holds (the property ``model``)."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        tail = file.read()
    # StringStringEntryProto: field 1 is the key, field 2 the value, each with its length before it
    found = re.findall(rb"\x0a\x05model\x12(.)([a-z0-9-]+)", tail, re.DOTALL)
    return found[-1][1][: found[-1][0][0]].decode() if found else None
