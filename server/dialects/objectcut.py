"""``POST /remove``: OBJECT CUT's contract (the second application in Qin et al., arXiv:2101.04704), with true status codes."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np
from flask import Blueprint, Response, abort, g, jsonify, request, url_for

from server.cutout import Cutout
from server.dialects import fields
from server.dialects.canvas import over_color
from server.dialects.encoding import WHITE
from server.dialects.failures import answer_failures
from server.errors import BadInput, BadOption, ServerError
from server.images import RGBA
from server.observe import clock
from server.results import ResultStore
from server.segmenter import RGB
from server.settings import Settings

UNSPECIFIED, UNREACHABLE, PARAMETERS = "001", "002", "003"


def blueprint(settings: Settings, results: ResultStore) -> Blueprint:
    objectcut = Blueprint("objectcut", __name__)
    answer_failures(objectcut, _error)

    @objectcut.post("/remove")
    def remove() -> Response:
        fields.allow_base64(settings.limits)
        values: Mapping[str, Any] = request.form
        output = fields.choice(values, "output_format", ("url", "base64"), "url")
        removed = fields.choice(values, "to_remove", ("background", "foreground"), "background")
        color = fields.choice(values, "color_removal", ("transparent", "white"), "transparent")
        image = fields.decoded(_source(values, settings), settings)
        cutout = settings.cut_photo(image)
        clock().timings_ms.update(cutout.timings_ms)
        rgba = cutout.full() if removed == "background" else _surroundings(image, cutout)
        data = fields.png(rgba if color == "transparent" else over_color(rgba, WHITE))
        if output == "url":
            with clock().stage("store"):
                kept = url_for("objectcut.result", name=results.put(data), _external=True)
            found = {"image_url": kept}
        else:
            found = {"image_base64": base64.b64encode(data).decode()}
        return jsonify({"correlation_id": _correlation_id(), "error": False, "response": found})

    @objectcut.get("/results/<name>")
    def result(name: str) -> Response:
        """A stored result as long as it lives."""
        data = results.get(name)
        if data is None:
            abort(404)
        response = Response(data, mimetype="image/png")
        response.headers["Cache-Control"] = "private, no-store"
        return response

    return objectcut


def _source(values: Mapping[str, Any], settings: Settings) -> bytes:
    given = [name for name in ("image_url", "image_base64") if values.get(name)]
    if len(given) != 1:
        raise BadOption("Send exactly one of image_url and image_base64.", code="missing_field")
    if given == ["image_url"]:
        return fields.fetched(values["image_url"], settings)
    return fields.from_base64(values["image_base64"])


def _surroundings(image: RGB, cutout: Cutout) -> RGBA:
    """The photo without its object, RGB zero where nothing is left."""
    alpha = 255 - cutout.mask()
    rgba = np.dstack([image, alpha])
    rgba[alpha == 0] = 0
    return rgba


def _correlation_id() -> str:
    if "correlation_id" not in g:
        g.correlation_id = str(uuid.uuid4())
    return str(g.correlation_id)


def _error(error: ServerError) -> tuple[dict[str, Any], int]:
    if error.code in {"bad_option", "missing_field", "auth_failed"}:
        error_id = PARAMETERS
    elif isinstance(error, BadInput):
        error_id = UNREACHABLE
    else:
        error_id = UNSPECIFIED
    body = {"correlation_id": _correlation_id(), "error": True, "error_id": error_id, "message": error.message}
    return body, error.status
