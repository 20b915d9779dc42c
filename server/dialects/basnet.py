"""``POST /``: the contract of basnet-http (https://github.com/cyrildiagne/basnet-http), which the 2020 prototype's server calls."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from flask import Blueprint, Response
from numpy.typing import NDArray
from PIL import Image

from server.dialects import fields
from server.dialects.failures import answer_failures
from server.errors import ServerError
from server.images import EXIF_ORIENTATION
from server.observe import clock
from server.settings import Settings

TO_STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""From the upright picture back to the order in which the file stores it, by EXIF orientation."""


def blueprint(settings: Settings) -> Blueprint:
    basnet = Blueprint("basnet", __name__)
    answer_failures(basnet, _error)

    @basnet.post("/")
    def mask() -> Response:
        """The file field ``data`` -> the mask as grey PNG in the pixels as the file stores them: its clients ignore EXIF."""
        data = fields.uploaded("data")
        cutout = settings.cut_photo(fields.decoded(data, settings), colours=False)
        clock().timings_ms.update(cutout.timings_ms)
        return Response(fields.png(_as_stored(cutout.mask(), data)), mimetype="image/png")

    return basnet


def _as_stored(mask: NDArray[np.uint8], data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as header:
        heif = header.format == "HEIF"
        try:
            turn = TO_STORED.get(int(header.getexif().get(EXIF_ORIENTATION, 1)))
        except Exception:  # the decoder takes damaged EXIF for none, too
            turn = None
    return mask if turn is None or heif else np.asarray(Image.fromarray(mask).transpose(turn))


def _error(error: ServerError) -> tuple[dict[str, Any], int]:
    return {"error": error.message}, error.status
