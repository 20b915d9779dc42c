"""Checkpoint files of unknown origin -> tensors by name, without running anything that is in them."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.errors import BadWeights
from server.images import sniff

if TYPE_CHECKING:
    from torch import Tensor

SAFETENSORS = ".safetensors"
_WRAPPERS = ("model", "state_dict")  # detectron2's, Lightning's and many training scripts'
_DATA_PARALLEL = "module."


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The state dict in a safetensors file or an official ``.pth``, on the CPU.

    Takes a bare state dict, one under ``model`` or ``state_dict``, and DataParallel's ``module.`` prefix. Raises ``BadWeights``
    with one line that says what the file is instead.
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise BadWeights(f"{path} cannot be read ({error.strerror}): name an existing weights file.") from error
    if _looks_like_safetensors(head):
        return _read_safetensors(path)
    if head[:4] != b"PK\x03\x04" and head[:1] != b"\x80":
        kind = sniff(head)
        what = f"a {kind.upper()} picture" if kind else "no checkpoint" if head else "empty"
        raise BadWeights(f"{path} is {what}: give a PyTorch .pth or a .safetensors file.")
    if head[:1] == b"P" and not zipfile.is_zipfile(path):
        raise BadWeights(f"{path} is truncated: download it again.")
    return _state_dict(_unpickle(path), path)


def read_metadata(path: Path) -> dict[str, str]:
    """What the importer noted in a safetensors file; empty for any other file."""
    if path.suffix != SAFETENSORS:
        return {}
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError):  # reading the tensors says what is wrong
        return {}


def _looks_like_safetensors(head: bytes) -> bool:
    """Eight bytes of header length, then a JSON object."""
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 100 << 20


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, ValueError) as error:
        raise BadWeights(f"{path} is truncated or damaged ({error}): download or import it again.") from error
    return tensors


def _unpickle(path: Path) -> Any:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on pickle protocols and legacy storage
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"holds code ({named[1]})" if named else "holds more than tensors and may run code"
        raise BadWeights(f"{path} {what} and was not loaded: only plain state dicts are read.") from error
    except (EOFError, OSError, RuntimeError) as error:
        raise BadWeights(f"{path} is truncated or damaged: download it again.") from error
    except Exception as error:  # the restricted unpickler stumbles over arbitrary bytes in many ways
        raise BadWeights(f"{path} is no checkpoint: give a PyTorch .pth or a .safetensors file.") from error


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    from torch import Tensor

    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise BadWeights(f"{path} holds no tensors by name ({type(content).__name__}): give a state dict.")
    odd = [str(key) for key, value in content.items() if not isinstance(key, str) or not isinstance(value, Tensor)]
    if odd:
        raise BadWeights(f"{path} is no state dict: {', '.join(odd[:5])} {'is' if len(odd) == 1 else 'are'} no tensor.")
    if all(key.startswith(_DATA_PARALLEL) for key in content):
        return {key.removeprefix(_DATA_PARALLEL): value for key, value in content.items()}
    return dict(content)
