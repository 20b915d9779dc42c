"""One call of ``python -m server cut``: a picture, a pipe, or raw frames; ``server.folder`` does whole folders."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from server.cutout import Cutout, Stopwatch, cut
from server.errors import BadInput, BadOption, NoObject, ServerError
from server.images import Limits, decode, encode_png
from server.segmenter import RGB, Segmenter

NO_OBJECT_EXIT = 3
FORMS = {".jpg": "jpg", ".jpeg": "jpg", ".webp": "webp"}
OTHER_FORMS = frozenset({".avif", ".bmp", ".gif", ".heic", ".heif", ".jxl", ".tif", ".tiff"})
"""Picture types that are not written; a name without a type, or with one that is no picture's, is a PNG."""
WEBP_SIDE = 16383


@dataclass(frozen=True)
class Job:
    """``options`` are ``server.cutout.cut``'s; reports go to standard error where standard output carries the results."""

    segmenter: Segmenter
    options: dict[str, Any]
    crop: bool
    only_mask: bool
    bgcolor: tuple[int, int, int] | None
    as_json: bool
    to_stdout: bool

    def single(self, source: str, out: str) -> int:
        """One picture; the exit code. Where ``out`` is a folder, or ends like one, the result gets the picture's name there."""
        if not self.to_stdout and (Path(out).is_dir() or out.endswith(("/", os.sep))):
            if source == "-":
                raise BadOption(f"{out} is a folder: name the file, for a pipe has no name.")
            out = str(Path(out) / f"{Path(source).stem}.png")
        self._check(out)
        if not self.to_stdout and Path(out).resolve() == Path(source).resolve():
            raise BadOption(f"The result would replace {source}: give it another name or folder with -o.")
        try:
            data = (
                read(Path(source)) if source != "-" else sys.stdin.buffer.read(Limits.from_environment().max_bytes + 1)
            )
            encoded, summary = self.run(data, out)
            if self.to_stdout:
                sys.stdout.buffer.write(encoded)
            else:
                write(Path(out), encoded)
        except NoObject as error:
            self.report_failure(source, error)
            return NO_OBJECT_EXIT
        except ServerError as error:
            if not self.as_json:
                raise
            self.report_failure(source, error)
            return 1
        self.report(source, summary, f"{source} -> {out}")
        return 0

    def frames(self, source: str, out: str, size: tuple[int, int]) -> int:
        """Raw RGB frames of ``size`` (width, height), one after the other, to numbered PNGs or raw RGBA (mask: grey) frames.

        A frame without an object becomes an empty one and is reported: the number of frames stays. The exit code.
        """
        if self.crop:
            raise BadOption("Frames keep their size: leave out --crop.")
        if not self.to_stdout and not _takes_a_number(out):
            raise BadOption("Frames need -o - or a pattern with a number such as -o frames/%04d.png.")
        self._check(out)
        width, height = size
        count = 0
        with _opened(source) as stream:
            while data := _read_exactly(stream, width * height * 3):
                count += 1
                if len(data) < width * height * 3:
                    raise BadInput(
                        f"Frame {count} is cut short ({len(data)} of {width * height * 3} bytes): is --frames {width}x{height} "
                        "the video's size, and its format rgb24?"
                    )
                name = f"frame {count}"
                target = "-" if self.to_stdout else out % count
                pixels = self._frame(np.frombuffer(data, np.uint8).reshape(height, width, 3), name, target)
                if self.to_stdout:
                    sys.stdout.buffer.write(np.ascontiguousarray(pixels).tobytes())
                else:
                    write(Path(target), encoded_as(target, pixels))
        if count == 0:
            raise BadInput("There was no frame on the input: pipe in 'ffmpeg -i VIDEO -f rawvideo -pix_fmt rgb24 -'.")
        return 0

    def run(self, data: bytes, out: str) -> tuple[bytes, dict[str, Any]]:
        """An encoded picture -> the result, encoded as ``out``'s name says, and what ``--json`` tells of it."""
        clock = Stopwatch()
        with clock.stage("decode"):
            image = decode(data)
        cutout = cut(image, self.segmenter, **self.options)
        with clock.stage("encode"):
            encoded = encoded_as(out, self.pixels(cutout))
        summary = cutout.summary()
        summary["timings_ms"].update({name: round(ms, 1) for name, ms in clock.timings_ms.items()})
        return encoded, summary

    def pixels(self, cutout: Cutout) -> NDArray[np.uint8]:
        """The cut-out in the form that the options ask for."""
        if self.only_mask:
            return cutout.rgba[..., 3] if self.crop else cutout.mask()
        return self._on_background(cutout.rgba if self.crop else cutout.full())

    def report(self, source: str, summary: dict[str, Any], sentence: str) -> None:
        text = json.dumps({"image": source, **summary}) if self.as_json else sentence
        click.echo(text, err=self.to_stdout or (not self.as_json and summary["status"] != "ok"))

    def report_failure(self, source: str, error: ServerError) -> None:
        status = "no_object" if isinstance(error, NoObject) else "failed"
        self.report(source, {"status": status, "message": error.message}, f"{source}: {error.message}")

    def _check(self, out: str) -> None:
        """Raises ``BadOption`` before anything is cut that could not be kept."""
        if self.to_stdout and sys.stdout.isatty():
            raise BadOption("A picture would fill the terminal with signs: pipe it on, or name a file with -o.")
        if Path(out).suffix.lower() in OTHER_FORMS:
            raise BadOption(f"{out} cannot be written: name a .png, .webp or .jpg (on white).")

    def _frame(self, image: RGB, name: str, target: str) -> NDArray[np.uint8]:
        try:
            cutout = cut(image, self.segmenter, **self.options)
        except NoObject as error:
            self.report_failure(name, error)
            empty = np.zeros((*image.shape[:2], 4), np.uint8)
            return empty[..., 3] if self.only_mask else self._on_background(empty)
        self.report(name, cutout.summary(), f"{name} -> {target}")
        return self.pixels(cutout)

    def _on_background(self, rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.bgcolor is None:
            return rgba
        alpha = rgba[..., 3:].astype("float32") / 255
        return np.asarray(rgba[..., :3] * alpha + (1 - alpha) * self.bgcolor + 0.5, dtype=np.uint8)


def encoded_as(name: str, pixels: NDArray[np.uint8]) -> bytes:
    """HxW, HxWx3 or HxWx4 as the file's name says: JPEG (on white), lossless WebP, else PNG. Raises ``BadOption``."""
    form = FORMS.get(Path(name).suffix.lower())
    if form is None:
        return encode_png(pixels)
    if form == "webp" and max(pixels.shape[:2]) > WEBP_SIDE:
        raise BadOption(f"A WebP has at most {WEBP_SIDE} pixels a side: name a .png instead of {name}.")
    if pixels.shape[2:] == (4,):
        from server.dialects.encoding import encode

        return encode(pixels, form)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "JPEG" if form == "jpg" else "WEBP", quality=90, lossless=True, method=0)
    return sink.getvalue()


