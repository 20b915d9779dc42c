"""A cut-out as CF_DIBV5, the clipboard bitmap of Windows that keeps alpha (Microsoft Learn: BITMAPV5HEADER)."""

from __future__ import annotations

import struct

import numpy as np

from desktop_agent.paste.driver import RGBA

HEADER_SIZE, BITFIELDS, SRGB, IMAGES = 124, 3, 0x73524742, 4
PIXELS_PER_METRE = 3780  # 96 per inch


def encode_dibv5(cutout: RGBA) -> bytes:
    """uint8 HxWx4 RGBA -> header and bottom-up BGRA rows, straight alpha, sRGB."""
    height, width = cutout.shape[:2]
    header = struct.pack(
        "<IiiHHIIiiII4II36x12xIIII",
        HEADER_SIZE, width, height, 1, 32, BITFIELDS, 4 * width * height, PIXELS_PER_METRE, PIXELS_PER_METRE, 0, 0,
        0x00FF0000, 0x0000FF00, 0x000000FF, 0xFF000000, SRGB, IMAGES, 0, 0, 0,
    )  # fmt: skip
    return header + np.ascontiguousarray(cutout[::-1, :, [2, 1, 0, 3]]).tobytes()
