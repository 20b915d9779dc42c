"""https to a server that is known by the fingerprint of its certificate, whoever signed it."""

from __future__ import annotations

import hashlib
import ssl
from typing import Any

from requests.adapters import HTTPAdapter

SECONDS = 4


class PinnedAdapter(HTTPAdapter):
    """Accepts exactly one certificate, by its SHA-256 (hexadecimal)."""

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint.replace(":", "").lower()
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> Any:
        return super().init_poolmanager(*args, **kwargs, assert_fingerprint=self._fingerprint, assert_hostname=False)

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        conn.cert_reqs = "CERT_NONE"  # the fingerprint is checked instead, which is stricter than any signature


def shown_fingerprint(host: str, port: int) -> str:
    """The SHA-256 of the certificate that a server shows now. Raises ``OSError``."""
    return hashlib.sha256(
        ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, port), timeout=SECONDS))
    ).hexdigest()
