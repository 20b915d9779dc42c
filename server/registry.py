"""Every model by name: what it is, and how it is loaded. Importing this module loads no model and needs no torch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from server.errors import UnknownModel
from server.segmenter import Segmenter

DEFAULT_MODEL = "grabcut"


@dataclass(frozen=True)
class Model:
    """``load`` takes a weights file (None: the installed one) and a device (auto, cpu, cuda) and returns the loaded model."""

    name: str
    task: str
    parameters: int | None
    gmacs: float | None
    input: str
    code_licence: str
    weights_licence: str
    source: str
    load: Callable[[Path | None, str], Segmenter]
    weights: Callable[[], str]


def models() -> dict[str, Model]:
    """All models by registry name."""
    return {"grabcut": _grabcut()}


def find(name: str) -> Model:
    """Raises ``UnknownModel`` with the nearest names."""
    known = models()
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "'python -m server models' lists them."
        raise UnknownModel(f"There is no model '{name}': {hint}")
    return known[name]


_loaded: dict[tuple[str, Path | None, str], Segmenter] = {}
_loading = threading.Lock()


def load(name: str, *, weights: Path | None = None, device: str = "auto") -> Segmenter:
    """The model, loaded on first use and kept.

    Raises ``UnknownModel``, ``ModelUnavailable`` (weights or an extra missing), ``BadWeights`` or ``DeviceUnavailable``.
    """
    key = (name, weights, device)
    with _loading:
        if key not in _loaded:
            _loaded[key] = find(name).load(weights, device)
        return _loaded[key]


def _grabcut() -> Model:
    def open_grabcut(weights: Path | None, device: str) -> Segmenter:
        from server.segmenters.grabcut import GrabCutSegmenter

        return GrabCutSegmenter()

    return Model(
        name="grabcut",
        task="objects that stand out in colour",
        parameters=None,
        gmacs=None,
        input="any size, worked at 352 px",
        code_licence="MIT (OpenCV: Apache-2.0)",
        weights_licence="no weights",
        source="Rother et al., SIGGRAPH 2004; OpenCV",
        load=open_grabcut,
        weights=lambda: "none needed",
    )