def parse_size(text: str | None) -> tuple[int, int] | None:
    """'1280x720' -> (width, height). Raises ``BadOption``."""
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isascii() and height.isascii() and width.isdigit() and height.isdigit()):
        raise BadOption(f"--frames is WIDTHxHEIGHT such as 1280x720, not '{text[:40]}'.")
    size = int(width[:6]), int(height[:6])
    limits = Limits.from_environment()
    if min(size) < 1 or max(size) > limits.max_side or size[0] * size[1] > limits.max_pixels:
        raise BadOption(f"--frames {text[:40]} is no size that is cut here: give WIDTHxHEIGHT such as 1280x720.")
    return size


def parse_bgcolor(text: str | None) -> tuple[int, int, int] | None:
    """'#rrggbb' or a name -> red, green, blue. Raises ``BadOption``."""
    if text is None:
        return None
    from PIL import ImageColor

    try:
        return ImageColor.getrgb(text)[:3]
    except ValueError:
        raise BadOption(f"'{text}' is not a colour: give #rrggbb or a name such as white.") from None


def read(path: Path) -> bytes:
    """Raises ``BadInput``."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from error


def write(path: Path, data: bytes) -> None:
    """Whole or not at all. Raises ``BadInput``."""
    partial = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise BadInput(f"{path} cannot be written: {error.strerror}.") from error


@contextmanager
def _opened(source: str) -> Iterator[BinaryIO]:
    if source == "-":
        yield sys.stdin.buffer
        return
    try:
        with open(source, "rb") as file:
            yield file
    except OSError as error:
        raise BadInput(f"{source} cannot be read: {error.strerror}.") from error


def _read_exactly(stream: BinaryIO, size: int) -> bytes:
    """``size`` bytes, fewer at the end: a pipe gives them in pieces."""
    parts = []
    while size > 0 and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _takes_a_number(pattern: str) -> bool:
    try:
        return pattern % 1 != pattern % 2
    except (TypeError, ValueError):
        return False
