"""An official checkpoint -> safetensors: strictly checked, written at once or not at all."""

from __future__ import annotations

import os
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from server.errors import BadOption, ModelUnavailable, ServerError, UnknownModel
from server.home import home
from server.networks.catalogue import NETWORKS
from server.weights import store
from server.weights.checkpoint import SAFETENSORS, read_tensors
from server.weights.matching import WHOLE, fit

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Imported:
    """The written file; ``content`` is ``network`` or ``encoder``, ``kind`` what the source was."""

    path: Path
    model: str
    content: str
    kind: str
    tensors: int
    sha256: str


def import_checkpoint(source: Path, model: str, out: Path | None = None) -> Imported:
    """Write ``source`` as ``model``'s weights to ``out``: a file, a folder, or by default the user's weights folder.

    A foundation or ImageNet file is written as ``MODEL.encoder.safetensors``. The SHA-256 goes into the manifest of a weights
    folder. Raises ``UnknownModel``, ``BadWeights`` (one line; nothing is written), ``BadOption`` for ``out`` or
    ``ModelUnavailable`` without torch.
    """
    check_model(model)
    if find_spec("torch") is None:
        raise ModelUnavailable("Reading checkpoints needs the torch extra: pip install 'ar-copy-paste[torch]'.")
    fitted = fit(read_tensors(source), model, str(source))
    name = model if fitted.content == WHOLE else f"{model}.encoder"
    path = _target(out, f"{name}{SAFETENSORS}")
    noted = {"model": model, "content": fitted.content, "kind": fitted.kind, "source": source.name}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, fitted.state, noted)
    except OSError as error:
        raise BadOption(f"{path} cannot be written ({error.strerror}): choose another place with -o.") from error
    digest = store.sha256(path)
    if path.parent.resolve() in {folder.resolve() for folder in store.folders()}:
        entry = store.Entry(
            model, fitted.content, digest, path.stat().st_size, source.name, store.sha256(source), fitted.kind
        )
        store.record(path, entry)
    return Imported(path, model, fitted.content, fitted.kind, len(fitted.state), digest)


def check_model(model: str) -> None:
    """Raises ``UnknownModel`` for a name that has no network of ours."""
    if model in NETWORKS:
        return
    near = get_close_matches(model, NETWORKS, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(list(NETWORKS)[:4])}, ..."
    raise UnknownModel(f"There is no network '{model}' to hold weights: {hint}")


def _target(out: Path | None, name: str) -> Path:
    if out is None:
        return home() / "weights" / name
    if out.is_dir():
        return out / name
    if out.suffix != SAFETENSORS:
        raise BadOption(f"{out} does not end in {SAFETENSORS}: name such a file or an existing folder with -o.")
    return out


def _write(path: Path, state: dict[str, Tensor], metadata: dict[str, str]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save_file(state, partial, metadata)
        partial.chmod(0o644)  # the library keeps files to their owner; a service may run as another user
        os.replace(partial, path)
    except SafetensorError as error:
        raise ServerError(f"{path} could not be written ({error}): is the disk full?") from error
    finally:
        partial.unlink(missing_ok=True)
