"""https: the user's own certificate, or one that this installation makes once; agents pin its fingerprint, so it stays the same.

``desktop_agent`` has its own: server and agent share no HTTP code.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cheroot.makefile import MakeFile
from cheroot.ssl import Adapter

from server.errors import BadInput

YEARS = 10


@dataclass(frozen=True)
class Certificate:
    """PEM files."""

    certificate: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, hexadecimal, as agents show and pin it."""
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.certificate.read_text())).hexdigest()


def host_label() -> str:
    """This computer's name as multicast DNS has it, without .local (RFC 6762)."""
    return re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().split(".")[0].lower()).strip("-") or "computer"


def own_certificate(folder: Path) -> Certificate:
    """The kept self-signed certificate, or a new one; the key's file is 0600."""
    kept = Certificate(folder / "certificate.pem", folder / "key.pem")
    if not (kept.certificate.exists() and kept.key.exists()):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make(kept)
    return kept


def _make(kept: Certificate) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host_label()[:64])])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName(text) for text in ("localhost", host_label(), f"{host_label()}.local")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # clocks differ
        .not_valid_after(now + datetime.timedelta(days=365 * YEARS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(kept.key, private)
    _write(kept.certificate, certificate.public_bytes(serialization.Encoding.PEM))


def _write(path: Path, data: bytes) -> None:
    partial = path.with_suffix(".part")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    partial.replace(path)


class TlsAdapter(Adapter):
    """cheroot's side of TLS 1.2 and newer. Hands are shaken in the worker's thread, never in the one that accepts."""

    def __init__(self, certificate: Certificate) -> None:
        """Raises ``BadInput`` where certificate and key do not fit."""
        super().__init__(str(certificate.certificate), str(certificate.key))
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            self.context.load_cert_chain(certificate.certificate, certificate.key, password=_no_password)
        except (OSError, ValueError) as error:
            raise BadInput(
                f"{certificate.certificate} and {certificate.key} do not work together ({error}): give a certificate and its "
                "own unencrypted key as PEM files."
            ) from error

    def bind(self, sock: socket.socket) -> socket.socket:
        return sock

    def wrap(self, sock: socket.socket) -> tuple[ssl.SSLSocket, dict[str, str]]:
        wrapped = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return wrapped, self.get_environ()

    def get_environ(self) -> dict[str, str]:
        return {"wsgi.url_scheme": "https", "HTTPS": "on"}

    def makefile(self, sock: Any, mode: str = "r", bufsize: int = -1) -> Any:
        return MakeFile(sock, mode, bufsize)


def _no_password() -> str:
    raise ValueError("the key is encrypted")
