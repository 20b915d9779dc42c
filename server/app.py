"""The HTTP face of the server: a Flask application factory; each dialect is a thin adapter over ``cut``."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from server import registry
from server.cutout import Cutout, cut
from server.errors import BadInput, BadOption, ServerError
from server.images import Limits, decode, encode_png
from server.segmenter import RGB, Tap

FORM_OVERHEAD = 512 << 10
"""Bytes of a multipart body beside the image; it bounds the parser's buffer too, which reads files by 64 KiB."""


@dataclass(frozen=True)
class Settings:
    """What ``python -m server`` was started with."""

    model: str = registry.DEFAULT_MODEL
    weights: Path | None = None
    device: str = "auto"
    limits: Limits = field(default_factory=Limits.from_environment)


def create_app(settings: Settings | None = None) -> Flask:
    """A WSGI application with ``/v1/cut`` and the health endpoints."""
    settings = settings or Settings()
    app = Flask("server", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.limits.max_bytes + FORM_OVERHEAD
    app.config["MAX_FORM_MEMORY_SIZE"] = FORM_OVERHEAD
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.register_error_handler(ServerError, _server_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected_error)

    @app.get("/v2/health/live")
    def live() -> Response:
        return jsonify({"status": "live", "version": _version()})

    @app.get("/v2/health/ready")
    def ready() -> Response:
        """200 once the default model is loaded; loading it fails with the model's own error."""
        registry.load(settings.model, weights=settings.weights, device=settings.device)
        return jsonify({"status": "ready", "model": settings.model})

    @app.post("/v1/cut")
    def v1_cut() -> Response:
        """Fields: image (file), tap "x,y", model, crop, output=cutout|mask -> PNG with the figures in headers."""
        image = decode(uploaded_image("image"), settings.limits)
        output = request.form.get("output", "cutout")
        if output not in {"cutout", "mask"}:
            raise BadOption(f"output is 'cutout' or 'mask', not '{output[:40]}'.")
        cutout = _cut(image, settings, parse_tap(request.form.get("tap")))
        crop = parse_flag("crop")
        if output == "mask":
            pixels = cutout.rgba[..., 3] if crop else cutout.mask()
        else:
            pixels = cutout.rgba if crop else cutout.full()
        response = Response(encode_png(pixels), mimetype="image/png")
        response.headers["X-Cutout"] = app.json.dumps(cutout.summary())
        response.headers["Server-Timing"] = ", ".join(f"{name};dur={ms:.1f}" for name, ms in cutout.timings_ms.items())
        return response

    return app


def uploaded_image(name: str) -> bytes:
    """The bytes of the multipart file field; raises ``BadInput`` with the fields that were there instead."""
    upload = request.files.get(name)
    if upload is None:
        there = ", ".join(sorted([*request.files, *request.form])[:8])[:80] or "none"
        raise BadInput(
            f"The file field '{name}' is missing (fields found: {there}): send the picture there.", code="missing_field"
        )
    return upload.read()


def parse_tap(text: str | None) -> Tap | None:
    """ "x,y" in pixels of the upright image -> numbers. Raises ``BadOption``."""
    if not text:
        return None
    try:
        x, y = (float(part) for part in text.split(","))
        if not (abs(x) < 1e6 and abs(y) < 1e6):
            raise ValueError(text)
    except ValueError:
        raise BadOption(f"tap is 'x,y' in pixels of the upright image, not '{text[:40]}'.", code="bad_tap") from None
    return x, y


def parse_flag(name: str) -> bool:
    """A form field as a yes or no. Raises ``BadOption``."""
    text = request.form.get(name, "").lower()
    if text in {"", "0", "false", "no", "off"}:
        return False
    if text in {"1", "true", "yes", "on"}:
        return True
    raise BadOption(f"{name} is true or false, not '{text[:40]}'.")


def _cut(image: RGB, settings: Settings, tap: Tap | None) -> Cutout:
    name = request.form.get("model") or settings.model
    weights = settings.weights if name == settings.model else None
    return cut(image, registry.load(name, weights=weights, device=settings.device), tap=tap)


def _errors(status: int, title: str, code: str, detail: str) -> tuple[Response, int]:
    return jsonify({"errors": [{"title": title, "code": code, "detail": detail}]}), status


def _server_error(error: ServerError) -> tuple[Response, int]:
    return _errors(error.status, error.title, error.code, error.message)


def _http_error(error: HTTPException) -> tuple[Response, int]:
    status = error.code or 500
    details = {
        404: "There is nothing at this address: POST a picture to /v1/cut.",
        405: "This address does not take that method: POST a picture to /v1/cut.",
        413: "The request is too large: send a smaller picture.",
    }
    code = (error.name or "error").lower().replace(" ", "_")
    return _errors(
        status, error.name or "Error", code, details.get(status, error.description or "The request cannot be read.")
    )


def _unexpected_error(error: Exception) -> tuple[Response, int]:
    logging.getLogger("server").exception("unexpected error")
    return _errors(
        500, "The server failed", "internal_error", "Something unexpected happened; the server's log says what."
    )


def _version() -> str:
    try:
        return version("ar-copy-paste")
    except PackageNotFoundError:
        return "unknown"
