"""Where weights lie on this machine, and the manifest that says what they are. Needs no torch.

A model's weights are ``NAME.safetensors``, or an official file as ``NAME.pth`` or ``NAME.pt``, in one of the folders of
``ARCP_WEIGHTS`` (separated as ``PATH`` is), in the user's data folder under ``weights``, or shipped with the package; the first
found counts.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from server.errors import BadWeights, ModelUnavailable
from server.home import home

MANIFEST = "manifest.json"
SUFFIXES = (".safetensors", ".pth", ".pt")
SHIPPED = Path(__file__).parents[1] / "weights_shipped"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Entry:
    """What the manifest of a folder says of one file. ``source`` is the imported file's name, ``kind`` what it was."""

    model: str
    content: str
    sha256: str
    size: int
    source: str
    source_sha256: str
    kind: str


def folders() -> list[Path]:
    """In the order of search."""
    named = [Path(part) for part in os.environ.get("ARCP_WEIGHTS", "").split(os.pathsep) if part]
    return [*named, home() / "weights"]


def find(model: str) -> Path | None:
    """The model's weights file, or None."""
    for folder in folders():
        for suffix in SUFFIXES:
            path = folder / f"{model}{suffix}"
            if path.is_file():
                return path
    return _shipped(model, ".safetensors")


def shipped(model: str) -> Path | None:
    """The file that the package brings along for the model, of whatever runtime, or None."""
    return _shipped(model, ".safetensors") or _shipped(model, ".onnx")


def _shipped(model: str, suffix: str) -> Path | None:
    path = SHIPPED / model / f"{model}{suffix}"
    return path if path.is_file() else None


def require(model: str) -> Path:
    """The model's weights file; raises ``ModelUnavailable`` with the way to get it."""
    path = find(model)
    if path is None:
        raise ModelUnavailable(
            f"The weights of '{model}' are not installed: get the official checkpoint and run "
            f"'python -m server weights import FILE --model {model}', or put {model}.safetensors into {folders()[-1]}."
        )
    return path


def state(model: str) -> str:
    """One short line for the list of models: where the weights are, or that they are not installed."""
    path = find(model)
    return str(path) if path else "not installed"


def manifest(folder: Path) -> dict[str, Entry]:
    """File name -> entry; empty where there is none. Raises ``BadWeights`` for a manifest that cannot be read."""
    path = folder / MANIFEST
    if not path.is_file():
        return {}
    try:
        return {name: Entry(**entry) for name, entry in json.loads(path.read_text(encoding="utf-8")).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise BadWeights(f"{path} is damaged: delete it and import the weights of that folder again.") from error


def record(path: Path, entry: Entry) -> None:
    """Put ``path`` into its folder's manifest, at once or not at all."""
    entries = manifest(path.parent) | {path.name: entry}
    text = json.dumps({name: asdict(entries[name]) for name in sorted(entries)}, indent=1)
    partial = path.with_name(f".{MANIFEST}.{os.getpid()}.part")
    partial.write_text(text + "\n", encoding="utf-8")
    os.replace(partial, path.parent / MANIFEST)


def verify(path: Path) -> str | None:
    """The file's SHA-256 where its manifest lists it, else None. Raises ``BadWeights`` when the file has changed since."""
    entry = manifest(path.parent).get(path.name)
    if entry is None:
        return None
    if path.stat().st_size != entry.size or sha256(path) != entry.sha256:
        raise BadWeights(f"{path} has changed since it was imported (SHA-256 differs): import it again.")
    return entry.sha256


def sha256(path: Path) -> str:
    """Of the file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
