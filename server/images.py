"""Bytes to pixels and back: types, limits, EXIF orientation, colour profiles, fast PNG.

Everything a client sends passes through ``decode``: it checks the number of bytes, the type and the number of pixels before a
single pixel is decoded, so that a decompression bomb costs a header read.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile, PngImagePlugin

from server import png
from server.errors import ImageTooLarge, UnreadableImage
from server.segmenter import RGB

RGBA = NDArray[np.uint8]
EXIF_ORIENTATION = 0x0112

_UPRIGHT: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: image[::-1].transpose(1, 0, 2),
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: lambda image: image.transpose(1, 0, 2)[::-1],
}


@dataclass(frozen=True)
class Limits:
    """What ``decode`` accepts: encoded bytes, pixels of the picture, pixels of its long side."""

    max_bytes: int = 64 << 20
    max_pixels: int = 120_000_000
    max_side: int = 32_768

    @classmethod
    def from_environment(cls) -> Limits:
        """``ARCP_MAX_BYTES`` and ``ARCP_MAX_PIXELS`` override the defaults."""
        return cls(
            max_bytes=int(os.environ.get("ARCP_MAX_BYTES", cls.max_bytes)),
            max_pixels=int(os.environ.get("ARCP_MAX_PIXELS", cls.max_pixels)),
        )


def sniff(data: bytes) -> str | None:
    """The type by its first bytes: jpeg, png, webp, heif, or None."""
    if data[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp" and data[8:12] in {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}:
        return "heif"
    return None


def decode(data: bytes, limits: Limits | None = None) -> RGB:
    """An encoded picture -> uint8 HxWx3 sRGB, upright; transparency is laid on white.

    Reads JPEG, PNG, WebP, and HEIC where pillow-heif is installed. Raises ``UnreadableImage`` or ``ImageTooLarge``.
    """
    limits = limits or Limits.from_environment()
    if not data:
        raise UnreadableImage("The image is empty (0 bytes): send a JPEG, PNG, WebP or HEIC picture.")
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(
            f"The image has {len(data) / 2**20:.0f} MiB; up to {limits.max_bytes / 2**20:.0f} MiB are accepted: send a smaller one."
        )
    kind = sniff(data)
    if kind is None:
        raise UnreadableImage("This is not a picture that can be read here: send a JPEG, PNG, WebP or HEIC picture.")
    header = _open(data, kind)
    width, height = header.size
    if width * height > limits.max_pixels or max(width, height) > limits.max_side:
        raise ImageTooLarge(
            f"The image has {width} x {height} pixels; up to {limits.max_pixels / 1e6:.0f} megapixels and {limits.max_side} "
            "pixels a side are accepted: send a smaller one."
        )
    try:
        orientation = int(header.getexif().get(EXIF_ORIENTATION, 1))
    except Exception:  # damaged EXIF says nothing about the pixels
        orientation = 1
    profile = header.info.get("icc_profile")
    pixels = _decode_jpeg(data) if kind == "jpeg" and header.mode in {"RGB", "L"} else _decode_with_pillow(header)
    pixels = _to_srgb(pixels, profile)
    upright = _UPRIGHT.get(orientation if kind != "heif" else 1)  # pillow-heif has applied it already
    return np.ascontiguousarray(upright(pixels)) if upright else pixels


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """uint8 HxW, HxWx3 RGB or HxWx4 RGBA -> PNG bytes without any metadata."""
    return png.encode(image)


def encode_jpeg(image: RGB, quality: int = 90) -> bytes:
    """uint8 HxWx3 RGB -> JPEG bytes without any metadata."""
    import simplejpeg

    encoded: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=quality, colorspace="RGB")
    return encoded


def decode_rgba(data: bytes, limits: Limits | None = None) -> RGBA:
    """An encoded cut-out -> uint8 HxWx4; a picture without transparency is opaque. Same limits and errors as ``decode``."""
    rgb = decode(data, limits)
    header = _open(data, sniff(data) or "")
    if header.mode not in {"RGBA", "LA", "PA"} and "transparency" not in header.info:
        return np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
    return np.asarray(_load(header).convert("RGBA"))


def _open(data: bytes, kind: str) -> Image.Image:
    """The header, no pixels yet."""
    if kind == "heif":
        try:
            import pillow_heif
        except ImportError as error:
            raise UnreadableImage(
                "HEIC pictures need the 'heic' extra (pip install 'ar-copy-paste[heic]'); or send a JPEG."
            ) from error
        pillow_heif.register_heif_opener()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own bomb limit and EXIF complaints; the limits above are stricter
        try:
            return Image.open(io.BytesIO(data))
        except Image.DecompressionBombError as error:
            raise ImageTooLarge(
                "The image has far too many pixels (over 178 megapixels): send a smaller one."
            ) from error
        except Exception as error:
            raise UnreadableImage(
                f"The {kind.upper()} picture is damaged: its header cannot be read. Send it again."
            ) from error


def _decode_jpeg(data: bytes) -> RGB:
    import simplejpeg

    try:
        pixels: RGB = simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True)
    except ValueError as error:
        if "remature" in str(error) or not data.rstrip(b"\x00").endswith(b"\xff\xd9"):
            raise UnreadableImage("The JPEG picture is truncated: the upload broke off. Send it again.") from error
        try:  # libjpeg's other warnings (stray bytes, odd markers) do not spoil the picture
            pixels = simplejpeg.decode_jpeg(data, colorspace="RGB", strict=False)
        except ValueError as fatal:
            raise UnreadableImage(f"The JPEG picture is damaged ({fatal}). Send it again.") from fatal
    return pixels


def _load(header: Image.Image) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            header.load()
        except Exception as error:
            raise UnreadableImage(
                "The picture is truncated or damaged: its pixels cannot be read. Send it again."
            ) from error
    return header


def _decode_with_pillow(header: Image.Image) -> RGB:
    image = _load(header)
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.uint32) * 255 // 65535).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def _to_srgb(pixels: RGB, profile: bytes | None) -> RGB:
    """Phones store Display P3; without the conversion colours come out dull in the document."""
    if not profile:
        return pixels
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower() or source.profile.xcolor_space.strip() != "RGB":
            return pixels
        converted = ImageCms.profileToProfile(
            Image.fromarray(pixels), source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return pixels
    return pixels if converted is None else np.asarray(converted)


ImageFile.LOAD_TRUNCATED_IMAGES = False
PngImagePlugin.MAX_TEXT_CHUNK = 1 << 20
