"""Reading requests: pictures, taps, yes and no, choices, numbers, colours; every refusal says what would be right."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from flask import request
from PIL import ImageColor

from server.cutout import GLASS, MODES
from server.errors import BadInput, BadOption, FetchFailed
from server.images import Limits, decode, encode_png
from server.observe import clock
from server.segmenter import RGB
from server.selection import parse_tap
from server.settings import Settings

FORM_OVERHEAD = 512 << 10
"""Bytes of a multipart body beside the image; it bounds the parser's buffer too, which reads files by 64 KiB."""
YES, NO = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})

RGBAColor = tuple[int, int, int, int]


def cut_options(values: Mapping[str, str]) -> dict[str, Any]:
    """The keyword arguments of ``server.cutout.cut`` that a form or query names."""
    return {
        "tap": parse_tap(values.get("tap")),
        "mode": choice(values, "mode", MODES, "object"),
        "refine": flag(values, "refine"),
        "matting": flag(values, "matting"),
        "glass": choice(values, "glass", GLASS, "auto"),
        "post_process": flag(values, "post_process"),
    }


def uploaded(name: str) -> bytes:
    """The bytes of the multipart file field; raises ``BadInput`` with the fields that were there instead."""
    upload = request.files.get(name)
    if upload is None and name in request.form:
        raise BadInput(f"'{name}' came as text: send it as a file (curl -F {name}=@photo.jpg).", code="missing_field")
    if upload is None:
        there = ", ".join(sorted(str(name) for name in [*request.files, *request.form])[:8])[:80] or "none"
        raise BadInput(
            f"The file field '{name}' is missing (fields found: {there}): send the picture there, as multipart/form-data.",
            code="missing_field",
        )
    return upload.read()


def allow_base64(limits: Limits) -> None:
    """This request's text fields may hold a whole picture. To be called before the body is read."""
    room = limits.max_bytes * 4 // 3 + FORM_OVERHEAD
    request.max_content_length = 2 * room
    request.max_form_memory_size = room


def from_base64(text: str) -> bytes:
    """Standard or URL-safe alphabet, with or without padding, line breaks or a data: prefix. Raises ``BadInput``."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    packed = "".join(text.split()).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise BadInput("The picture is not base64: encode the file's bytes.", code="bad_base64") from None


def fetched(url: str, settings: Settings) -> bytes:
    """The picture at a public address. Raises ``FetchFailed``."""
    if settings.fetch is None:
        raise FetchFailed("This server does not fetch pictures by address: send the picture itself.")
    with clock().stage("fetch"):
        return settings.fetch(url)


def decoded(data: bytes, settings: Settings) -> RGB:
    """``server.images.decode``, timed."""
    with clock().stage("decode"):
        return decode(data, settings.limits)


def png(pixels: Any) -> bytes:
    """``server.images.encode_png``, timed."""
    with clock().stage("encode"):
        return encode_png(pixels)


def flag(values: Mapping[str, Any], name: str, default: bool = False) -> bool:
    """Raises ``BadOption``."""
    given = values.get(name)
    if isinstance(given, bool):
        return given
    text = "" if given is None else str(given).lower()
    if text in YES:
        return True
    if text in NO:
        return False
    if text == "":
        return default
    raise BadOption(f"{name} is true or false, not '{text[:40]}'.")


def choice(values: Mapping[str, Any], name: str, allowed: Sequence[str], default: str) -> str:
    """One of ``allowed``; missing or empty: ``default``. Raises ``BadOption``."""
    text = str(values.get(name) or default)
    if text not in allowed:
        raise BadOption(f"{name} is one of {', '.join(allowed)}, not '{text[:40]}'.")
    return text


def whole_number(values: Mapping[str, Any], name: str, default: int, low: int, high: int) -> int:
    """Raises ``BadOption``."""
    text = str(values.get(name, default))
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not low <= int(text) <= high:
        raise BadOption(f"{name} is a whole number from {low} to {high}, not '{text[:40]}'.")
    return int(text)


def parse_color(text: str) -> RGBAColor:
    """'81d4fa', '#81d4faff', 'green', 'rgb(1, 2, 3)' -> red, green, blue, alpha in 0..255. Raises ``BadOption``."""
    text = text.strip()
    if text and all(c in "0123456789abcdefABCDEF" for c in text) and len(text) in {3, 4, 6, 8}:
        text = f"#{text}"
    try:
        color = ImageColor.getrgb(text[:40])
    except (ValueError, OverflowError):
        raise BadOption(f"'{text[:40]}' is not a colour: give rrggbb in hexadecimal or a name such as white.") from None
    return (color[0], color[1], color[2], color[3] if len(color) == 4 else 255)
