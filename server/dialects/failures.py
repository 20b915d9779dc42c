"""Failures as answers: one conversion to ``ServerError`` for everything that goes wrong, and each dialect's own JSON form."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Flask, Response, g, jsonify
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from server.errors import ServerError
from server.observe import request_id

Render = Callable[[ServerError], tuple[dict[str, Any], int]]

DETAILS = {
    400: "The request cannot be read: send a form with the fields that /openapi.json names.",
    404: "There is nothing at this address: POST a picture to /v1/cut; /openapi.json lists every address.",
    405: "This address does not take that method: /openapi.json says which one it takes.",
    413: "The request is too large: send a smaller picture.",
    415: "This kind of body is not read here: send a form.",
    429: "Too many pictures in a short time: wait as long as Retry-After says.",
}


def errors_list(error: ServerError) -> tuple[dict[str, Any], int]:
    """Our own form, which is remove.bg's too."""
    return {"errors": [{"title": error.title, "code": error.code, "detail": error.message}]}, error.status


def answer_failures(target: Flask | Blueprint, render: Render = errors_list) -> None:
    """Every exception inside ``target`` becomes ``render``'s JSON with a true status."""

    def handle(error: Exception) -> Response:
        failure = _as_server_error(error)
        body, status = render(failure)
        g.error_code = failure.code
        answer = jsonify(body)
        answer.status_code = status
        if failure.retry_after is not None:
            answer.headers["Retry-After"] = str(failure.retry_after)
        if status == 401:
            answer.headers["WWW-Authenticate"] = "Bearer"
        if isinstance(error, MethodNotAllowed) and error.valid_methods:
            answer.headers["Allow"] = ", ".join(sorted(error.valid_methods))
        return answer

    for kind in (ServerError, HTTPException, Exception):
        target.register_error_handler(kind, handle)


def _as_server_error(error: Exception) -> ServerError:
    if isinstance(error, ServerError):
        return error
    if not isinstance(error, HTTPException):
        logging.getLogger("server").error(
            "unexpected error", exc_info=error, extra={"fields": {"request_id": request_id()}}
        )
        failure = ServerError("Something unexpected happened; the server's log says what, under this X-Request-Id.")
        failure.title, failure.code = "The server failed", "internal_error"
        return failure
    status = error.code or 500
    failure = ServerError(DETAILS.get(status, error.description or "The request cannot be read."))
    failure.status = status
    failure.title = error.name or "Error"
    failure.code = "rate_limit_exceeded" if status == 429 else failure.title.lower().replace(" ", "_")
    return failure
