"""Serving the page: static files under a strict content security policy; probes that want text get basnet-http's greeting."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, abort, request, send_file

FOLDER = Path(__file__).parent
FILES = {"page.js": "text/javascript", "page.css": "text/css"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


def blueprint() -> Blueprint:
    page = Blueprint("page", __name__)

    @page.get("/")
    def index() -> Response:
        """The page for browsers; a plain text for basnet-http's clients, which only look whether anybody is there."""
        if request.accept_mimetypes.best_match(["text/plain", "text/html"]) != "text/html":
            response = Response("Hello BASNet!", mimetype="text/plain")
        else:
            response = _file("index.html", "text/html")
        response.headers["Vary"] = "Accept"
        return response

    @page.get("/web/<name>")
    def file(name: str) -> Response:
        if name not in FILES:
            abort(404)
        return _file(name, FILES[name])

    return page


def _file(name: str, mimetype: str) -> Response:
    response = send_file(FOLDER / name, mimetype=mimetype, etag=True, conditional=True, max_age=0)
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
