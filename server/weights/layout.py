"""The tensors that a network wants: names, shapes and types, with the names that mean one tensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from server.networks.catalogue import NETWORKS

if TYPE_CHECKING:
    from torch import Tensor

_COUNTER = "num_batches_tracked"
_LISTED = 6


@dataclass(frozen=True)
class Layout:
    """``tensors``: every official name with a tensor of its shape and type, on the meta device.

    ``canonical``: name -> the one name under which an aliased tensor is kept, the last in byte order, as the official importers
    leave it.
    """

    network: str
    tensors: dict[str, Tensor]
    canonical: dict[str, str]


@dataclass
class Difference:
    """Between a file and a layout, each problem by the tensor's name."""

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    misshaped: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.misshaped)

    def __len__(self) -> int:
        return len(self.missing) + len(self.unexpected) + len(self.misshaped)

    def __str__(self) -> str:
        """One line."""
        named = (("missing", self.missing), ("unexpected", self.unexpected), ("wrong", self.misshaped))
        return "; ".join(f"{title} {_list(names)}" for title, names in named if names)


@cache
def layout(network: str) -> Layout:
    """Of a catalogue's network. Needs torch, but no memory: the network is built on the meta device."""
    import torch

    with torch.device("meta"):
        state = NETWORKS[network].build().state_dict(keep_vars=True)
    last: dict[int, str] = {}
    for key in sorted(state, key=str.encode):
        last[id(state[key])] = key
    return Layout(
        network, {key: tensor.detach() for key, tensor in state.items()}, {k: last[id(t)] for k, t in state.items()}
    )


def compare(
    tensors: dict[str, Tensor],
    wanted: Layout,
    needed: Callable[[str], bool] = lambda key: True,
    prefix: str = "",
) -> Difference:
    """What keeps ``tensors`` (by the network's names) from being all that ``needed`` says of ``wanted``, within ``prefix``.

    One alias stands for all of them. Batch-norm counters may be absent: old files and detectron2's conversion drop them.
    """
    found = {wanted.canonical[key] for key in tensors if key in wanted.canonical}
    missing = {
        name
        for key, name in wanted.canonical.items()
        if needed(key) and name not in found and not key.endswith(_COUNTER)
    }
    unexpected = sorted(key for key in tensors if key not in wanted.tensors or not key.startswith(prefix))
    difference = Difference(sorted(missing), unexpected)
    for key, tensor in tensors.items():
        target = wanted.tensors.get(key)
        if target is None:
            continue
        if tensor.shape != target.shape:
            difference.misshaped.append(f"{key} ({_shape(tensor)}, needs {_shape(target)})")
        elif tensor.is_floating_point() != target.is_floating_point():
            difference.misshaped.append(f"{key} (type {tensor.dtype}, needs {target.dtype})")
    return difference


def canonical_state(tensors: dict[str, Tensor], wanted: Layout) -> dict[str, Tensor]:
    """Each tensor once, under its canonical name, in the network's type; of differing aliases the last in byte order counts."""
    state = {}
    for key in sorted(tensors, key=str.encode):
        name = wanted.canonical[key]
        tensor = tensors[key].detach().to(wanted.tensors[name].dtype).contiguous()
        whole = tensor.untyped_storage().nbytes() == tensor.nbytes
        state[name] = tensor if whole else tensor.clone()  # a view would drag its whole storage along
    return state


def _shape(tensor: Tensor) -> str:
    return "x".join(str(side) for side in tensor.shape) or "a number"


def _list(names: list[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
