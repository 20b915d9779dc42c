"""What all predictors share: the device, the precision, batches. Each one owns its pre- and post-processing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from server.errors import BadOption, DeviceUnavailable
from server.segmenter import RGB, Mask, Stages, Tap

Precision = Literal["fp32", "bf16", "fp16"]
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def torch_device(name: str) -> torch.device:
    """``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``. Raises ``DeviceUnavailable``, ``BadOption``."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise BadOption(f"'{name}' is not a device: use auto, cpu, cuda or cuda:N")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise DeviceUnavailable(
            f"This machine has no device '{name}': use --device cpu, or check the driver (nvidia-smi)"
        )
    return torch.device(name)


class Predictor(ABC):
    """A network ready for pictures; a ``server.segmenter.Segmenter`` that also takes batches."""

    def __init__(
        self,
        network: nn.Module,
        name: str,
        *,
        device: str = "auto",
        precision: Precision = "fp32",
        batch_size: int = 8,
    ) -> None:
        if precision not in _DTYPES:
            raise BadOption(f"'{precision}' is not a precision: use {', '.join(_DTYPES)}")
        self.name = name
        self.device = torch_device(device)
        self.precision = precision
        self.batch_size = batch_size
        self.network = self.place(network)

    def place(self, network: nn.Module) -> nn.Module:
        """The network on the device, in eval mode, in the memory layout that the device's convolutions like."""
        layout = torch.channels_last if self.device.type == "cuda" else torch.contiguous_format
        placed: nn.Module = network.to(self.device, memory_format=layout)  # type: ignore[call-overload]
        return placed.eval()

    def predict(self, image: RGB, tap: Tap | None = None) -> Mask:
        """uint8 HxWx3 RGB -> float32 HxW in [0, 1], as the network gave it; the tap is not used."""
        return self.predict_batch([image])[0]

    @abstractmethod
    def predict_batch(self, images: Sequence[RGB]) -> list[Mask]:
        """uint8 HxWx3 RGB pictures of any sizes -> float32 HxW in [0, 1] each."""

    def run(self, function: Callable[[Tensor], Any], x: Tensor) -> Any:
        """``function`` (the network or one of its methods) on (N, C, H, W) at the precision: float32 tensors on the CPU."""
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, _DTYPES[self.precision], enabled=self.precision != "fp32"),
        ):
            return _to_host(function(x.to(self.device, non_blocking=True)))


class SquashPredictor(Predictor):
    """A network that sees every picture at one fixed size, whatever its aspect."""

    size: tuple[int, int]

    @abstractmethod
    def prepare(self, image: RGB) -> NDArray[np.float32]:
        """uint8 HxWx3 -> the network's input, float32 (C, *size)."""

    @abstractmethod
    def probability(self, outputs: Any) -> Tensor:
        """The network's outputs -> (N, h, w) in [0, 1]."""

    def finish(self, probability: Mask, height: int, width: int) -> Mask:
        """The small map at the picture's size."""
        return resize_map(probability, height, width)

    def predict_batch(self, images: Sequence[RGB]) -> list[Mask]:
        masks: list[Mask] = []
        for start in range(0, len(images), self.batch_size):
            chunk = images[start : start + self.batch_size]
            maps = self.infer([self.prepare(image) for image in chunk])
            masks += [self.finish(map_, *image.shape[:2]) for map_, image in zip(maps, chunk, strict=True)]
        return masks

    def infer(self, inputs: Sequence[NDArray[np.float32]]) -> list[Mask]:
        """What ``prepare`` gave for each picture -> the network's map of each, float32 (h, w), in one batch."""
        x = torch.from_numpy(np.stack(inputs))
        return list(self.probability(self.run(self.network, x)).numpy())

    def stages(self) -> Stages | None:
        """``predict`` in steps, for ``server.engine``; None for a predictor that does more than these steps."""
        if type(self).predict_batch is not SquashPredictor.predict_batch:
            return None
        return Stages(
            lambda image, tap: self.prepare(image),
            self.infer,
            lambda probability, image: self.finish(probability, *image.shape[:2]),
        )


def resize_map(probability: Mask, height: int, width: int) -> Mask:
    """Bilinear as Pillow does it (a triangle over all source pixels when shrinking), float32 in and out."""
    resized = Image.fromarray(np.ascontiguousarray(probability, np.float32)).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    return np.clip(np.asarray(resized, np.float32), 0, 1)


def normalise(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """HxWx3 in [0, 1] -> float32 (3, H, W) less ImageNet's mean, over its deviation."""
    shifted = (image - np.asarray(IMAGENET_MEAN, np.float32)) / np.asarray(IMAGENET_STD, np.float32)
    return np.ascontiguousarray(shifted.transpose(2, 0, 1), np.float32)


def _to_host(outputs: Any) -> Any:
    if isinstance(outputs, Tensor):
        return outputs.float().cpu()
    if isinstance(outputs, tuple) and hasattr(outputs, "_fields"):
        return type(outputs)(*(_to_host(output) for output in outputs))
    return type(outputs)(_to_host(output) for output in outputs)
