"""``GET`` and ``POST /api/remove``: the contract of ``rembg s`` (https://github.com/danielgatis/rembg), with true status codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from flask import Blueprint, Response, request
from numpy.typing import NDArray

from server.dialects import fields
from server.dialects.canvas import over_color
from server.dialects.failures import answer_failures
from server.errors import BadInput, BadOption, ServerError
from server.images import RGBA
from server.observe import clock
from server.settings import Settings


def blueprint(settings: Settings) -> Blueprint:
    rembg = Blueprint("rembg", __name__, url_prefix="/api")
    answer_failures(rembg, _error)

    @rembg.get("/remove")
    def by_url() -> Response:
        url = request.args.get("url")
        if not url:
            raise BadInput("The query parameter 'url' is missing: name the picture's address.", code="missing_field")
        checked = _checked(request.args)
        return _removed(fields.fetched(url, settings), checked, settings)

    @rembg.post("/remove")
    def by_file() -> Response:
        values = {**request.args.to_dict(), **request.form.to_dict()}
        return _removed(fields.uploaded("file"), _checked(values), settings)

    return rembg


def _checked(values: Mapping[str, str]) -> dict[str, Any]:
    """All options of rembg; af, ab and ae shape its trimap, ours is made from the soft mask itself."""
    for name, default, high in (("af", 240, 255), ("ab", 10, 255), ("ae", 10, 999_999_999)):
        fields.whole_number(values, name, default, 0, high)
    return {
        "model": values.get("model"),
        "matting": fields.flag(values, "a"),
        "only_mask": fields.flag(values, "om"),
        "post_process": fields.flag(values, "ppm"),
        "color": _color(values.get("bgc")),
    }


def _removed(data: bytes, options: dict[str, Any], settings: Settings) -> Response:
    image = fields.decoded(data, settings)
    cutout = settings.cut_photo(image, options["model"], matting=options["matting"], colours=not options["only_mask"])
    clock().timings_ms.update(cutout.timings_ms)
    rgba = cutout.full()
    if options["post_process"]:
        rgba[..., 3] = _smoothed(rgba[..., 3])
    pixels: RGBA = rgba
    if options["only_mask"]:
        pixels = rgba[..., 3]
    elif options["color"] is not None:
        pixels = over_color(rgba, options["color"])
    return Response(fields.png(pixels), mimetype="image/png")


def _smoothed(alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A hard mask with a smooth outline: opened, blurred, cut at the middle."""
    opened = cv2.morphologyEx(alpha, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3)))
    blurred = cv2.GaussianBlur(opened, (5, 5), 2)
    return np.where(blurred > 127, 255, 0).astype(np.uint8)


def _color(text: str | None) -> fields.RGBAColor | None:
    """'r,g,b,a' in 0..255. Raises ``BadOption``."""
    if not text:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in {3, 4} or not all(p.isascii() and p.isdigit() and len(p) < 4 and int(p) <= 255 for p in parts):
        raise BadOption(f"bgc is 'red,green,blue,alpha', each from 0 to 255, not '{text[:40]}'.")
    red, green, blue, *alpha = (int(part) for part in parts)
    return red, green, blue, alpha[0] if alpha else 255


def _error(error: ServerError) -> tuple[dict[str, Any], int]:
    """FastAPI's form, which rembg's clients know: a wrong parameter is 422 with a list, all else a sentence."""
    if error.code in {"missing_field", "bad_option", "bad_tap", "unknown_model"}:
        detail: Any = [{"loc": ["request"], "msg": error.message, "type": error.code}]
        return {"detail": detail}, 422
    return {"detail": error.message}, error.status
