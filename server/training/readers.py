"""Labelled photographs on disk: WebDataset-style tar shards, and the folders in which the benchmarks are published.

A source is one ``--data`` argument. Its name is the file's or folder's stem; every item is called ``source/stem``.

    shard.tar       NAME.webp|avif|jpg|png with NAME.mask.png|webp beside it, or an RGBA cut-out NAME.webp|png
    DUTS, ECSSD     DUTS-TR-Image + DUTS-TR-Mask, images + ground_truth_mask, any ...image... + ...mask|gt|alpha... pair
    AM-2k           train/original + train/mask (also validation/...)
    GSD-S           train/image + train/mask
    GDD             train/image + train/mask
    Trans10K        train/{easy,hard}/images + train/{easy,hard}/masks (NAME_mask.png; red = things, green = stuff)
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from server.errors import BadOption

PICTURES = {".webp", ".avif", ".jpg", ".jpeg", ".png", ".bmp"}
MASK_SUFFIXES = (".mask.png", ".mask.webp")
IMAGE_FOLDERS = ("image", "images", "original", "img", "imgs", "fg")
MASK_FOLDERS = ("mask", "masks", "gt", "ground_truth_mask", "ground_truth", "alpha", "matte")
EMPTY = 1e-4
"""A mask whose mean is lower holds no object."""

Byte = NDArray[np.uint8]


@dataclass(frozen=True)
class Item:
    """One labelled photograph: ``image`` HxWx3 RGB, ``mask`` HxW, both uint8; ``cutout``: the image has no background."""

    name: str
    image: Byte
    mask: Byte
    cutout: bool = False


@dataclass(frozen=True)
class Bad:
    """One item that cannot be used, and why."""

    name: str
    reason: str


def read(source: Path, *, empty: bool = False) -> Iterator[Item | Bad]:
    """Every item of a tar shard or folder, in name order; what cannot be used comes as ``Bad``, named.

    ``empty`` keeps items whose mask is empty. Raises ``BadOption`` where ``source`` is neither.
    """
    if source.is_dir():
        pairs = _folder_pairs(source)
        if not pairs:
            raise BadOption(f"{source} has no folder pair of images and masks: see 'python -m server train --help'.")
        yield from (_item(f"{source.name}/{stem}", image, mask, empty) for stem, image, mask in pairs)
    elif source.suffix == ".tar" and source.is_file():
        yield from _shard(source, empty)
    else:
        raise BadOption(f"{source} is neither a .tar shard nor a folder: give one of the two to --data.")


def _shard(path: Path, empty: bool) -> Iterator[Item | Bad]:
    try:
        with tarfile.open(path) as shard:
            members = {Path(member.name).name: member for member in shard if member.isfile()}

            def content(name: str) -> bytes:
                file = shard.extractfile(members[name])
                assert file is not None  # a regular file always opens
                return file.read()

            for name in sorted(members):
                stem = Path(name).stem
                if name.endswith(MASK_SUFFIXES) or Path(name).suffix.lower() not in PICTURES:
                    continue
                mask = next((stem + suffix for suffix in MASK_SUFFIXES if stem + suffix in members), None)
                label = f"{path.stem}/{stem}"
                yield _item(label, content(name), None if mask is None else content(mask), empty)
    except tarfile.TarError as error:
        raise BadOption(f"{path} is not a readable tar file ({error}): copy it again.") from error


def _folder_pairs(root: Path) -> list[tuple[str, Path, Path]]:
    """(item, image file, mask file) of every image folder below ``root`` that has a mask folder beside it."""
    pairs: list[tuple[str, Path, Path]] = []
    for folder in sorted(path for path in [root, *root.rglob("*")] if path.is_dir()):
        masks = _mask_folder(folder)
        if masks is None:
            continue
        files = {path.stem.removesuffix("_mask"): path for path in sorted(masks.iterdir()) if path.is_file()}
        prefix = "" if folder.parent == root else f"{folder.parent.relative_to(root).as_posix()}/"
        for image in sorted(folder.iterdir()):
            if image.suffix.lower() in PICTURES and image.stem in files:
                pairs.append((prefix + image.stem, image, files[image.stem]))
    return pairs


def _mask_folder(images: Path) -> Path | None:
    name = images.name.lower()
    if name not in IMAGE_FOLDERS and not name.endswith(("-image", "_image", "-images", "_images")):
        return None
    stem = name.rpartition("-")[0] or name.rpartition("_")[0]
    for folder in sorted(images.parent.iterdir()):
        other = folder.name.lower()
        kind = other.removeprefix(stem).lstrip("-_") if stem else other
        if folder.is_dir() and folder != images and kind in MASK_FOLDERS:
            return folder
    return None


def _item(name: str, image: Path | bytes, mask: Path | bytes | None, empty: bool) -> Item | Bad:
    try:
        with _open(image) as picture:
            if mask is None:
                if picture.mode not in ("RGBA", "LA", "PA"):
                    return Bad(name, "has no mask beside it")
                rgba = np.asarray(picture.convert("RGBA"))
                pixels, matte = rgba[..., :3], rgba[..., 3]
            else:
                pixels = np.asarray(picture.convert("RGB"))
                with _open(mask) as labels:
                    matte = _grey(labels)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return Bad(name, f"cannot be read ({error})")
    if matte.shape != pixels.shape[:2]:
        height, width = pixels.shape[:2]
        return Bad(name, f"is {width}x{height} but its mask is {matte.shape[1]}x{matte.shape[0]}")
    if not empty and float(matte.mean()) / 255 < EMPTY:
        return Bad(name, "has an empty mask")
    return Item(name, np.ascontiguousarray(pixels), np.ascontiguousarray(matte), cutout=mask is None)


def _open(file: Path | bytes) -> Image.Image:
    return Image.open(BytesIO(file) if isinstance(file, bytes) else file)


def _grey(labels: Image.Image) -> Byte:
    """A mask as 0..255: colours by their strongest channel (Trans10K), 0/1 masks spread to 0..255."""
    if labels.mode in ("RGB", "RGBA", "P"):
        matte = np.asarray(labels.convert("RGB")).max(axis=2)
    else:
        matte = np.asarray(labels.convert("L"))
    return np.asarray(matte * np.uint8(255)) if matte.max(initial=0) == 1 else np.asarray(matte)
