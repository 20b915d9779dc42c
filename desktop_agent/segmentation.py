"""Getting a cut-out: from the embedded model in this process, or from a segmentation server by address."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import requests

from desktop_agent.errors import AgentError, SegmentationFailed
from desktop_agent.pinned import PinnedAdapter

if TYPE_CHECKING:
    from server.segmenter import Segmenter

CONNECT_SECONDS = 4
ANSWER_SECONDS = 60


@dataclass(frozen=True)
class CutResult:
    """``png`` is cropped to ``box`` [left, top, right, bottom] of the upright photo of ``photo_size`` (width, height)."""

    png: bytes
    box: tuple[int, int, int, int]
    photo_size: tuple[int, int]
    score: float
    model: str
    server: str
    timings_ms: dict[str, float]


class Segmentation(Protocol):
    """Where cut-outs come from; replace it in tests. ``name`` is what the person sees as the server."""

    @property
    def name(self) -> str: ...

    def cut(self, photo: bytes, *, tap: tuple[float, float] | None, model: str | None, mode: str) -> CutResult:
        """Raises ``AgentError`` with the server's own code and sentence (``no_object``, ``unreadable_image``, ...) or
        ``SegmentationFailed`` where the server cannot be reached."""
        ...


class EmbeddedSegmentation:
    """The server's pipeline inside this process: no network, no GPU, no account."""

    name: str = "embedded"

    def cut(self, photo: bytes, *, tap: tuple[float, float] | None, model: str | None, mode: str) -> CutResult:
        import server
        from server.cutout import Stopwatch

        _check_mode(mode)
        clock = Stopwatch()
        try:
            with clock.stage("decode"):
                image = server.decode(photo)
            cutout = server.cut(image, self.segmenter(model), tap=tap, mode=mode, glass="auto")
            with clock.stage("encode"):
                png = server.encode_png(cutout.rgba)
        except server.ServerError as error:
            failed = AgentError(error.message, code=error.code, status=error.status)
            failed.title = error.title
            raise failed from error
        return _result(png, cutout.summary(), self.name, clock.timings_ms)

    def segmenter(self, model: str | None) -> Segmenter:
        """Where the maps come from. Raises ``ServerError``."""
        import server

        return server.load(model or server.DEFAULT_MODEL)


class RemoteSegmentation:
    """A segmentation server by address, over its ``POST /v1/cut``. ``key`` goes into ``X-Api-Key``.

    With a ``fingerprint`` (SHA-256, hexadecimal) exactly that certificate is accepted.
    """

    def __init__(self, url: str, key: str | None = None, fingerprint: str | None = None) -> None:
        self.name = url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False
        if key:
            self._session.headers["X-Api-Key"] = key
        if fingerprint:
            self._session.mount("https://", PinnedAdapter(fingerprint))

    def cut(self, photo: bytes, *, tap: tuple[float, float] | None, model: str | None, mode: str) -> CutResult:
        fields = {"crop": "true", "output": "cutout"}
        if mode != "object":
            fields["mode"] = mode
        if tap is not None:
            fields["tap"] = f"{tap[0]},{tap[1]}"
        if model:
            fields["model"] = model
        try:
            answer = self._session.post(
                f"{self.name}/v1/cut",
                data=fields,
                files={"image": ("photo", photo)},
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                allow_redirects=False,
            )
        except requests.exceptions.SSLError as error:
            raise SegmentationFailed(
                f"{self.name} shows a certificate that is not trusted, or another one than was confirmed: check who answers there.",
                code="server_changed",
            ) from error
        except requests.RequestException as error:
            raise SegmentationFailed(
                f"The computer cannot reach the segmentation server {self.name}: check that it runs, or start the agent without "
                "--server to cut on the computer itself.",
                code="server_unreachable",
            ) from error
        if answer.status_code != 200:
            raise _refusal(answer, self.name)
        try:
            return _result(answer.content, json.loads(answer.headers["X-Cutout"]), self.name, {})
        except (KeyError, ValueError, TypeError) as error:
            raise SegmentationFailed(
                f"{self.name} answered, but not like a segmentation server of this version: check the address.",
                code="server_foreign",
            ) from error

    def close(self) -> None:
        self._session.close()


def _check_mode(mode: str) -> None:
    from server.cutout import MODES

    if mode not in MODES:
        known = ", ".join(MODES)
        raise AgentError(f"mode '{mode[:20]}' is not known here: send one of {known}.", code="bad_option", status=400)


def _result(png: bytes, summary: dict[str, Any], name: str, extra_ms: dict[str, float]) -> CutResult:
    left, top, right, bottom = (int(value) for value in summary["box"])
    width, height = (int(value) for value in summary["image_size"])
    timings = {**{key: float(value) for key, value in summary["timings_ms"].items()}, **extra_ms}
    return CutResult(
        png=png,
        box=(left, top, right, bottom),
        photo_size=(width, height),
        score=float(summary["score"]),
        model=str(summary["model"]),
        server=name,
        timings_ms={key: round(value, 1) for key, value in timings.items()},
    )


def _refusal(answer: requests.Response, name: str) -> AgentError:
    """The server's own error, passed on when it is about the photo; its own trouble is a failed hop."""
    try:
        error = answer.json()["errors"][0]
        title, code, detail = str(error["title"]), str(error["code"]), str(error["detail"])
    except (ValueError, LookupError, TypeError):
        return SegmentationFailed(
            f"{name} answered {answer.status_code} without saying why: check the address.", code="server_foreign"
        )
    if answer.status_code in {400, 413, 415, 422}:
        passed = AgentError(detail, code=code, status=answer.status_code)
        passed.title = title
        return passed
    if answer.status_code in {401, 403}:
        return SegmentationFailed(
            f"{name} does not accept the key: start the agent with --server-key KEY.", code="server_key"
        )
    return SegmentationFailed(f"{name} could not cut the photo: {detail}", code=code)
