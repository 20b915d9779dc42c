"""The HTTP face of the server: a Flask application factory that puts the dialects, the page, the guard and the meters together."""

from __future__ import annotations

from flask import Flask, Response, jsonify
from prometheus_client import CollectorRegistry

from server.about import installed_version
from server.access import guard
from server.dialects import basnet, objectcut, ours, rembg, removebg
from server.dialects.failures import answer_failures
from server.dialects.fields import FORM_OVERHEAD
from server.observe import observe
from server.openapi import document
from server.results import ResultStore
from server.settings import Settings
from server.web import page

__all__ = ["CUTTING", "Settings", "create_app"]

CUTTING = frozenset(
    {
        "ours.cut",
        "removebg.remove",
        "removebg.account",
        "rembg.by_url",
        "rembg.by_file",
        "objectcut.remove",
        "basnet.mask",
    }
)
"""Endpoints that need a key and count against the rate limit."""


def create_app(settings: Settings | None = None, results: ResultStore | None = None) -> Flask:
    """A WSGI application with every dialect, the page at ``/``, health, metrics and the API's description."""
    settings = settings or Settings()
    results = results or ResultStore(settings.results, settings.results_seconds)
    app = Flask("server", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.limits.max_bytes + FORM_OVERHEAD
    app.config["MAX_FORM_MEMORY_SIZE"] = FORM_OVERHEAD
    app.json.sort_keys = False  # type: ignore[attr-defined]
    answer_failures(app)
    observe(app, settings.metrics or CollectorRegistry())
    guard(app, settings, CUTTING)
    app.register_blueprint(page.blueprint())
    app.register_blueprint(ours.blueprint(settings))
    app.register_blueprint(removebg.blueprint(settings))
    app.register_blueprint(rembg.blueprint(settings))
    app.register_blueprint(objectcut.blueprint(settings, results))
    app.register_blueprint(basnet.blueprint(settings))

    @app.get("/v2/health/live")
    def live() -> Response:
        return jsonify({"status": "live", "version": installed_version()})

    @app.get("/v2/health/ready")
    def ready() -> Response:
        """200 once the default model is loaded; loading it fails with the model's own error."""
        settings.check_ready()
        return jsonify({"status": "ready", "model": settings.model})

    @app.get("/openapi.json")
    def openapi() -> Response:
        return jsonify(document(installed_version()))

    @app.after_request
    def harmless(response: Response) -> Response:
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return app
