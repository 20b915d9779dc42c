"""All training photographs once, at training size, in one memory-mapped file, so that loading costs no decoding.

A pack is a folder with ``pixels.u8`` (HxWx4 blocks: RGB and mask, or HxWx5 with a teacher's map) and ``index.npz``.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from server.errors import BadOption
from server.training.readers import Bad, Byte, Item, read

Report = Callable[[str], None]


def pack(
    sources: Sequence[Path],
    folder: Path,
    *,
    side: int,
    exclude: Sequence[str] = (),
    teacher: Path | None = None,
    report: Report = print,
) -> Pack:
    """Write every usable item of ``sources`` to ``folder``, long side at most ``side`` px; unusable ones are reported.

    ``exclude``: patterns of item names that stay out. ``teacher``: a folder of saved grey maps, ``SOURCE/STEM.png``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names: list[str] = []
    sizes: list[tuple[int, int, int]] = []
    skipped = 0
    with (folder / "pixels.u8").open("wb") as file:
        for source in sources:
            for item in _wanted(read(source), exclude):
                if isinstance(item, Bad) or item.cutout:
                    skipped += 1
                    report(f"skipped: {item.name} {item.reason if isinstance(item, Bad) else 'has no background'}")
                    continue
                block = _block(item, side, _teacher_map(teacher, item.name))
                file.write(block.tobytes())
                names.append(item.name)
                sizes.append((block.shape[0], block.shape[1], block.shape[2]))
    if not names:
        raise BadOption("Nothing in --data can be trained on: see the messages above.")
    np.savez(folder / "index.npz", names=np.array(names), sizes=np.array(sizes, np.int64))
    report(f"{len(names)} items packed, {skipped} skipped")
    return Pack(folder)


class Pack:
    """Items by position: ``names``, and ``pack[i]`` an HxWx4 (or x5) uint8 view."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            with np.load(folder / "index.npz") as index:
                self.names: list[str] = index["names"].tolist()
                self.sizes: NDArray[np.int64] = index["sizes"]
            self._pixels = np.memmap(folder / "pixels.u8", np.uint8, "r")
        except (OSError, ValueError, KeyError) as error:
            raise BadOption(f"{folder} is not a pack ({error}): delete it, it is made again.") from error
        self._ends = self.sizes.prod(axis=1).cumsum()
        if int(self._ends[-1]) != self._pixels.size:
            raise BadOption(f"{folder} was not written to its end: delete it, it is made again.")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Byte:
        end = int(self._ends[index])
        shape = self.sizes[index]
        return np.asarray(self._pixels[end - int(shape.prod()) : end]).reshape(shape)


def _wanted(items: Iterable[Item | Bad], exclude: Sequence[str]) -> Iterable[Item | Bad]:
    return (item for item in items if not any(fnmatch.fnmatch(item.name, pattern) for pattern in exclude))


def _block(item: Item, side: int, teacher: Byte | None) -> Byte:
    planes = [item.image, item.mask[..., None]]
    if teacher is not None:
        size = item.image.shape[1], item.image.shape[0]
        planes.append(cv2.resize(teacher, size, interpolation=cv2.INTER_AREA)[..., None])
    block = np.concatenate(planes, axis=2)
    height, width = block.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return np.asarray(block)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(
        np.dstack([cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in np.dsplit(block, block.shape[2])])
    )


def _teacher_map(folder: Path | None, name: str) -> Byte | None:
    if folder is None or not (folder / f"{name}.png").is_file():
        return None
    with Image.open(folder / f"{name}.png") as picture:
        return np.asarray(picture.convert("L"))
