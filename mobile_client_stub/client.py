"""A phone in Python: pairs with an agent, sends photos and views, keeps what it needs to come back."""

from __future__ import annotations

import json
import os
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from mobile_client_stub.home import home as _home

CONNECT_SECONDS = 4
ANSWER_SECONDS = 90
MARKERS_APPEAR_SECONDS = 0.3
"""Monitors show what was drawn some frames later."""
PAIRINGS_FILE = "phone.json"
ENDPOINT_FILE = "agent.json"


class PhoneError(Exception):
    """The phone's errors.

    PhoneError              ``message`` says which step failed and what to do; ``code`` is the agent's
    ├── Unreachable         the agent does not answer, or shows another certificate than the pinned one
    └── NotPaired           there is no token for this agent
    """

    def __init__(self, message: str, code: str = "phone_error") -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class Unreachable(PhoneError):
    pass


class NotPaired(PhoneError):
    pass


@dataclass(frozen=True)
class Pairing:
    """What a phone remembers of a computer. ``fingerprint`` is the SHA-256 of its certificate (None over loopback http)."""

    url: str
    token: str
    fingerprint: str | None = None


@dataclass(frozen=True)
class CopyResult:
    """The answer to ``/cut`` and the cut-out itself."""

    clip: str
    box: tuple[int, int, int, int]
    image_size: tuple[int, int]
    score: float
    model: str
    server: str
    timings_ms: dict[str, float]
    png: bytes


class AgentClient:
    """The agent's HTTP face as methods. Use as a context manager.

    With a ``fingerprint`` exactly that certificate is accepted, whoever signed it.
    """

    def __init__(self, pairing: Pairing) -> None:
        self._url = pairing.url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Bearer {pairing.token}"
        if pairing.fingerprint:
            self._session.mount("https://", _PinnedAdapter(pairing.fingerprint))

    def __enter__(self) -> AgentClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def redeem(self, one_time_token: str, name: str) -> str:
        """Pair: the device token for a one-time token."""
        answer = self._checked(self._send("POST", "/pair", json_body={"token": one_time_token, "name": name}))
        return str(answer["token"])

    def copy(self, photo: bytes, *, tap: tuple[float, float] | None = None, model: str | None = None) -> CopyResult:
        """Cut the object out of a photo. Raises ``PhoneError`` with the agent's sentence."""
        fields = {"tap": f"{tap[0]},{tap[1]}" if tap else None, "model": model}
        answer = self._checked(self._send("POST", "/cut", fields, {"image": photo}))
        clip = str(answer["clip"])
        left, top, right, bottom = answer["box"]
        width, height = answer["image_size"]
        return CopyResult(
            clip=clip,
            box=(left, top, right, bottom),
            image_size=(width, height),
            score=float(answer["score"]),
            model=str(answer["model"]),
            server=str(answer["server"]),
            timings_ms=dict(answer["timings_ms"]),
            png=self.clip_png(clip),
        )

    def paste(
        self,
        view: bytes,
        clip: str,
        *,
        placement: dict[str, float] | None = None,
        key: str | None = None,
        again: Callable[[], bytes] | None = None,
    ) -> dict[str, Any]:
        """Paste a clip where the view points: the agent's object, whatever its status. Raises ``PhoneError`` for a bad request.

        ``again`` takes a second photo from the same place; it is asked for while the screen shows markers, where the first one
        could not be located.
        """
        answer = self._pasted(view, clip, placement, key, markers=again is not None)
        if again is None or answer["status"] != "retry_after_markers":
            return answer
        time.sleep(MARKERS_APPEAR_SECONDS)
        return self._pasted(again(), clip, placement, f"{key}-again" if key else None, markers=False)

    def _pasted(
        self, view: bytes, clip: str, placement: dict[str, float] | None, key: str | None, *, markers: bool
    ) -> dict[str, Any]:
        fields = self._placed(clip, placement, key) | {"markers": "1" if markers else None}
        response = self._send("POST", "/paste", fields, {"view": view})
        answer = _json(response)
        return answer if "status" in answer else self._checked(response)

    def aim(self, view: bytes, clip: str | None = None, *, placement: dict[str, float] | None = None) -> dict[str, Any]:
        """Where the cut-out would land, for one small frame."""
        return self._checked(self._send("POST", "/aim", self._placed(clip, placement, None), {"view": view}))

    def add_clip(self, cutout: bytes) -> str:
        """Keep a cut-out that was made elsewhere; returns the clip's id."""
        return str(self._checked(self._send("POST", "/clips", {}, {"image": cutout}))["clip"])

    def clips(self) -> list[dict[str, Any]]:
        """Newest first."""
        return list(self._checked(self._send("GET", "/clips"))["clips"])

    def clip_png(self, clip: str) -> bytes:
        return self._content(f"/clips/{clip}.png")

    def screen_png(self) -> bytes:
        """The picture that a virtual screen shows now; for the same computer only."""
        return self._content("/screen.png")

    def status(self) -> dict[str, Any]:
        return self._checked(self._send("GET", "/status"))

    @staticmethod
    def _placed(clip: str | None, placement: dict[str, float] | None, key: str | None) -> dict[str, str | None]:
        return {"clip": clip, "placement": json.dumps(placement) if placement else None, "key": key}

    def _content(self, path: str) -> bytes:
        response = self._send("GET", path)
        if response.status_code != 200:
            self._checked(response)
        return response.content

    def _send(
        self,
        method: str,
        path: str,
        fields: dict[str, str | None] | None = None,
        files: dict[str, bytes] | None = None,
        json_body: dict[str, str] | None = None,
    ) -> requests.Response:
        try:
            return self._session.request(
                method,
                self._url + path,
                data={name: value for name, value in (fields or {}).items() if value is not None} or None,
                files={name: (name, data) for name, data in files.items()} if files else None,
                json=json_body,
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                allow_redirects=False,
            )
        except requests.exceptions.SSLError as error:
            raise Unreachable(
                f"{self._url} shows another certificate than the one it was paired with: pair again, in your own network only.",
                code="changed_certificate",
            ) from error
        except requests.RequestException as error:
            raise Unreachable(
                f"The computer at {self._url} does not answer: check that the agent runs there and that both are in one network.",
                code="unreachable",
            ) from error

    def _checked(self, response: requests.Response) -> dict[str, Any]:
        answer = _json(response)
        if response.status_code == 200:
            return answer
        try:
            error = answer["errors"][0]
            message, code = str(error["detail"]), str(error["code"])
        except (LookupError, TypeError):
            message, code = f"{self._url} answered {response.status_code} without saying why.", "foreign"
        if response.status_code == 401:
            raise NotPaired(message, code)
        raise PhoneError(message, code)


