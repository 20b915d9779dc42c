"""The agent's HTTP face: a Flask application factory, one origin for the phone. Contracts and units: the project's design."""

from __future__ import annotations

import json
import logging
import mimetypes
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, g, jsonify, request, send_file, send_from_directory
from werkzeug.exceptions import HTTPException

from desktop_agent.access import Access, authenticated, check_loopback, create_pairing, guard
from desktop_agent.agent import Agent, Aim, PasteResult, decode_view
from desktop_agent.clips import Clip
from desktop_agent.devices import LOCAL_DEVICE
from desktop_agent.errors import AgentError, BadRequest, NotFound, ScreenUnavailable, UnreadableView
from desktop_agent.geometry import Placement, Point
from desktop_agent.locate import Refusal
from desktop_agent.ondevice import WORKER, WORKER_CSP, create_ondevice
from desktop_agent.screen import PictureScreen

MAX_BODY = 64 << 20
FORM_MEMORY = 512 << 10
"""Bytes of the fields that are no files; it bounds the parser's buffer too, which reads files by 64 KiB."""
PASTE_STATUS = {"pasted": 200, "retry_after_markers": 409, "refused": 422, "failed": 502}
PAGE_FOLDER = Path(__file__).resolve().parent.parent / "mobile_client_stub" / "web"
CSP = (
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


def create_app(agent: Agent, access: Access, *, name: str = "computer", board: Blueprint | None = None) -> Flask:
    """A WSGI application: the page at ``/``, ``/pair``, ``/cut``, ``/aim``, ``/paste``, ``/clips``, ``/status``, ``/board``."""
    app = Flask("desktop_agent", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.config["MAX_FORM_MEMORY_SIZE"] = FORM_MEMORY
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.register_error_handler(AgentError, _agent_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected_error)
    guard(app, access)
    app.after_request(_harden)
    _add_page(app, access)
    app.register_blueprint(create_pairing(access, agent.clips, name))
    app.register_blueprint(create_ondevice(access, PAGE_FOLDER))
    _add_story(app, agent, access, name)
    if board is not None:
        board.before_request(lambda: check_loopback())
        app.register_blueprint(board)
    return app


def _add_page(app: Flask, access: Access) -> None:
    for suffix, kind in (("js", "text/javascript"), ("webmanifest", "application/manifest+json")):
        mimetypes.add_type(kind, f".{suffix}")  # some systems' own tables say text/plain

    @app.get("/")
    def page() -> Response:
        response = send_from_directory(PAGE_FOLDER, "index.html")
        if access.named_origin:
            response.headers["Content-Security-Policy"] = f"{CSP}; connect-src 'self' {access.named_origin}"
        return response

    @app.get("/web/<path:path>")
    def page_file(path: str) -> Response:
        response = send_from_directory(PAGE_FOLDER, path)
        if path == WORKER:
            response.headers["Content-Security-Policy"] = WORKER_CSP
        return response

    @app.get("/sw.js")
    def service_worker() -> Response:
        return send_from_directory(PAGE_FOLDER, "sw.js")

    @app.get("/ca.crt")
    def authority() -> Response:
        """The certificate of this installation's authority, to be installed on the phone; good for this computer only."""
        if access.authority is None:
            raise NotFound("This computer uses a certificate of your own: there is nothing to install.")
        return send_file(access.authority, mimetype="application/x-x509-ca-cert")


def _add_story(app: Flask, agent: Agent, access: Access, name: str) -> None:
    """The routes that need a paired device."""
    story = Blueprint("story", __name__)

    @story.before_request
    def authenticate() -> None:
        g.device = authenticated(access)

    @story.post("/cut")
    def cut() -> Response:
        photo = _file("image")
        fields = request.form
        clip, timings = agent.copy(
            g.device,
            photo,
            tap=_tap(fields.get("tap")),
            model=fields.get("model") or None,
            mode=fields.get("mode") or "object",
        )
        return jsonify(
            {
                "clip": clip.id,
                "box": list(clip.box),
                "image_size": list(clip.photo_size),
                "score": clip.score,
                "model": clip.model,
                "server": clip.server,
                "timings_ms": timings,
            }
        )

    @story.post("/aim")
    def aim() -> Response:
        screenshots = agent.look()  # before the body is read: the screen as it is when the person points
        try:
            view = decode_view(_file("view"))
        except UnreadableView as error:
            return jsonify(Aim.refused(error).public())
        placement, clip = _placement(request.form.get("placement")), _known_clip(agent, request.form.get("clip"))
        return jsonify(agent.aim(g.device, view, screenshots, placement, clip).public())

    @story.post("/paste")
    def paste() -> tuple[Response, int]:
        result = _paste(agent)
        return jsonify(result.public()), PASTE_STATUS[result.status]

    @story.get("/clips")
    def clips() -> Response:
        return jsonify({"clips": [clip.public() for clip in agent.clips.all(g.device)]})

    @story.post("/clips")
    def add_clip() -> Response:
        """A cut-out that was made elsewhere (on the phone, by another program): its pixels are encoded anew."""
        return jsonify(_keep_cutout(agent, _file("image"), request.form.get("image_size")).public())

    @story.get("/clips/<clip_id>.png")
    def clip_png(clip_id: str) -> Response:
        response = Response(agent.clips.png(agent.clips.get(g.device, clip_id)), mimetype="image/png")
        response.headers["Cache-Control"] = "private, max-age=31536000, immutable"
        return response

    @story.delete("/clips/<clip_id>")
    def delete_clip(clip_id: str) -> Response:
        agent.clips.delete(agent.clips.get(g.device, clip_id))
        return jsonify({"deleted": clip_id})

    @story.get("/status")
    def status() -> Response:
        return jsonify(
            {
                "name": name,
                "version": installed_version(),
                "server": agent.segmentation.name,
                "notice": getattr(agent.segmentation, "notice", None),
                "monitors": [
                    {
                        "index": m.index,
                        "left": m.rect.left,
                        "top": m.rect.top,
                        "width": m.rect.width,
                        "height": m.rect.height,
                    }
                    for m in agent.screen.monitors()
                ],
                "devices": len(access.devices.all()),
                "pairing": access.pairing.is_open,
                "asking": agent.oversight is not None and agent.oversight.waits(g.device),
                "markers": agent.on_screen.can_mark,
            }
        )

    @story.get("/screen.png")
    def screen_png() -> Response:
        """What a virtual screen shows, for this computer's own commands; a real screen is never handed out."""
        check_loopback()
        if g.device != LOCAL_DEVICE or not isinstance(agent.screen, PictureScreen):
            raise NotFound("Only a virtual screen can be looked at, and only from the computer itself.")
        from server.images import encode_png

        return Response(encode_png(agent.screen.shown), mimetype="image/png")

    app.register_blueprint(story)


def _paste(agent: Agent) -> PasteResult:
    """The paste request that is being served. Raises ``AgentError`` only where the request itself makes no sense."""
    try:
        capture = agent.capture()  # before the body is read: the screen as it is when the person points
    except ScreenUnavailable as error:
        return PasteResult("failed", error.message, error.code)
    data = _file("view")
    fields = request.form
    clip = agent.clips.get(g.device, _required(fields.get("clip"), "clip"))
    placement = _placement(fields.get("placement"))
    key = fields.get("key") or None
    if key is not None and len(key) > 200:
        raise BadRequest("key is at most 200 characters long.")
    try:
        view = decode_view(data)
    except UnreadableView as error:
        return PasteResult("refused", error.message, Refusal.UNREADABLE_IMAGE.value)
    return agent.paste(clip, view, capture, placement, key=key, markers=fields.get("markers") == "1")


def _known_clip(agent: Agent, clip_id: str | None) -> Clip | None:
    """An aim needs no clip: one that is gone has no preview."""
    try:
        return agent.clips.get(g.device, clip_id) if clip_id else None
    except NotFound:
        return None


def _keep_cutout(agent: Agent, data: bytes, photo_size: str | None) -> Clip:
    from server.errors import BadInput
    from server.images import decode_rgba, encode_png

    try:
        rgba = decode_rgba(data)
    except BadInput as error:
        raise AgentError(error.message, code=error.code, status=error.status) from error
    height, width = rgba.shape[:2]
    size = (width, height)
    if photo_size:
        try:
            photo_width, photo_height = (int(part) for part in photo_size.split(","))
        except ValueError:
            raise BadRequest("image_size is 'width,height' of the photo in pixels.") from None
        if not (width <= photo_width <= 100_000 and height <= photo_height <= 100_000):
            raise BadRequest("image_size is at least as large as the cut-out.")
        size = (photo_width, photo_height)
    return agent.clips.add(g.device, encode_png(rgba), size=(width, height), photo_size=size, box=(0, 0, width, height))


def _harden(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", CSP)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def _file(name: str) -> bytes:
    upload = request.files.get(name)
    if upload is None:
        there = ", ".join(sorted([*request.files, *request.form])[:8])[:80] or "none"
        raise BadRequest(
            f"The file field '{name}' is missing (fields found: {there}): send the picture there.", code="missing_field"
        )
    return upload.read()


def _required(value: str | None, name: str) -> str:
    if not value:
        raise BadRequest(f"The field '{name}' is missing.", code="missing_field")
    return value


def _tap(text: str | None) -> tuple[float, float] | None:
    if not text:
        return None
    try:
        x, y = (float(part) for part in text.split(","))
        if not (abs(x) < 1e6 and abs(y) < 1e6):
            raise ValueError(text)
    except ValueError:
        raise BadRequest(f"tap is 'x,y' in pixels of the upright photo, not '{text[:40]}'.", code="bad_tap") from None
    return x, y


def _placement(text: str | None) -> Placement | None:
    """JSON {"x","y","scale","rotation"} in view pixels, pixel centres at integers."""
    if not text:
        return None
    try:
        fields: dict[str, Any] = json.loads(text)
        center = Point.from_external(float(fields["x"]), float(fields["y"]))
        placement = Placement(center, float(fields.get("scale", 1.0)), float(fields.get("rotation", 0.0)))
        if max(abs(center.x), abs(center.y)) > 1e5 or not 1e-3 <= placement.scale <= 1e3:
            raise ValueError(text)
    except (ValueError, TypeError, KeyError, AttributeError):
        message = 'placement is JSON {"x","y","scale","rotation"} in pixels of the view.'
        raise BadRequest(message, code="bad_placement") from None
    return placement


def _errors(status: int, title: str, code: str, detail: str) -> tuple[Response, int]:
    return jsonify({"errors": [{"title": title, "code": code, "detail": detail}]}), status


def _agent_error(error: AgentError) -> tuple[Response, int]:
    return _errors(error.status, error.title, error.code, error.message)


def _http_error(error: HTTPException) -> tuple[Response, int]:
    code = (error.name or "error").lower().replace(" ", "_")
    detail = "The picture is too large: send a smaller one." if error.code == 413 else str(error.description or "")
    return _errors(error.code or 500, error.name or "Error", code, detail)


def _unexpected_error(error: Exception) -> tuple[Response, int]:
    logging.getLogger("desktop_agent").exception("unexpected error")
    return _errors(
        500, "The agent failed", "internal_error", "Something unexpected happened; the agent's log says what."
    )


def installed_version() -> str:
    try:
        return version("ar-copy-paste")
    except PackageNotFoundError:
        return "unknown"
