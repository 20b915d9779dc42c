"""``POST /v1.0/removebg``: remove.bg's contract (https://www.remove.bg/api), so that its clients work with this server."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from flask import Blueprint, Response, jsonify, request

from server.cutout import Cutout
from server.dialects import fields
from server.dialects.canvas import (
    Canvas,
    in_roi,
    on_canvas,
    over_color,
    over_picture,
    parse_position,
    parse_roi,
    parse_scale,
    within_megapixels,
)
from server.dialects.encoding import TYPES, encode
from server.dialects.failures import answer_failures, errors_list
from server.errors import BadInput, BadOption, NoObject, ServerError, Unauthorized
from server.images import RGBA
from server.observe import clock
from server.segmenter import RGB
from server.settings import Settings

MEGAPIXELS = {
    "preview": 0.25,
    "small": 0.25,
    "regular": 0.25,
    "medium": 1.5,
    "hd": 4.0,
    "full": 25.0,
    "4k": 25.0,
    "50MP": 50.0,
    "auto": 25.0,
}
PNG_MEGAPIXELS = 10.0
FORMATS = ("auto", "png", "jpg", "webp", "zip")
KINDS = (
    "auto",
    "person",
    "product",
    "animal",
    "car",
    "car_interior",
    "car_part",
    "transportation",
    "graphic",
    "graphics",
)
KIND_LEVELS = ("none", "1", "2", "latest")
FLAGS = ("crop", "semitransparency", "add_shadow")
SOURCES = ("image_file", "image_file_b64", "image_url")


def blueprint(settings: Settings) -> Blueprint:
    removebg = Blueprint("removebg", __name__, url_prefix="/v1.0")
    answer_failures(removebg, _error)

    @removebg.post("/removebg")
    def remove() -> Response:
        fields.allow_base64(settings.limits)
        values = _values()
        form = fields.choice(values, "format", FORMATS, "auto")
        kind = fields.choice(values, "type", (*KINDS, "other"), "auto")
        level = fields.choice(values, "type_level", KIND_LEVELS, "1")
        if fields.flag(values, "add_shadow") or str(values.get("shadow_type") or "none") != "none":
            raise BadOption("Shadows are not made here: leave add_shadow and shadow_type out.")
        image = _scaled(fields.decoded(_source(values, settings), settings), values, form)
        cutout = _cut(image, values, settings)
        with clock().stage("canvas"):
            rgba = _composed(cutout, values, settings)
        if form == "auto":
            form = "jpg" if rgba[..., 3].min() == 255 else "png"
        with clock().stage("encode"):
            data = encode(rgba, form)
        return _answer(data, form, rgba, cutout, None if level == "none" else "other" if kind == "auto" else kind)

    @removebg.get("/account")
    def account() -> Response:
        """No credits are counted here; clients that ask for their balance before they begin find none needed."""
        credits_ = {"total": 0, "subscription": 0, "payg": 0, "enterprise": 0}
        return jsonify({"data": {"attributes": {"credits": credits_, "api": {"free_calls": 0, "sizes": "all"}}}})

    return removebg


def _values() -> Mapping[str, Any]:
    if request.is_json:
        try:
            body = request.get_json()
        except RecursionError:
            raise BadInput(
                "The JSON body is nested too deeply: send a flat object with the fields of a form."
            ) from None
        if not isinstance(body, dict):
            raise BadInput("The JSON body is an object with the fields of a form.")
        wrong = [
            name[:40] for name, value in body.items() if not isinstance(value, str | bool if name in FLAGS else str)
        ]
        if wrong:
            raise BadOption(
                f"Fields are texts, {' and '.join(FLAGS)} may be true or false; not so: {', '.join(wrong[:5])}."
            )
        return body
    return request.form


def _source(values: Mapping[str, Any], settings: Settings) -> bytes:
    given = [name for name in SOURCES if values.get(name) or name in request.files]
    if not given:
        raise BadInput("No image given: send image_file, image_file_b64 or image_url.", code="missing_source")
    if len(given) > 1:
        raise BadInput(f"Several images given ({', '.join(given)}): send exactly one of them.", code="multiple_sources")
    if given == ["image_url"]:
        return fields.fetched(str(values["image_url"]), settings)
    if given == ["image_file_b64"]:
        return fields.from_base64(str(values["image_file_b64"]))
    return fields.uploaded("image_file")


def _scaled(image: RGB, values: Mapping[str, Any], form: str) -> RGB:
    """remove.bg scales to the size that is asked for; PNG has at most 10 megapixels there."""
    megapixels = MEGAPIXELS[fields.choice(values, "size", tuple(MEGAPIXELS), "preview")]
    if form in {"auto", "png"} and fields.choice(values, "channels", ("rgba", "alpha"), "rgba") == "rgba":
        megapixels = min(megapixels, PNG_MEGAPIXELS)
    return within_megapixels(image, megapixels)


def _cut(image: RGB, values: Mapping[str, Any], settings: Settings) -> Cutout:
    height, width = image.shape[:2]
    roi = parse_roi(str(values.get("roi") or "0% 0% 100% 100%"), width, height)
    region = np.ascontiguousarray(image[roi.top : roi.bottom, roi.left : roi.right])
    glass = "auto" if fields.flag(values, "semitransparency", default=True) else "off"
    cutout = settings.cut_photo(region, glass=glass)
    clock().timings_ms.update(cutout.timings_ms)
    return in_roi(cutout, roi, (width, height))


def _composed(cutout: Cutout, values: Mapping[str, Any], settings: Settings) -> RGBA:
    canvas: Canvas = on_canvas(cutout)
    cropped = canvas.cropped(
        str(values.get("crop_margin") or "0")
    )  # a wrong margin is refused also where it is not used
    if fields.flag(values, "crop"):
        canvas = cropped
    scale = parse_scale(str(values.get("scale") or "original"))
    if scale is not None:
        canvas = canvas.scaled(scale)
    position = parse_position(str(values.get("position") or ("original" if scale is None else "center")))
    if position is not None:
        canvas = canvas.placed(*position)
    rgba = canvas.pixels()
    if fields.choice(values, "channels", ("rgba", "alpha"), "rgba") == "alpha":
        grey = np.repeat(rgba[..., 3:], 4, axis=2)
        grey[..., 3] = 255
        return grey
    backgrounds = [n for n in ("bg_color", "bg_image_url", "bg_image_file") if values.get(n) or n in request.files]
    if len(backgrounds) > 1:
        raise BadOption(f"Several backgrounds given ({', '.join(backgrounds)}): send one of them.")
    if backgrounds == ["bg_color"]:
        return over_color(rgba, fields.parse_color(str(values["bg_color"])))
    if backgrounds:
        file = backgrounds == ["bg_image_file"]
        data = fields.uploaded("bg_image_file") if file else fields.fetched(str(values["bg_image_url"]), settings)
        return over_picture(rgba, fields.decoded(data, settings))
    return rgba


def _answer(data: bytes, form: str, rgba: RGBA, cutout: Cutout, kind: str | None) -> Response:
    box = cutout.box
    foreground = {
        "foreground_top": box.top,
        "foreground_left": box.left,
        "foreground_width": box.right - box.left,
        "foreground_height": box.bottom - box.top,
    }
    if request.accept_mimetypes.best_match(["image/*", "application/json"], "image/*") == "application/json":
        response = jsonify({"data": {"result_b64": base64.b64encode(data).decode(), **foreground}})
    else:
        response = Response(data, mimetype=TYPES[form])
    response.headers["X-Credits-Charged"] = "0"
    response.headers["X-Width"], response.headers["X-Height"] = str(rgba.shape[1]), str(rgba.shape[0])
    if kind is not None:
        response.headers["X-Type"] = kind
    for name, value in foreground.items():
        response.headers[f"X-{name.replace('_', '-').title()}"] = str(value)
    return response


def _error(error: ServerError) -> tuple[dict[str, Any], int]:
    """remove.bg's codes and statuses: what is wrong with the picture is 400, with the key 403."""
    body, status = errors_list(error)
    codes = {
        "image_too_large": "file_too_large",
        "unreadable_image": "failed_to_read_image",
        "fetch_failed": "invalid_image_url",
        "bad_option": "invalid_parameters",
        "no_object": "unknown_foreground",
    }
    body["errors"][0]["code"] = codes.get(error.code, error.code)
    if isinstance(error, NoObject):
        body["errors"][0]["title"] = "Could not identify foreground in image"
        status = 400
    elif isinstance(error, Unauthorized):
        status = 403
    elif isinstance(error, BadInput):
        status = 400
    return body, status
