"""Who may have pictures cut, and how often: API keys and rate limits in front of every address that costs work."""

from __future__ import annotations

from flask import Flask, g, request
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from werkzeug.middleware.proxy_fix import ProxyFix

from server.errors import Unauthorized
from server.keys import Key
from server.settings import Settings


def guard(app: Flask, settings: Settings, cutting: frozenset[str]) -> None:
    """Ask for a key and count, before any body is read, at the endpoints named in ``cutting``."""
    if settings.proxies:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=settings.proxies, x_proto=settings.proxies, x_host=settings.proxies
        )

    @app.before_request
    def check_key() -> None:
        if settings.keys is None or not settings.keys.required or request.endpoint not in cutting:
            return
        key = _key(settings)
        g.key_id = key.id

    if settings.rate_limit:
        limiter = Limiter(
            _client,
            app=app,
            application_limits=[settings.rate_limit],
            storage_uri=settings.rate_storage,
            headers_enabled=True,
        )
        limiter.request_filter(lambda: request.endpoint not in cutting)


def _key(settings: Settings) -> Key:
    """The key that the request shows, in remove.bg's, OBJECT CUT's or the standard header. Raises ``Unauthorized``."""
    assert settings.keys is not None
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    secret = request.headers.get("X-Api-Key") or request.headers.get("X-Secret-Access") or bearer
    if not secret:
        raise Unauthorized("This server needs an API key: send it in the header X-Api-Key.")
    key = settings.keys.find(secret)
    if key is None:
        raise Unauthorized("This API key is not known here, or was revoked: ask the server's owner for another one.")
    return key


def _client() -> str:
    """A key's holder wherever it comes from; without keys, the address."""
    return f"key:{g.key_id}" if "key_id" in g else get_remote_address()
