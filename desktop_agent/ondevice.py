"""What the page needs to cut on the phone itself: the pinned runtime from the user's data folder, and the shipped model."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, g, jsonify, send_from_directory

from desktop_agent.access import Access, authenticated
from desktop_agent.errors import NotFound
from desktop_agent.home import home

WORKER = "cutter.js"
WORKER_CSP = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'"
"""WebAssembly is compiled in the worker alone: a worker's policy is that of its own response, the page's stays without."""
FOLDER = "web-assets"
SETUP = "python -m mobile_client_stub web-assets"


def create_ondevice(access: Access, page: Path) -> Blueprint:
    """``GET /ondevice`` (what is there, or why not) and the files below it. ``page`` is the folder of the page's own files."""
    ondevice = Blueprint("ondevice", __name__)
    pins = json.loads((page / "ondevice.json").read_text())
    folder = home() / FOLDER / f"{pins['package']}-{pins['version']}"

    @ondevice.before_request
    def authenticate() -> None:
        g.device = authenticated(access)

    @ondevice.get("/ondevice")
    def state() -> Response:
        return jsonify(_state(folder, pins))

    @ondevice.get("/ondevice/<name>")
    def file(name: str) -> Response:
        if name == _model().name:
            return send_from_directory(_model().parent, name, mimetype="application/octet-stream")
        if name not in pins["files"] or not (folder / name).is_file():
            raise NotFound(f"This file is not here: run '{SETUP}' on the computer.")
        kind = "application/wasm" if name.endswith(".wasm") else "text/javascript"
        return send_from_directory(folder, name, mimetype=kind)

    return ondevice


def _state(folder: Path, pins: dict[str, Any]) -> dict[str, Any]:
    """{"available", "reason", "bytes", "files": {"runtime", "wasm", "model"}: {"url", "sha256"}}."""
    model = _model()
    missing = [name for name, wanted in pins["files"].items() if _digest(folder / name) != wanted]
    if missing or _digest(model) is None:
        reason = f"run '{SETUP}' on the computer to have it." if missing else "the model is not installed."
        return {"available": False, "reason": reason}
    runtime, wasm = pins["files"]
    files = {"runtime": folder / runtime, "wasm": folder / wasm, "model": model}
    return {
        "available": True,
        "reason": None,
        "bytes": sum(path.stat().st_size for path in files.values()),
        "model": "lite",
        "files": {use: {"url": f"/ondevice/{path.name}", "sha256": _digest(path)} for use, path in files.items()},
    }


def _model() -> Path:
    from server.segmenters.lite import WEIGHTS

    return WEIGHTS


def _digest(path: Path) -> str | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return _hashed(path, stat.st_mtime_ns, stat.st_size)


@cache
def _hashed(path: Path, changed: int, size: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
