"""Checkpoints in the official layouts, without anyone's weights: hollow ones of no size, and ones filled by the formula."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from tests.server.networks.base import official_layout
from tests.server.networks.formula import formula_value


def hollow(keys: str) -> dict[str, Tensor]:
    """Every tensor of the layout, all zeros of one stored number each: what matters is names and shapes."""
    return {
        key: torch.tensor(0) if key.endswith("num_batches_tracked") else torch.zeros(()).expand(shape)
        for key, shape in official_layout(keys).items()
    }


def filled(keys: str, gain: float = 1.0, only: str = "") -> dict[str, Tensor]:
    """Every tensor (or those that match ``only``) by the formula of its own name; aliases differ, so the one that counts shows."""
    return {
        key: torch.tensor(0)
        if key.endswith("num_batches_tracked")
        else torch.from_numpy(formula_value(key, tuple(shape), gain))
        for key, shape in official_layout(keys).items()
        if re.search(only, key)
    }
