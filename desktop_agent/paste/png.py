"""A cut-out as PNG bytes for clipboards and files."""

from __future__ import annotations

from desktop_agent.paste.driver import RGBA


def encode_png(cutout: RGBA) -> bytes:
    """uint8 HxWx4 RGBA -> PNG, quick rather than small."""
    import cv2

    done, data = cv2.imencode(".png", cv2.cvtColor(cutout, cv2.COLOR_RGBA2BGRA), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert done
    return bytes(data.tobytes())
