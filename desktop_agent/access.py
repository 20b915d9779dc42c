"""Who is answered: our own host names and pages only, paired devices, and this computer's own command lines."""

from __future__ import annotations

import hmac
import sys
from dataclasses import dataclass, field
from pathlib import Path

from flask import Blueprint, Flask, Response, jsonify, request

from desktop_agent.clips import ClipStore
from desktop_agent.devices import LOCAL_DEVICE, Device, DeviceStore, PairingWindow, clean_name, short_code
from desktop_agent.errors import AgentError, BadRequest, Unauthorized
from desktop_agent.listener import ADMIT

COOKIE = "arcp"
COOKIE_SECONDS = 400 * 86400
UNKNOWN_BODY = 8 << 10
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass
class Access:
    """Paired devices, the pairing window, the token of this computer's own command lines, and our host names.

    ``hosts`` and ``named_origin`` (https://host.local:port, None without a listener for phones) follow the network;
    ``authority`` is the certificate that a phone may install, ``last_code`` the short code of the last pairing.
    """

    devices: DeviceStore
    pairing: PairingWindow
    local_token: str
    hosts: frozenset[str] = field(default=LOOPBACK)
    named_origin: str | None = None
    authority: Path | None = None
    last_code: str | None = None


def guard(app: Flask, access: Access) -> None:
    """Against DNS rebinding and foreign pages: every request must name this computer, and no other page may send any."""

    @app.before_request
    def check_origin() -> None:
        if _host_name(request.host) not in {host.lower() for host in access.hosts}:
            raise AgentError("This address is not this computer's own.", code="foreign_host", status=403)
        origin = request.headers.get("Origin")
        if origin and origin != f"{request.scheme}://{request.host}":
            raise AgentError("Requests from other pages are not answered.", code="foreign_origin", status=403)
        if request.method not in {"GET", "HEAD"} and request.headers.get("Sec-Fetch-Site", "none") == "cross-site":
            raise AgentError("Requests from other pages are not answered.", code="foreign_origin", status=403)


def authenticated(access: Access) -> str:
    """The id of the device that sends this request. Raises ``Unauthorized`` before the body is read."""
    token = shown_token()
    if is_local(access, token):
        check_loopback()
        device_id = LOCAL_DEVICE
    else:
        device = access.devices.find(token) if token else None
        if device is None:
            raise Unauthorized("This device is not paired with this computer: scan the code that the computer shows.")
        device_id = device.id
    admit()
    return device_id


def is_local(access: Access, token: str) -> bool:
    return bool(token) and hmac.compare_digest(token.encode(), access.local_token.encode())


def admit() -> None:
    """From now on the listener grants the time and the bytes of a known device."""
    request.environ.get(ADMIT, lambda: None)()


def check_loopback() -> None:
    if request.remote_addr not in {"127.0.0.1", "::1"}:
        raise Unauthorized("This is only for the computer itself.", code="loopback_only")


def small_json() -> dict[str, object]:
    """The JSON object of a request whose sender is not known yet: 8 KiB at most. Raises ``BadRequest``."""
    request.max_content_length = UNKNOWN_BODY
    if (request.content_length or 0) > UNKNOWN_BODY:
        raise BadRequest("This request is too large.", code="too_large", status=413)
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        raise BadRequest("Send a JSON object.")
    return body


def create_pairing(access: Access, clips: ClipStore, name: str) -> Blueprint:
    """``GET /hello``, ``POST /pair`` and ``DELETE /pair``."""
    pairing = Blueprint("pairing", __name__)

    @pairing.get("/hello")
    def hello() -> Response:
        """What a page may know before it is paired; a paired one learns the computer's name."""
        device = access.devices.find(shown_token())
        answer: dict[str, object] = {"paired": device is not None, "pairing": access.pairing.is_open}
        if device is not None:
            answer |= {"name": name, "undo": "Command+Z" if sys.platform == "darwin" else "Ctrl+Z"}
        if request.is_secure:
            answer["local"] = access.named_origin
        return jsonify(answer)

    @pairing.post("/pair")
    def pair() -> Response:
        """JSON {"token", "name"} -> {"device", "token", "computer", "code"}; the token comes back as a cookie for the page."""
        body = small_json()
        one_time, wanted = body.get("token"), body.get("name", "")
        if not isinstance(one_time, str) or not isinstance(wanted, str):
            raise BadRequest('Send {"token": "...", "name": "..."} as JSON.')
        with access.pairing.redeemed(one_time):
            device, token = _join(access, wanted)
        access.last_code = short_code(one_time)
        response = jsonify({"device": device.id, "token": token, "computer": name, "code": access.last_code})
        response.set_cookie(
            COOKIE, token, max_age=COOKIE_SECONDS, httponly=True, secure=request.is_secure, samesite="Strict"
        )
        return response

    @pairing.delete("/pair")
    def unpair() -> Response:
        """The device forgets this computer: its token and its clips end."""
        device = access.devices.find(shown_token())
        if device is None:
            raise Unauthorized("This device is not paired with this computer: scan the code that the computer shows.")
        access.devices.revoke(device.id)
        clips.forget(device.id)
        response = jsonify({"device": device.id})
        response.delete_cookie(COOKIE, httponly=True, secure=request.is_secure, samesite="Strict")
        return response

    return pairing


def _join(access: Access, name: str) -> tuple[Device, str]:
    """A new device, or the known one that scans again: it shows its token, or it paired at an address that is gone."""
    host = _host_name(request.host)
    known = access.devices.find(shown_token())
    if known is None:
        same = [device for device in access.devices.all() if device.name == clean_name(name)]
        moved = [device for device in same if device.host and device.host not in access.hosts]
        known = moved[0] if len(moved) == 1 else None
    if known is not None:
        return access.devices.rejoin(known.id, name, host)
    return access.devices.add(name, host)


def shown_token() -> str:
    header = request.headers.get("Authorization", "")
    return header[7:] if header.startswith("Bearer ") else request.cookies.get(COOKIE, "")


def _host_name(host: str) -> str:
    return (host.rsplit(":", 1)[0] if not host.endswith("]") else host).lower().removesuffix(".")
