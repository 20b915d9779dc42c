"""The 2020 prototype's React Native app: plain http, an address that is compiled into it, three routes, always the same answers.

The app sends its photo squeezed to 256 x 512 and cropped to the middle 256 x 256, shows the answered picture across the whole width
of the camera's picture, and sends the view as 350 x 700. Its only credential is its address, so the listener is off unless the
person at the computer names that address. This is the one face that answers 200 to a paste that did not happen: the app knows no
other sentence.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import re
from collections.abc import Iterator

import numpy as np
from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from desktop_agent.access import Access, admit, guard
from desktop_agent.agent import Agent, PasteResult, decode_view
from desktop_agent.clips import Clip
from desktop_agent.errors import AgentError
from desktop_agent.geometry import Placement, Point
from desktop_agent.listener import listening
from desktop_agent.screen import RGB

PORT = 8080
"""Compiled into the app, like the computer's address."""
MAX_BODY = 16 << 20
NOT_FOUND = "screen not found"
Answer = Response | tuple[Response, int]


@contextlib.contextmanager
def legacy_listening(agent: Agent, access: Access, client: str, port: int = PORT, *, lan: bool = True) -> Iterator[int]:
    """Serve the old app at one address of the network; yields the port.

    Raises ``AgentError`` for what is no address, one outside the computer without ``lan``, and a taken port.
    """
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        raise AgentError(
            f"--legacy-client is the phone's own address, such as 192.168.1.20, not '{client[:60]}': its Wi-Fi settings show it.",
            code="bad_option",
            status=400,
        ) from None
    if not lan and not address.is_loopback:
        raise AgentError(
            "--no-lan and --legacy-client exclude each other: leave one out.", code="bad_option", status=400
        )
    host = "127.0.0.1" if address.is_loopback else "0.0.0.0" if address.version == 4 else "::"
    with listening(create_legacy(agent, access, str(address)), host, port) as opened:
        yield opened


def create_legacy(agent: Agent, access: Access, client: str) -> Flask:
    """``GET /ping``, ``POST /cut`` and ``POST /paste`` for the requests that come from ``client``, and for no others."""
    app = Flask("desktop_agent.legacy", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    device = f"legacy-{re.sub('[^0-9a-z]', '-', client)}"

    @app.before_request
    def only_the_old_phone() -> None:
        if request.remote_addr != client:
            raise AgentError("This listener answers one phone only.", status=403)
        admit()

    guard(app, access)

    @app.get("/ping")
    def ping() -> Response:
        return Response("pong", mimetype="text/html")

    @app.post("/cut")
    def cut() -> Answer:
        """The photo with everything but the object transparent; without an object, all of it."""
        photo = _data()
        agent.clips.forget(device)  # a paste uses the last cut, and a cut that found nothing leaves none
        try:
            clip, _ = agent.copy(device, photo)
        except AgentError as error:
            if error.code != "no_object":
                raise
            height, width = decode_view(photo).shape[:2]
            return _png(np.zeros((height, width, 4), np.uint8))
        return _png(_whole(agent, clip))

    @app.post("/paste")
    def paste() -> Answer:
        clips = agent.clips.all(device)
        capture = agent.capture() if clips else None  # before the body is read: the screen as the person points at it
        view = decode_view(_data())
        if capture is None:
            return jsonify({"status": NOT_FOUND})
        result = agent.paste(clips[0], view, capture, as_it_floats(view, clips[0]))
        _tell(result)
        return jsonify({"status": "ok" if result.status == "pasted" else NOT_FOUND})

    app.register_error_handler(AgentError, lambda error: _failed(error.message, error.status))
    app.register_error_handler(HTTPException, lambda error: _failed(error.description or error.name, error.code or 500))
    return app


def as_it_floats(view: RGB, clip: Clip) -> Placement:
    """Where the app shows the object: its photo is as wide as the view and lies in the view's middle."""
    height, width = view.shape[:2]
    scale = width / clip.photo_size[0]
    left, top, right, bottom = clip.box
    dx, dy = (left + right - clip.photo_size[0]) / 2, (top + bottom - clip.photo_size[1]) / 2
    return Placement(Point(width / 2 + scale * dx, height / 2 + scale * dy), scale)


def _data() -> bytes:
    """The picture of a request. Raises ``AgentError`` with the sentences that the prototype had."""
    upload = request.files.get("data")
    if upload is None:
        raise AgentError("missing file param `data`", status=400)
    data = upload.read()
    if not data:
        raise AgentError("empty image", status=400)
    return data


def _whole(agent: Agent, clip: Clip) -> np.ndarray:
    """The clip on a transparent picture of its photo's size, uint8 HxWx4."""
    from server.images import decode_rgba

    width, height = clip.photo_size
    left, top, right, bottom = clip.box
    canvas = np.zeros((height, width, 4), np.uint8)
    canvas[top:bottom, left:right] = decode_rgba(agent.clips.png(clip))
    return canvas


def _png(rgba: np.ndarray) -> Response:
    from server.images import encode_png

    return Response(encode_png(rgba), mimetype="image/png")


def _failed(message: str, status: int) -> Answer:
    return jsonify({"status": "error", "error": message}), status


def _tell(result: PasteResult) -> None:
    """The app shows no reason, so the computer's log does."""
    if result.status != "pasted":
        logging.getLogger("desktop_agent").warning("The old app's paste: %s", result.message)
