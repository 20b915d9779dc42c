"""Certificates: an authority of this installation that can vouch for this computer only, and the certificate that it signs.

The phone's browser allows the camera on https alone. Its first contact is trust on first use; whoever installs the authority's
certificate has the real thing. Name constraints: RFC 5280, section 4.2.1.10.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from desktop_agent.devices import write_private
from desktop_agent.errors import AgentError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

LEAF_DAYS = 397
AUTHORITY_DAYS = 3650
RENEW_DAYS = 30
SKEW = datetime.timedelta(days=2)
"""Certificates are valid from two days ago, so that a phone whose clock is behind accepts them."""
PRIVATE_NETWORKS = (
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "127.0.0.0/8",
    "100.64.0.0/10",
    "fc00::/7",
    "fe80::/10",
    "::1/128",
)


@dataclass(frozen=True)
class Certificate:
    """Paths of PEM files; ``fingerprint`` is its SHA-256, hexadecimal; ``authority`` signed it, if it is ours."""

    certificate: Path
    key: Path
    fingerprint: str
    authority: Path | None = None


def local_addresses() -> list[str]:
    """This computer's IPv4 addresses on its networks, the one of the default route first; no loopback."""
    found: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # RFC 5737; nothing is sent, the kernel only chooses a route
        found.append(probe.getsockname()[0])
    with contextlib.suppress(OSError):
        found += [str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    return [address for address in dict.fromkeys(found) if not address.startswith("127.")]


def local_name() -> str:
    """This computer's multicast DNS name, host.local (RFC 6762)."""
    label = re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().split(".")[0].lower()).strip("-")
    return f"{label or 'computer'}.local"


def own_certificate(folder: Path, addresses: list[str]) -> Certificate:
    """A certificate for this computer's addresses and names, signed by the kept authority.

    The kept one serves on until it expires within a month or lacks an address; the authority until it may not vouch for one.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    names = ["localhost", local_name()]
    addresses = sorted({"127.0.0.1", *addresses})
    authority, authority_key = _kept_authority(folder, names, addresses)
    paths = folder / "agent.crt", folder / "agent.key"
    leaf = _kept_leaf(paths, authority, names, addresses)
    if leaf is None:
        leaf = _make_leaf(paths, authority, authority_key, names, addresses)
    return Certificate(*paths, fingerprint(leaf), folder / "ca.crt")


def given_certificate(certificate: Path, key: Path) -> Certificate:
    """The user's own files. Raises ``AgentError`` where they are unreadable, expired or do not belong together."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
        private = load_pem_private_key(key.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise AgentError(
            f"{certificate} and {key} are no readable certificate and unencrypted key ({error}): give PEM files.",
            code="bad_certificate",
        ) from error
    if private.public_key() != loaded.public_key():
        raise AgentError(
            f"{key} is not the key of {certificate}: give the two that belong together.", code="bad_certificate"
        )
    if loaded.not_valid_after_utc < _now():
        raise AgentError(f"{certificate} has expired: renew it, or start without --cert.", code="bad_certificate")
    return Certificate(certificate, key, fingerprint(loaded))


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the certificate, 64 hexadecimal digits."""
    from cryptography.hazmat.primitives import hashes

    return certificate.fingerprint(hashes.SHA256()).hex()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """An elliptic-curve key of ours. Raises ``OSError`` or ``ValueError``."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path} is no elliptic-curve key")
    return key


def _kept_authority(
    folder: Path, names: list[str], addresses: list[str]
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    from cryptography import x509

    paths = folder / "ca.crt", folder / "ca.key"
    try:
        kept = x509.load_pem_x509_certificate(paths[0].read_bytes())
        key = load_key(paths[1])
        lasts = kept.not_valid_after_utc > _now() + datetime.timedelta(days=LEAF_DAYS + RENEW_DAYS)
        if key.public_key() == kept.public_key() and lasts and _may_sign(kept, names, addresses):
            return kept, key
    except (OSError, ValueError, x509.ExtensionNotFound):
        pass
    return _make_authority(paths, names, addresses)


def _may_sign(authority: x509.Certificate, names: list[str], addresses: list[str]) -> bool:
    from cryptography import x509

    constraints = authority.extensions.get_extension_for_class(x509.NameConstraints).value
    permitted = constraints.permitted_subtrees or []
    networks = [ipaddress.ip_network(str(name.value)) for name in permitted if isinstance(name, x509.IPAddress)]
    dns = {name.value for name in permitted if isinstance(name, x509.DNSName)}
    parsed = [ipaddress.ip_address(address) for address in addresses]
    inside = all(any(address in network for network in networks) for address in parsed)
    return inside and dns.issuperset(names)


def _make_authority(
    paths: tuple[Path, Path], names: list[str], addresses: list[str]
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    networks = [ipaddress.ip_network(network) for network in PRIVATE_NETWORKS]
    public = [a for a in map(ipaddress.ip_address, addresses) if not any(a in network for network in networks)]
    permitted: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    permitted += [x509.IPAddress(network) for network in [*networks, *map(ipaddress.ip_network, public)]]
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"AR copy & paste on {local_name()}"[:64])])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - SKEW)
        .not_valid_after(_now() + datetime.timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(paths, certificate, key)
    return certificate, key


def _kept_leaf(
    paths: tuple[Path, Path], authority: x509.Certificate, names: list[str], addresses: list[str]
) -> x509.Certificate | None:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    try:
        kept = x509.load_pem_x509_certificate(paths[0].read_bytes())
        kept.verify_directly_issued_by(authority)
        fits = load_key(paths[1]).public_key() == kept.public_key()
        alternatives = kept.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        covered = {str(address) for address in alternatives.get_values_for_type(x509.IPAddress)}
        covered.update(alternatives.get_values_for_type(x509.DNSName))
    except (OSError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return None
    lasts = kept.not_valid_after_utc > _now() + datetime.timedelta(days=RENEW_DAYS)
    return kept if lasts and fits and covered.issuperset([*names, *addresses]) else None


def _make_leaf(
    paths: tuple[Path, Path],
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    names: list[str],
    addresses: list[str],
) -> x509.Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, local_name()[:64])]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - SKEW)
        .not_valid_after(_now() + datetime.timedelta(days=LEAF_DAYS))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    _write(paths, certificate, key)
    return certificate


def _write(paths: tuple[Path, Path], certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    from cryptography.hazmat.primitives import serialization

    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(paths[1], private)
    write_private(paths[0], certificate.public_bytes(serialization.Encoding.PEM))
