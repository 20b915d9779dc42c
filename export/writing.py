"""Files appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from export.errors import CannotWrite


@contextmanager
def whole_or_nothing(folder: Path) -> Iterator[Path]:
    """A new folder inside ``folder``; what is in it moves up when the block ends well, and is deleted when it does not.

    Raises ``CannotWrite``.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
    except OSError as error:
        raise CannotWrite(f"{folder} cannot be written ({error.strerror}): choose another folder with -o.") from error
    try:
        yield partial
        for path in sorted(partial.iterdir()):
            _move(path, folder / path.name)
    except OSError as error:
        raise CannotWrite(
            f"Writing to {folder} failed ({_reason(error)}); nothing was kept. Make room, or choose another folder with -o."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _reason(error: OSError) -> str:
    if isinstance(error, shutil.Error) and error.args and error.args[0]:  # of a tree: (from, to, why) for each file
        return str(error.args[0][0][-1]).split(": ")[0]
    return error.strerror or str(error)


def _move(path: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    os.replace(path, target)


def digests(path: Path) -> str:
    """``sha256sum``'s lines for a file, or for every file of a package, by names relative to its folder."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    lines = []
    for file in files:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        lines.append(f"{digest}  {file.relative_to(path.parent).as_posix()}\n")
    return "".join(lines)


def size_of(path: Path) -> int:
    """Bytes of a file or of all files of a package."""
    return (
        sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else path.stat().st_size
    )


def replace_text(path: Path, text: str) -> None:
    """The file has the new text or the old one, never half of it. Raises ``CannotWrite``."""
    partial = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise CannotWrite(
            f"{path} cannot be written ({error.strerror}): make room, or choose another folder."
        ) from error
