"""A network on a GPU at serving speed: bf16, and one CUDA graph for each batch size instead of hundreds of launches."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn

from server.segmenter import Segmenter

WARM_UPS = 3
"""Runs before a capture, on a side stream: libraries choose their kernels and allocate then."""
_log = logging.getLogger("server.backends")


def tuned(segmenter: Segmenter) -> Segmenter:
    """The same segmenter, its network in bf16 (fp32 where it must be) behind CUDA graphs; others come back as they are."""
    network, device = getattr(segmenter, "network", None), getattr(segmenter, "device", None)
    if isinstance(network, nn.Module) and isinstance(device, torch.device) and device.type == "cuda":
        segmenter.precision = "fp32"  # type: ignore[attr-defined]  # the graphs cast by themselves
        segmenter.network = GraphedNetwork(network)  # type: ignore[attr-defined]
    return segmenter


class GraphedNetwork(nn.Module):
    """``network`` replayed from CUDA graphs, captured by input shape; batches are filled up to a power of two.

    Only ``forward`` is replayed: other methods and attributes are the network's own. A network that cannot be captured (its
    path depends on values) runs as it is.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype = torch.bfloat16) -> None:
        super().__init__()
        self.network = network
        self._dtype = dtype
        self._graphs: dict[tuple[int, ...], tuple[torch.cuda.CUDAGraph, Tensor, Any]] = {}
        self._capturable = True

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("network"), name)

    def forward(self, x: Tensor) -> Any:
        count = x.shape[0]
        size = 1 << (count - 1).bit_length()
        if not self._capturable:
            return self._plain(x)
        shape = (size, *x.shape[1:])
        if shape not in self._graphs:
            try:
                self._graphs[shape] = self._capture(x.new_zeros(shape))
            except torch.cuda.OutOfMemoryError:
                raise
            except RuntimeError as error:
                _log.warning("no CUDA graph of %s: %s", type(self.network).__name__, str(error).splitlines()[0][:200])
                self._capturable = False
                return self._plain(x)
        graph, given, outputs = self._graphs[shape]
        given[:count].copy_(x)
        graph.replay()
        return _first(outputs, count)

    def _plain(self, x: Tensor) -> Any:
        # the casts must be part of what is captured, hence no cache of them
        with torch.autocast(x.device.type, self._dtype, cache_enabled=False):
            return self.network(x)

    def _capture(self, given: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Any]:
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                self._plain(given)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            outputs = self._plain(given)
        return graph, given, outputs


def _first(outputs: Any, count: int) -> Any:
    """Copies of the outputs' first ``count`` entries: the next replay overwrites the originals."""
    if isinstance(outputs, Tensor):
        return outputs[:count].clone()
    parts = [_first(output, count) for output in outputs]
    return type(outputs)(*parts) if hasattr(outputs, "_fields") else type(outputs)(parts)
