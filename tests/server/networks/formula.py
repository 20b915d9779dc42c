"""The public formulas behind the golden files: weights from each tensor's name, inputs from a fixed seed."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


def formula_value(key: str, shape: tuple[int, ...], gain: float = 1.0) -> NDArray[np.float32]:
    """The float tensor of that official name and shape."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith("running_var"):
        value = 0.5 + rng.random(shape)
    elif key.endswith("running_mean"):
        value = 0.1 * rng.standard_normal(shape)
    elif len(shape) >= 2:
        value = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:])) * gain
    elif key.endswith("weight"):
        value = 0.8 + 0.4 * rng.random(shape)
    else:
        value = 0.05 * rng.standard_normal(shape)
    return np.asarray(value, np.float32)


@torch.no_grad()
def fill(network: nn.Module, gain: float = 1.0) -> None:
    """Write the formula into every float tensor of the state dict in sorted order, so an alias keeps its LAST name's value."""
    state = network.state_dict()
    last_name: dict[int, str] = {}
    for key in sorted(state, key=str.encode):
        if state[key].is_floating_point():
            last_name[state[key].data_ptr()] = key
    for key in last_name.values():
        state[key].copy_(torch.from_numpy(formula_value(key, tuple(state[key].shape), gain)))


def formula_input(size: int, channels: int = 3) -> Tensor:
    """(1, channels, size, size) in [0, 1]."""
    values = np.random.default_rng(7).random((1, channels, size, size)).astype(np.float32)
    return torch.from_numpy(values)
