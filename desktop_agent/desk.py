"""This computer's own window: the code to scan, the paired devices, the segmentation servers that were found.

Only for the person at this computer: loopback, and either the token of the 0600 file (command lines) or a ticket that is good
once and is handed to the browser in a fragment (the window).
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from flask import Blueprint, Response, jsonify, request, send_from_directory

from desktop_agent.access import Access, admit, check_loopback, is_local, shown_token, small_json
from desktop_agent.clips import ClipStore
from desktop_agent.devices import LOCAL_DEVICE
from desktop_agent.errors import BadRequest, NotFound, Unauthorized
from desktop_agent.geometry import Placement, Point
from desktop_agent.oversight import Oversight
from desktop_agent.pairing import Inviter
from desktop_agent.paste.driver import Landing

WEB = Path(__file__).parent / "desk_web"
COOKIE = "arcp-desk"
TICKET_SECONDS = 60.0


class Servers(Protocol):
    """The segmentation servers that are offered."""

    def public(self) -> dict[str, Any]: ...

    def confirm(self, server_id: str) -> None: ...

    def forget(self) -> None: ...


class Tickets:
    """One-use tickets for the window, and the sessions that they were exchanged for. Both die with the agent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tickets: dict[str, float] = {}
        self._sessions: set[str] = set()

    def issue(self) -> str:
        ticket = secrets.token_urlsafe(24)
        with self._lock:
            self._tickets[ticket] = time.monotonic() + TICKET_SECONDS
        return ticket

    def exchange(self, ticket: str) -> str:
        """A session for a ticket. Raises ``Unauthorized``."""
        with self._lock:
            if self._tickets.pop(ticket, 0.0) < time.monotonic():
                raise Unauthorized(
                    "This window's ticket was used or is too old: run 'python -m desktop_agent pair --window'.",
                    code="ticket_used",
                )
            session = secrets.token_urlsafe(32)
            self._sessions.add(session)
            return session

    def knows(self, session: str) -> bool:
        with self._lock:
            return session in self._sessions


def create_desk(
    access: Access,
    inviter: Inviter,
    clips: ClipStore,
    tickets: Tickets,
    name: str,
    servers: Servers | None = None,
    oversight: Oversight | None = None,
    put: Callable[[str, str, Placement], Landing] | None = None,
) -> Blueprint:
    """``/desk`` and its files for everyone on this computer, the rest for the person who started the agent.

    ``put`` is ``Agent.put``: without it, ``/desk/put`` is not there.
    """
    desk = Blueprint("desk", __name__)

    @desk.before_request
    def only_this_computer() -> None:
        check_loopback()
        open_to_all = request.method == "GET" and request.endpoint in {"desk.window", "desk.file"}
        if open_to_all or request.endpoint == "desk.enter":
            return
        if not (is_local(access, shown_token()) or tickets.knows(request.cookies.get(COOKIE, ""))):
            raise Unauthorized(
                "This is for the person who started the agent: run 'python -m desktop_agent pair --window'."
            )
        admit()

    @desk.get("/desk")
    def window() -> Response:
        return send_from_directory(WEB, "desk.html")

    @desk.get("/desk/web/<path:path>")
    def file(path: str) -> Response:
        return send_from_directory(WEB, path)

    @desk.post("/desk/enter")
    def enter() -> Response:
        session = tickets.exchange(_text(small_json(), "ticket"))
        response = jsonify({"entered": True})
        response.set_cookie(COOKIE, session, httponly=True, samesite="Strict", path="/desk")
        return response

    @desk.get("/desk/state")
    def state() -> Response:
        invitation = inviter.current()
        return jsonify(
            {
                "name": name,
                "invitation": None
                if invitation is None
                else {
                    "url": invitation.url,
                    "code": invitation.code,
                    "seconds": round(invitation.seconds),
                    "svg": invitation.svg(),
                },
                "devices": [{"id": d.id, "name": d.name, "paired": round(d.paired)} for d in access.devices.all()],
                "last_code": access.last_code,
                "servers": servers.public() if servers else None,
                "pastes": oversight.public() if oversight else None,
            }
        )

    @desk.post("/desk/ticket")
    def ticket() -> Response:
        return jsonify({"ticket": tickets.issue()})

    @desk.post("/desk/invite")
    def invite() -> Response:
        invitation = inviter.invite()
        return jsonify({"url": invitation.url, "code": invitation.code, "seconds": round(invitation.seconds)})

    @desk.post("/desk/revoke")
    def revoke() -> Response:
        device = access.devices.revoke(_text(small_json(), "device"))
        clips.forget(device.id)
        return jsonify({"device": device.id})

    @desk.post("/desk/ask")
    def ask() -> Response:
        """{"first": true} asks before each paste from now on."""
        watch, wanted = watching(), small_json().get("first")
        if not isinstance(wanted, bool):
            raise BadRequest('Send {"first": true} or {"first": false}.')
        watch.asks = wanted
        return jsonify({"first": watch.asks})

    @desk.post("/desk/answer")
    def answer() -> Response:
        """{"question": ID, "yes": true} lets a paste happen."""
        body = small_json()
        watching().answer(_text(body, "question"), body.get("yes") is True)
        return jsonify({"answered": body["question"]})

    @desk.get("/desk/question/<question_id>.png")
    def asked_for(question_id: str) -> Response:
        """The cut-out that an open question is about."""
        question = watching().question(question_id)
        if question is None:
            raise NotFound("This question has been answered.")
        return Response(clips.png(clips.get(question.device, question.clip)), mimetype="image/png")

    def watching() -> Oversight:
        if oversight is None:
            raise NotFound("This agent's pastes are not watched.")
        return oversight

    if put is not None:

        @desk.post("/desk/put")
        def put_clip() -> Response:
            """{"clip", "x", "y", "scale", "rotation"}: a clip of this computer's own, at a pixel of the virtual desktop."""
            fields = small_json()
            return jsonify(asdict(put(LOCAL_DEVICE, _text(fields, "clip"), _placement(fields))))

    @desk.post("/desk/server")
    def server() -> Response:
        """{"confirm": ID} uses a found server from now on; {"confirm": null} goes back to this computer."""
        if servers is None:
            raise BadRequest("The agent was started with --server: there is nothing to choose.")
        wanted = small_json().get("confirm")
        if isinstance(wanted, str):
            servers.confirm(wanted)
        else:
            servers.forget()
        return jsonify(servers.public())

    return desk


def _placement(fields: dict[str, Any]) -> Placement:
    try:
        return Placement(Point.from_external(fields["x"], fields["y"]), fields["scale"], fields["rotation"])
    except (KeyError, TypeError, ValueError):
        raise BadRequest("x, y, scale and rotation are numbers, scale above zero.", code="bad_placement") from None


def _text(fields: dict[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise BadRequest(f"The field '{name}' is missing.", code="missing_field")
    return value
