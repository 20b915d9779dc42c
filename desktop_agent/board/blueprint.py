"""The board's HTTP face: the page, its files, and the small API that the page speaks. Mount it on loopback only.

The app that mounts it checks the Host header; this blueprint refuses what another site's page asks for, be it a change or
a look.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, jsonify, request, send_file

from desktop_agent.board.items import Item
from desktop_agent.board.pages import View
from desktop_agent.board.store import LEVELS, BoardStore
from desktop_agent.errors import AgentError, BadRequest

POLL_S = 15.0
MAX_WAITING = 4
MAX_BODY = 64 * 1024
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def create_board(store: BoardStore, *, poll_s: float = POLL_S) -> Blueprint:
    """The blueprint ``board`` at ``/board``. A waiting request holds its thread for at most ``poll_s``, and at most four wait."""
    board = Blueprint("board", __name__, url_prefix="/board", static_folder="web", static_url_path="/web")
    waiting: set[object] = set()

    @board.before_request
    def refuse_other_sites() -> None:
        if not _same_origin(changes=request.method not in {"GET", "HEAD"}):
            raise AgentError(
                "Only the board's own page may do this. Open the board from the agent.", code="cross_origin", status=403
            )
        if (request.content_length or 0) > MAX_BODY:
            raise BadRequest("The request is too long.", code="too_large", status=413)

    @board.after_request
    def protect(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        return response

    @board.errorhandler(AgentError)
    def explain(error: AgentError) -> tuple[Response, int]:
        entry = {"title": error.title, "code": error.code, "detail": error.message}
        return jsonify({"errors": [entry]}), error.status

    @board.get("")
    def page() -> Response:
        response = board.send_static_file("index.html")
        response.headers["Cache-Control"] = "no-cache"
        return response

    @board.get("/images/<image>.png")
    def image(image: str) -> Response:
        return send_file(store.image_path(image), mimetype="image/png", max_age=31_536_000)

    @board.get("/api/changes")
    def changes() -> Response:
        """The board, as soon as it differs from revision ``since`` or the page is hailed; else after ``poll_s``."""
        page_id = _page_id(request.args)
        since = request.args.get("since", -1, type=int)
        store.pages.enter(page_id)
        me = object()
        with store.changed:
            if len(waiting) < MAX_WAITING:
                waiting.add(me)
                try:
                    store.changed.wait_for(lambda: _news(store, page_id, since), poll_s)
                finally:
                    waiting.discard(me)
            elif not _news(store, page_id, since):
                return _state(store, page_id, pause_ms=2000)
        return _state(store, page_id)

    @board.post("/api/painted")
    def painted() -> Response:
        body = _body()
        revision, hail = body.get("revision"), body.get("hail")
        if type(revision) is not int or not (hail is None or type(hail) is int):
            raise BadRequest("Send the revision and the hail as whole numbers.")
        store.pages.painted(_page_id(body), revision, hail, View.from_json(body.get("view")))
        return jsonify({})

    @board.post("/api/leave")
    def leave() -> Response:
        store.pages.leave(_page_id(_body()))
        return jsonify({})

    @board.patch("/api/items/<item_id>")
    def change(item_id: str) -> Response:
        body = _body()
        if not body or not body.keys() <= {"x", "y", "scale", "rotation"}:
            raise BadRequest("Send some of x, y, scale and rotation, and nothing else.")
        store.update(item_id, body)
        return _state(store)

    @board.delete("/api/items/<item_id>")
    def remove(item_id: str) -> Response:
        store.remove(item_id)
        return _state(store)

    @board.post("/api/items/<item_id>/duplicate")
    def duplicate(item_id: str) -> Response:
        return _state(store, added=store.duplicate(item_id))

    @board.post("/api/items/<item_id>/restack")
    def restack(item_id: str) -> Response:
        level = _body().get("to")
        if level not in LEVELS:
            raise BadRequest(f"Send to as one of {', '.join(LEVELS)}.")
        store.restack(item_id, level)
        return _state(store)

    @board.post("/api/undo")
    def undo() -> Response:
        store.undo()
        return _state(store)

    @board.post("/api/redo")
    def redo() -> Response:
        store.redo()
        return _state(store)

    return board


def _news(store: BoardStore, page_id: str, since: int) -> bool:
    code, hail = store.pages.status(page_id)
    return store.closed or code is None or hail is not None or store.snapshot().revision != since


def _state(store: BoardStore, page_id: str | None = None, *, pause_ms: int = 0, added: Item | None = None) -> Response:
    board = store.snapshot()
    state: dict[str, Any] = {
        "revision": board.revision,
        "items": [item.as_json() for item in board.items],
        "can_undo": board.can_undo,
        "can_redo": board.can_redo,
    }
    if page_id is not None:
        code, hail = store.pages.status(page_id)
        state |= {"code": code, "hail": hail, "pause_ms": pause_ms}
    if added is not None:
        state["added"] = added.id
    response = jsonify(state)
    response.headers["Cache-Control"] = "no-store"
    return response


def _same_origin(*, changes: bool) -> bool:
    """W3C Fetch Metadata where the browser sends it, else the Origin header (RFC 6454); a change needs one of the two."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if origin is not None:
        here = urlsplit(request.host_url)
        sent = urlsplit(origin)
        if (sent.scheme, sent.netloc) != (here.scheme, here.netloc):
            return False
    if site is not None:
        # "none" is a person who typed the address or opened a bookmark; nothing but looking comes of that.
        return site == "same-origin" or (site == "none" and not changes) or _opens_page(changes)
    return origin is not None or not changes


def _opens_page(changes: bool) -> bool:
    """A link from elsewhere may open the page itself in a tab of its own."""
    return not changes and request.path == "/board" and request.headers.get("Sec-Fetch-Mode") == "navigate"


def _body() -> dict[str, Any]:
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        raise BadRequest("Send a JSON object, as application/json.")
    return body


def _page_id(fields: Any) -> str:
    page_id = fields.get("page")
    if not isinstance(page_id, str) or not 8 <= len(page_id) <= 64 or not page_id.isalnum():
        raise BadRequest("Send page, the 8 to 64 letters and digits that the page chose for itself.")
    return page_id
