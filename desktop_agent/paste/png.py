"""A cut-out as PNG bytes for clipboards and files."""

from __future__ import annotations

import struct
import zlib

from desktop_agent.paste.driver import RGBA

AFTER_HEADER = 33  # bytes of the signature and the IHDR chunk


def encode_png(cutout: RGBA, density: float = 1.0) -> bytes:
    """uint8 HxWx4 RGBA -> PNG, quick rather than small. ``density``: its pixels in 1/96 inch, told where it is not 1 (pHYs)."""
    import cv2

    done, data = cv2.imencode(".png", cv2.cvtColor(cutout, cv2.COLOR_RGBA2BGRA), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert done
    png = bytes(data.tobytes())
    return png if density == 1 else png[:AFTER_HEADER] + _physical_size(density) + png[AFTER_HEADER:]


def _physical_size(density: float) -> bytes:
    """A pHYs chunk (PNG, third edition, 11.3.4.3)."""
    per_metre = round(density * 96 / 0.0254)
    chunk = b"pHYs" + struct.pack(">IIB", per_metre, per_metre, 1)
    return struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
