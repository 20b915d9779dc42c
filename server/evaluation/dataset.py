"""Pictures with truth masks: folders or tar shards, paired by the names' stems."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from server.errors import BadInput, UnreadableImage
from server.images import decode, sniff
from server.segmenter import RGB, Mask

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".heic", ".heif"}
_MASK_MARK = ".mask"
_IMAGE_FOLDERS = ("images", "image", "imgs", "img", "im", "-image")
_MASK_FOLDERS = ("masks", "mask", "gt", "gts", "ground_truth_mask", "alpha", "-mask")


@dataclass(frozen=True)
class Source:
    """One file: whole, or a member's bytes within an uncompressed tar."""

    name: str
    path: Path
    offset: int = 0
    size: int = -1

    def read(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


@dataclass(frozen=True)
class Pair:
    """A picture and its truth, read on demand."""

    stem: str
    image: Source
    mask: Source

    def load(self) -> tuple[RGB, Mask]:
        """uint8 HxWx3 RGB and float32 HxW in [0, 1]. Raises ``UnreadableImage`` with the file's name."""
        image, mask = _read_image(self.image), _read_mask(self.mask)
        if image.shape[:2] != mask.shape:
            raise UnreadableImage(
                f"{self.mask.name} has {mask.shape[1]} x {mask.shape[0]} pixels, its picture {image.shape[1]} x {image.shape[0]}"
            )
        return image, mask


@dataclass(frozen=True)
class Dataset:
    """Pairs in the order of their names; ``problems`` are the files that have no partner, with the reason."""

    name: str
    pairs: list[Pair]
    problems: list[tuple[str, str]] = field(default_factory=list)

    def spread(self, limit: int | None) -> list[Pair]:
        """At most ``limit`` pairs, evenly spread over all: the first ones would be of one kind."""
        if limit is None or limit >= len(self.pairs):
            return self.pairs
        return [self.pairs[index * len(self.pairs) // limit] for index in range(limit)]


def open_dataset(data: Path, masks: Path | None = None) -> Dataset:
    """A dataset in any of these forms; raises ``BadInput`` when there is no pair in it.

    - ``data`` and ``masks``: two folders, files of equal stems;
    - a folder with an image and a mask folder in it (``images`` and ``masks``, ECSSD's ``images`` and ``ground_truth_mask``,
      DUTS' ``DUTS-TE-Image`` and ``DUTS-TE-Mask``, ...);
    - a folder of ``NAME.jpg`` with ``NAME.mask.png`` or ``NAME.png``;
    - an uncompressed tar of ``NAME.webp`` with ``NAME.mask.png``.
    """
    if masks is not None:
        dataset = _pair_folders(data.name, data, masks)
    elif data.is_dir():
        inner = _inner_folders(data)
        dataset = _pair_folders(data.name, *inner) if inner else _pair_mixed(data.name, _folder(data))
    elif data.is_file():
        dataset = _pair_mixed(data.name, _tar(data))
    else:
        raise BadInput(f"There is no {data}: give a folder or a tar file of pictures and masks with --data.")
    if not dataset.pairs:
        raise BadInput(
            f"{data} holds no picture with a mask: put NAME.mask.png beside NAME.jpg, use folders images and masks, or give the "
            "masks' folder with --masks."
        )
    return dataset


@dataclass(frozen=True)
class _Named:
    stem: str
    is_mask: bool
    source: Source


def _named(sources: Iterable[Source]) -> list[_Named]:
    found = []
    for source in sources:
        name = PurePosixPath(source.name)
        marked = name.stem.endswith(_MASK_MARK)
        found.append(_Named(name.stem.removesuffix(_MASK_MARK) if marked else name.stem, marked, source))
    return found


def _folder(folder: Path) -> list[Source]:
    if not folder.is_dir():
        raise BadInput(
            f"{folder} is not a folder: --data and --masks together take the folders of the pictures and of the masks."
        )
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    return [Source(path.name, path) for path in files]


def _tar(path: Path) -> list[Source]:
    try:
        with tarfile.open(path, "r:") as archive:
            members = [member for member in archive if member.isfile()]
    except tarfile.TarError as error:
        raise BadInput(
            f"{path} is not an uncompressed tar file ({error}): give a folder or a tar of pictures."
        ) from error
    sources = [Source(member.name, path, member.offset_data, member.size) for member in members]
    return [source for source in sources if PurePosixPath(source.name).suffix.lower() in PICTURES]


def _inner_folders(data: Path) -> tuple[Path, Path] | None:
    folders = sorted(path for path in data.iterdir() if path.is_dir())

    def first(names: tuple[str, ...]) -> Path | None:
        for name in names:
            for folder in folders:
                if folder.name.lower() == name or (name.startswith("-") and folder.name.lower().endswith(name)):
                    return folder
        return None

    images, masks = first(_IMAGE_FOLDERS), first(_MASK_FOLDERS)
    return (images, masks) if images and masks else None


def _pair_folders(name: str, images: Path, masks: Path) -> Dataset:
    return _pair(name, _folder(images), {item.stem: item.source for item in _named(_folder(masks))})


def _pair(name: str, images: list[Source], masks: dict[str, Source]) -> Dataset:
    pairs, problems = [], []
    for image in _named(images):
        mask = masks.get(image.stem)
        if mask is None:
            problems.append((image.source.name, "no mask of this name"))
        else:
            pairs.append(Pair(image.stem, image.source, mask))
    stems = {pair.stem for pair in pairs}
    problems += [(mask.name, "no picture of this name") for stem, mask in masks.items() if stem not in stems]
    return Dataset(name, sorted(pairs, key=lambda pair: pair.stem), problems)


def _pair_mixed(name: str, sources: list[Source]) -> Dataset:
    """Pictures and masks in one place. Without ``.mask`` in any name a PNG beside another type of the same stem is the mask."""
    named = _named(sources)
    if not any(item.is_mask for item in named):
        others = {item.stem for item in named if not item.source.name.lower().endswith(".png")}
        named = [
            _Named(item.stem, item.stem in others and item.source.name.lower().endswith(".png"), item.source)
            for item in named
        ]
    masks = {item.stem: item.source for item in named if item.is_mask}
    return _pair(name, [item.source for item in named if not item.is_mask], masks)


def _read_image(source: Source) -> RGB:
    data = source.read()
    try:
        if sniff(data):
            return decode(data)
        with Image.open(io.BytesIO(data)) as image:  # types that the server does not take from a client, such as AVIF
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (UnreadableImage, OSError, ValueError, SyntaxError) as error:
        raise UnreadableImage(f"{source.name} cannot be read: {error}") from error


def _read_mask(source: Source) -> Mask:
    try:
        with Image.open(io.BytesIO(source.read())) as opened:
            image = ImageOps.exif_transpose(opened)
            wide = image.mode.startswith("I")
            grey: NDArray[np.uint8 | np.int32] = np.asarray(image if wide else image.convert("L"))
    except (OSError, ValueError, SyntaxError) as error:
        raise UnreadableImage(f"{source.name} cannot be read: {error}") from error
    if wide:
        return grey.astype(np.float32) / np.float32(65535)
    # some sets store their masks as 0 and 1
    return grey.astype(np.float32) / np.float32(1 if grey.max(initial=0) == 1 else 255)
