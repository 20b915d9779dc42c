"""What is seen from outside: request ids, one structured log line a request, ``Server-Timing`` (W3C), Prometheus metrics."""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from typing import Any

from flask import Flask, Response, g, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from server.cutout import Stopwatch

GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
access_log = logging.getLogger("server.access")


class Metrics:
    """The HTTP face's figures; the engine registers its own (queue, batches) in the same registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.requests = Counter(
            "arcp_http_requests_total", "Answers by address and status.", ["endpoint", "status"], registry=registry
        )
        self.errors = Counter("arcp_errors_total", "Errors by code.", ["code"], registry=registry)
        self.seconds = Histogram(
            "arcp_http_request_seconds", "Time in the server.", ["endpoint"], buckets=SECONDS, registry=registry
        )
        self.stages = Histogram(
            "arcp_stage_seconds", "Time by stage of a cut.", ["stage"], buckets=SECONDS, registry=registry
        )
        self.in_flight = Gauge("arcp_http_in_flight", "Requests that are being answered.", registry=registry)


def clock() -> Stopwatch:
    """The stages of the current request."""
    if "clock" not in g:
        g.clock = Stopwatch()
    return g.clock


def request_id() -> str:
    """The client's ``X-Request-Id`` where it is a plain one, else a random one; the same throughout a request."""
    if "request_id" not in g:
        given = request.headers.get("X-Request-Id", "")
        g.request_id = given if GIVEN_ID.fullmatch(given) else secrets.token_hex(8)
    return str(g.request_id)


def observe(app: Flask, registry: CollectorRegistry) -> None:
    """Measure every request of ``app`` and answer ``GET /metrics``."""
    metrics = Metrics(registry)

    @app.before_request
    def begin() -> None:
        g.began = time.perf_counter()
        metrics.in_flight.inc()

    @app.after_request
    def end(response: Response) -> Response:
        endpoint = request.endpoint or "unknown"
        seconds = time.perf_counter() - g.began if "began" in g else 0.0
        stages = {**clock().timings_ms, "total": seconds * 1000}
        response.headers["X-Request-Id"] = request_id()
        response.headers["Server-Timing"] = ", ".join(f"{name};dur={ms:.1f}" for name, ms in stages.items())
        metrics.requests.labels(endpoint, response.status_code).inc()
        metrics.seconds.labels(endpoint).observe(seconds)
        for name, ms in clock().timings_ms.items():
            metrics.stages.labels(name).observe(ms / 1000)
        if response.status_code >= 400:
            metrics.errors.labels(str(g.get("error_code", response.status_code))).inc()
        access_log.info(
            "%s %s %d",
            request.method,
            request.path,
            response.status_code,
            extra={
                "fields": {
                    "request_id": request_id(),
                    "method": request.method,
                    "path": request.path,
                    "status": response.status_code,
                    "error": g.get("error_code"),
                    "key": g.get("key_id"),
                    "bytes_in": request.content_length,
                    "stages_ms": {name: round(ms, 1) for name, ms in stages.items()},
                }
            },
        )
        return response

    @app.teardown_request
    def leave(error: BaseException | None) -> None:
        if "began" in g:
            metrics.in_flight.dec()

    @app.get("/metrics")
    def prometheus() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, the record's ``fields``, and a traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({name: value for name, value in getattr(record, "fields", {}).items() if value is not None})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_to_stderr(form: str) -> None:
    """``form``: json (one object a line) or text."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonFormatter() if form == "json" else logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    )
    root = logging.getLogger("server")
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    root.propagate = False
