"""Result formats besides PNG: JPEG, WebP, and remove.bg's ZIP of colours and alpha. None of them carries metadata."""

from __future__ import annotations

import io
import zipfile

from PIL import Image

from server.dialects.canvas import over_color
from server.images import RGBA, encode_jpeg, encode_png

WHITE = (255, 255, 255, 255)
TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp", "zip": "application/zip"}


def encode(rgba: RGBA, form: str) -> bytes:
    """uint8 HxWx4 as png, jpg (on white), webp (lossless) or zip (color.jpg and alpha.png)."""
    if form == "jpg":
        return encode_jpeg(over_color(rgba, WHITE)[..., :3])
    if form == "webp":
        sink = io.BytesIO()
        Image.fromarray(rgba).save(sink, "WEBP", lossless=True, method=0)
        return sink.getvalue()
    if form == "zip":
        return _zipped(rgba)
    return encode_png(rgba)


def _zipped(rgba: RGBA) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:  # both files are compressed already
        for name, data in (("color.jpg", encode_jpeg(rgba[..., :3])), ("alpha.png", encode_png(rgba[..., 3]))):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
    return sink.getvalue()