def pair(url: str, name: str = "Python client") -> Pairing:
    """Redeem the one-time token of a pairing address (``https://computer:8766/#TOKEN.FINGERPRINT``).

    Without a fingerprint in the fragment the certificate that is shown now is trusted and pinned (trust on first use).
    """
    parts = urlsplit(url)
    token, _, fingerprint = parts.fragment.partition(".")
    if parts.scheme not in {"http", "https"} or not parts.hostname or not token:
        raise NotPaired(
            "This is no pairing address: copy the whole line that the computer shows, with the part after '#'."
        )
    base = f"{parts.scheme}://{parts.netloc}"
    pinned = None
    if parts.scheme == "https":
        pinned = fingerprint or _seen_fingerprint(parts.hostname, parts.port or 443)
    with AgentClient(Pairing(base, "", pinned)) as client:
        return Pairing(base, client.redeem(token, name), pinned)


def same_computer(home: Path | None = None) -> Pairing:
    """The agent that runs as this user on this computer (with this data folder). Raises ``NotPaired``."""
    try:
        fields = json.loads(((home or _home()) / ENDPOINT_FILE).read_text())
        return Pairing(str(fields["url"]), str(fields["token"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotPaired(
            "No agent runs on this computer: start 'python -m desktop_agent', or give --agent URL."
        ) from error


def remember(pairing: Pairing) -> None:
    """Keep a pairing in a 0600 file."""
    pairings = _pairings() | {pairing.url: {"token": pairing.token, "fingerprint": pairing.fingerprint}}
    path = _home() / PAIRINGS_FILE
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(pairings, file)


def pairing_for(url: str | None) -> Pairing:
    """The remembered pairing of an agent; for None or its loopback address the agent of this computer. Raises ``NotPaired``."""
    if url is None:
        return same_computer()
    base = url.rstrip("/")
    known = _pairings().get(base)
    if known:
        return Pairing(base, known["token"], known["fingerprint"])
    local = same_computer() if _is_loopback(base) else None
    if local is not None and local.url == base:
        return local
    raise NotPaired(f"This computer is not paired with {base}: run 'pair URL' with the address that the agent shows.")


def _pairings() -> dict[str, Any]:
    try:
        return dict(json.loads((_home() / PAIRINGS_FILE).read_text()))
    except (OSError, ValueError):
        return {}


def _is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"}


def _seen_fingerprint(host: str, port: int) -> str:
    import hashlib

    try:
        certificate = ssl.get_server_certificate((host, port), timeout=CONNECT_SECONDS)
    except OSError as error:
        raise Unreachable(f"The computer at {host}:{port} does not answer.", code="unreachable") from error
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest()


def _json(response: requests.Response) -> dict[str, Any]:
    try:
        answer = response.json()
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


class _PinnedAdapter(HTTPAdapter):
    """Accepts exactly one certificate, by its SHA-256, and no other, whoever signed it."""

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint.replace(":", "").lower()
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> Any:
        return super().init_poolmanager(*args, **kwargs, assert_fingerprint=self._fingerprint, assert_hostname=False)

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        conn.cert_reqs = "CERT_NONE"  # the fingerprint is checked instead, which is stricter than any signature
