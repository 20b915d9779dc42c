"""A certificate for this computer, made on first use and kept, so that the phone's browser allows the camera."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path

from desktop_agent.devices import write_private

VALID_DAYS = 397


@dataclass(frozen=True)
class Certificate:
    """Paths of PEM files; ``fingerprint`` is the SHA-256 of the certificate, hexadecimal."""

    certificate: Path
    key: Path
    fingerprint: str


def local_addresses() -> list[str]:
    """This computer's IPv4 addresses on its networks, the one of the default route first; no loopback."""
    found: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # RFC 5737; nothing is sent, the kernel only chooses a route
        found.append(probe.getsockname()[0])
    with contextlib.suppress(OSError):
        found += [str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    return [address for address in dict.fromkeys(found) if not address.startswith("127.")]


def own_certificate(folder: Path, addresses: list[str]) -> Certificate:
    """The kept self-signed certificate, or a new one where it is missing, expires within a month or lacks an address."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    paths = folder / "agent.crt", folder / "agent.key"
    names = sorted({"localhost", f"{socket.gethostname()}.local"})
    try:
        kept = x509.load_pem_x509_certificate(paths[0].read_bytes())
        alternatives = kept.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        covered = {str(address) for address in alternatives.get_values_for_type(x509.IPAddress)}
        soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=30)
        if covered.issuperset(addresses) and kept.not_valid_after_utc > soon and paths[1].exists():
            return Certificate(*paths, kept.fingerprint(hashes.SHA256()).hex())
    except (OSError, ValueError, x509.ExtensionNotFound):
        pass
    certificate, key = _make(names, ["127.0.0.1", *addresses])
    write_private(paths[1], key)
    write_private(paths[0], certificate)
    made = x509.load_pem_x509_certificate(certificate)
    return Certificate(*paths, made.fingerprint(hashes.SHA256()).hex())


def _make(names: list[str], addresses: list[str]) -> tuple[bytes, bytes]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "AR copy & paste on this computer")])
    now = datetime.datetime.now(datetime.UTC)
    alternatives = [x509.DNSName(name) for name in names] + [x509.IPAddress(ipaddress.ip_address(a)) for a in addresses]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private
