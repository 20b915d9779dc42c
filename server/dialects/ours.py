"""``POST /v1/cut``: our own dialect, the one that the agent speaks."""

from __future__ import annotations

import json

from flask import Blueprint, Response, request

from server.dialects import fields
from server.observe import clock
from server.settings import Settings

OUTPUTS = ("cutout", "mask")


def blueprint(settings: Settings) -> Blueprint:
    ours = Blueprint("ours", __name__)

    @ours.post("/v1/cut")
    def cut() -> Response:
        """Fields: image (file), model, crop, output, and those of ``fields.cut_options`` -> PNG, its figures in X-Cutout."""
        image = fields.decoded(fields.uploaded("image"), settings)
        form = request.form
        output = fields.choice(form, "output", OUTPUTS, "cutout")
        crop = fields.flag(form, "crop")
        cutout = settings.cut_photo(image, form.get("model"), colours=output != "mask", **fields.cut_options(form))
        clock().timings_ms.update(cutout.timings_ms)
        if output == "mask":
            pixels = cutout.rgba[..., 3] if crop else cutout.mask()
        else:
            pixels = cutout.rgba if crop else cutout.full()
        response = Response(fields.png(pixels), mimetype="image/png")
        response.headers["X-Cutout"] = json.dumps(cutout.summary())
        return response

    return ours
