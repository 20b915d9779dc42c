"""``lite``, the embedded default, through onnxruntime: no torch. Input and output are described in ``docs/models/lite.md``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from server.edges import snapped
from server.errors import BadWeights, DeviceUnavailable, ModelUnavailable
from server.looking import shrunk
from server.segmenter import RGB, Mask, Stages, Tap

WEIGHTS = Path(__file__).parents[1] / "weights_shipped" / "lite" / "lite.onnx"
RESOLUTION = 512
"""Long side in px beyond which the picture adds nothing to the map: it comes from a grid of 128 cells."""
LEAST_SCORE = 0.9
"""Grass, wood grain and an eighth of 64 rooms score less in our trials, none of 90 held-out objects does."""
FLAT = 8
"""Grey levels: a picture whose colours, averaged over a few pixels, differ by less shows nothing (a covered lens, a blank wall).
Such pictures are outside of what the network has seen, and it is sure of anything there."""
SURE = 0.03
"""A map whose probabilities differ from 0 and 1 by less than this share of their sum gains nothing from the mirror image. So nine
in ten pictures of desk objects, and a third of PASCAL-S, are looked at once: weighted F as with two looks at each, within .0003."""
MAX_THREADS = 4
"""More threads than this gain nothing on one small picture."""


class LiteSegmenter:
    """See ``server.segmenter.Segmenter``. ``weights``: an ONNX file instead of the shipped one.

    Raises ``ModelUnavailable`` where the file is missing, ``BadWeights`` where it is damaged or another model's.
    """

    name = "lite"
    resolution = RESOLUTION
    least_score = LEAST_SCORE

    def __init__(self, weights: Path | None = None, device: str = "auto") -> None:
        self._session = _open(weights or WEIGHTS, device)
        self._input = self._session.get_inputs()[0].name
        self._height, self._width = (int(side) for side in self._session.get_inputs()[0].shape[2:])

    def predict(self, image: RGB, tap: Tap | None = None) -> Mask:
        """uint8 HxWx3 RGB -> float32 HxW in [0, 1], not stretched; the tap is not used.

        The picture is squeezed to the network's square, as in training, and, where its map is unsure, its mirror image too:
        the mean of the two is stretched back and drawn to the picture's edges.
        """
        return self._finish(self._infer([self._prepare(image, tap)])[0], image)

    def stages(self) -> Stages:
        """``predict`` in steps, for ``server.engine``."""
        return Stages(self._prepare, self._infer, self._finish)

    def _prepare(self, image: RGB, tap: Tap | None) -> NDArray[np.float32]:
        small = cv2.resize(
            image, (self._width, self._height), interpolation=_shrinking(image, self._height, self._width)
        )
        return np.ascontiguousarray(small.transpose(2, 0, 1)[None], dtype=np.float32)

    def _infer(self, items: Sequence[NDArray[np.float32]]) -> list[Mask]:
        """One after the other: the file's batch is 1."""
        return [self._surer_map(item) for item in items]

    def _surer_map(self, item: NDArray[np.float32]) -> Mask:
        """The picture's map; where that is unsure the mean with its mirrored picture's."""
        mask = self._map(item)
        if np.minimum(mask, 1 - mask).sum() <= SURE * mask.sum():
            return mask
        return np.float32(0.5) * (mask + self._map(item[..., ::-1])[:, ::-1])

    def _map(self, item: NDArray[np.float32]) -> Mask:
        mask: Mask = self._session.run(None, {self._input: np.ascontiguousarray(item)})[0][0, 0]
        return mask

    @staticmethod
    def _finish(mask: Mask, image: RGB) -> Mask:
        """The map at the picture's size, its edges those of the picture."""
        height, width = image.shape[:2]
        small = shrunk(image, RESOLUTION)
        averaged = cv2.blur(small, (9, 9))
        if max(np.ptp(plane) for plane in cv2.split(averaged)) < FLAT:
            return np.zeros((height, width), np.float32)
        fine = snapped(small, cv2.resize(np.clip(mask, 0, 1), small.shape[1::-1], interpolation=cv2.INTER_LINEAR))
        return np.asarray(cv2.resize(fine, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _shrinking(image: RGB, height: int, width: int) -> int:
    """Area averaging loses nothing when shrinking; when enlarging it would copy pixels."""
    return int(cv2.INTER_AREA if image.shape[0] >= height and image.shape[1] >= width else cv2.INTER_LINEAR)


def _open(path: Path, device: str) -> Any:
    import onnxruntime as ort

    if not path.is_file():
        cure = "reinstall the package, or choose --model grabcut" if path == WEIGHTS else "name lite's .onnx file"
        raise ModelUnavailable(f"lite's weights are not at {path}: {cure}.")
    providers = _providers(ort, device)
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors only; they are raised too
    options.intra_op_num_threads = min(os.cpu_count() or 1, MAX_THREADS)
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other work shares these cores
    try:
        session = ort.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's exceptions share no base of their own
        reason = str(error).splitlines()[0][:200]
        raise BadWeights(f"{path} is not a usable ONNX model ({reason}): give lite's .onnx file.") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    shape = inputs[0].shape if len(inputs) == 1 else []
    fixed = len(shape) == 4 and shape[1] == 3 and all(isinstance(side, int) for side in shape)
    if not fixed or len(outputs) != 1 or session.get_modelmeta().custom_metadata_map.get("model") != "lite":
        raise BadWeights(f"{path} is another model's file: give lite's .onnx file, or name its own model with --model.")
    return session


def _providers(ort: Any, device: str) -> list[str]:
    has_cuda = "CUDAExecutionProvider" in ort.get_available_providers()
    if device.startswith("cuda") and not has_cuda:
        raise DeviceUnavailable("onnxruntime here has no CUDA: use --device auto or cpu, or install onnxruntime-gpu.")
    return (
        ["CPUExecutionProvider"]
        if device == "cpu" or not has_cuda
        else ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
