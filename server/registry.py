"""Every model by name: what it is, and how it is loaded. Importing this module loads no model and needs no torch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from server.errors import BadOption, ModelUnavailable, UnknownModel
from server.networks.catalogue import NETWORKS
from server.predictors import networks_of, open_predictor
from server.segmenter import Segmenter
from server.segmenters.external import EXTERNALS, ExternalSegmenter
from server.segmenters.external import state as external_state

DEFAULT_MODEL = "lite"


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
    networks = (_network_model(name) for name in _network_model_names())
    listed = [_lite(), _grabcut(), *networks, *(_external(name) for name in EXTERNALS)]
    return {model.name: model for model in listed}


def find(name: str) -> Model:
    """Raises ``UnknownModel`` with the nearest names."""
    known = models()
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "'python -m server models' lists them."
        if name.endswith((".onnx", ".safetensors", ".pth")):
            hint = "name the model whose file it is, and give the file as --weights."
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


def _network_model_names() -> list[str]:
    """Catalogue networks and the pipelines made of two of them, in the catalogue's order."""
    names: list[str] = []
    for name in NETWORKS:
        if name == "lite":
            continue
        pipeline = name.removesuffix("-l")
        if pipeline != name:
            names.append(pipeline)
        names.append(name)
    return names


def _network_model(name: str) -> Model:
    parts = [NETWORKS[part] for part in networks_of(name)]
    first = parts[0]

    def open_network(weights: Path | None, device: str) -> Segmenter:
        return _open_network(name, weights, device)

    return Model(
        name=name,
        task=first.task,
        parameters=sum(part.parameters for part in parts),
        gmacs=None if any(part.gmacs is None for part in parts) else sum(part.gmacs or 0 for part in parts),
        input=" + ".join(f"{part.input_size[1]} x {part.input_size[0]} px" for part in parts),
        code_licence=first.code_licence,
        weights_licence=first.weights_licence,
        source=first.source,
        load=open_network,
        weights=lambda: _weights_state([part.name for part in parts]),
    )


def _open_network(name: str, weights: Path | None, device: str) -> Segmenter:
    """A network of the catalogue behind its predictor, or an exported file of it.

    Raises ``ModelUnavailable`` where weights or torch are missing.
    """
    from server.weights import store

    parts = networks_of(name)
    if weights is not None and len(parts) > 1:
        raise BadOption(
            f"'{name}' is made of {' and '.join(parts)}: import a file for each instead of giving --weights."
        )
    if weights is not None and weights.suffix == ".onnx":
        from server.backends.exported import ExportedSegmenter

        return ExportedSegmenter(name, weights, device)
    if weights is None:
        for part in parts:
            store.require(part)
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise ModelUnavailable(f"'{name}' needs the torch extra: pip install 'ar-copy-paste[torch]'.") from error
    from server.weights.loading import load_network

    return open_predictor(name, *(load_network(part, weights) for part in parts), device=device)


def _weights_state(parts: list[str]) -> str:
    from server.weights import store

    return "; ".join(dict.fromkeys(store.state(part) for part in parts))


def _external(name: str) -> Model:
    external = EXTERNALS[name]
    return Model(
        name=name,
        task=external.task,
        parameters=external.parameters,
        gmacs=None,
        input=f"{external.side} x {external.side} px",
        code_licence="MIT",
        weights_licence=external.licence,
        source=external.source,
        load=lambda weights, device: ExternalSegmenter(external, weights, device),
        weights=lambda: external_state(name),
    )


def _lite() -> Model:
    from server.segmenters.lite import WEIGHTS, LiteSegmenter

    info = NETWORKS["lite"]
    return Model(
        name="lite",
        task=info.task,
        parameters=info.parameters,
        gmacs=info.gmacs,
        input=f"{info.input_size[1]} x {info.input_size[0]} px",
        code_licence=info.code_licence,
        weights_licence=info.weights_licence,
        source=info.source,
        load=LiteSegmenter,
        weights=lambda: "shipped" if WEIGHTS.is_file() else "not shipped",
    )


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
