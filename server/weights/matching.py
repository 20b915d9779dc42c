"""Which network a file's tensors are for: all of it, its encoder, or another network's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.errors import BadWeights
from server.networks.catalogue import NETWORKS
from server.weights.layout import Difference, Layout, canonical_state, compare, layout
from server.weights.sources import encoder_sources

if TYPE_CHECKING:
    from torch import Tensor

WHOLE, ENCODER = "network", "encoder"


@dataclass(frozen=True)
class Fitted:
    """``state``: tensors by canonical name; ``content`` is ``network`` or ``encoder``; ``kind`` says what the file was."""

    state: dict[str, Tensor]
    content: str
    kind: str


def fit(tensors: dict[str, Tensor], network: str, where: str) -> Fitted:
    """The tensors as ``network`` wants them: the whole network, or its encoder from a foundation or ImageNet file.

    Raises ``BadWeights`` with one line about ``where`` that names every problem, or the network that the file belongs to.
    """
    wanted = layout(network)
    readings = _readings(tensors, wanted)
    for difference, renamed, content, kind in readings:
        if not difference:
            _check_finite(renamed, where)
            return Fitted(canonical_state(renamed, wanted), content, kind)
    others = [name for name in NETWORKS if name != network and _fits(tensors, name)]
    if others:
        hint = " or ".join(f"--model {name}" for name in others[:3]) + (" ..." if len(others) > 3 else "")
        raise BadWeights(f"{where} is not for '{network}' but for '{others[0]}': use {hint}.")
    # The reading with the fewest problems says most about what is wrong.
    difference, renamed, _, kind = min(readings, key=lambda reading: len(reading[0]))
    if not any(key in wanted.tensors for key in renamed):
        near = _nearest(tensors)
        names = ", ".join(sorted(tensors)[:3])
        belongs = f"; it looks like a damaged or changed '{near}'" if near else ", nor of any network here"
        raise BadWeights(f"{where} holds no tensor of '{network}' ({names}, ...){belongs}: give another file.")
    raise BadWeights(f"{where} does not fit '{network}' read as {kind}: {difference}.")


_Reading = tuple[Difference, "dict[str, Tensor]", str, str]


def _readings(tensors: dict[str, Tensor], wanted: Layout) -> list[_Reading]:
    readings: list[_Reading] = [(compare(tensors, wanted), tensors, WHOLE, f"a checkpoint of '{wanted.network}'")]
    for source in encoder_sources(wanted.network):
        renamed = source.renamed(tensors, wanted)
        readings.append((compare(renamed, wanted, source.needs, source.prefix), renamed, ENCODER, source.title))
    return readings


def _fits(tensors: dict[str, Tensor], network: str) -> bool:
    return any(not difference for difference, *_ in _readings(tensors, layout(network)))


def _nearest(tensors: dict[str, Tensor]) -> str | None:
    """The network that most of the names belong to."""
    shares = {name: sum(key in layout(name).tensors for key in tensors) / len(tensors) for name in NETWORKS}
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] > 0.5 else None


def _check_finite(tensors: dict[str, Tensor], where: str) -> None:
    import torch

    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise BadWeights(f"{where} is damaged: {key} holds values that are not finite. Download it again.")
