"""The authority may vouch for this computer only, its certificate is renewed when it must be, and never changes otherwise."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import stat
import threading
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from desktop_agent import tls
from desktop_agent.errors import AgentError
from desktop_agent.tls import given_certificate, local_name, own_certificate

ADDRESS = "192.168.7.20"


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def trusted(leaf: Path, authority: Path, host: str, at: datetime.datetime | None = None) -> None:
    """As a phone checks it that has installed the authority. Raises ``VerificationError``."""
    subject: x509.GeneralName
    try:
        subject = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        subject = x509.DNSName(host)
    builder = PolicyBuilder().store(Store([load(authority)]))
    builder = builder.time(at or datetime.datetime.now(datetime.UTC))
    builder.build_server_verifier(subject).verify(load(leaf), [])


def test_a_phone_with_the_authority_trusts_the_addresses_and_the_name(tmp_path: Path) -> None:
    made = own_certificate(tmp_path, [ADDRESS, "10.1.2.3"])
    assert made.authority is not None
    for host in (ADDRESS, "10.1.2.3", "127.0.0.1", "localhost", local_name()):
        trusted(made.certificate, made.authority, host)
    for host in ("192.168.7.21", "example.com"):
        with pytest.raises(VerificationError):
            trusted(made.certificate, made.authority, host)


def test_keys_are_private_and_certificates_are_short_lived(tmp_path: Path) -> None:
    made = own_certificate(tmp_path / "tls", [ADDRESS])
    for path in (made.key, tmp_path / "tls" / "ca.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    leaf = load(made.certificate)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc < datetime.timedelta(days=400)
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert made.fingerprint == tls.fingerprint(leaf)


def test_the_authority_cannot_vouch_for_anybody_else(tmp_path: Path) -> None:
    made = own_certificate(tmp_path, [ADDRESS])
    assert made.authority is not None
    authority = load(made.authority)
    constraints = authority.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    basic = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (basic.ca, basic.path_length) == (True, 0)
    key = tls.load_key(tmp_path / "ca.key")
    paths = tmp_path / "forged.crt", tmp_path / "forged.key"
    tls._make_leaf(paths, authority, key, ["bank.example"], ["8.8.8.8"])
    for host in ("bank.example", "8.8.8.8"):
        with pytest.raises(VerificationError):
            trusted(paths[0], made.authority, host)


@pytest.mark.parametrize("skew_hours", [-36, 36])
def test_a_phone_whose_clock_is_wrong_by_a_day_and_a_half_still_trusts_it(tmp_path: Path, skew_hours: int) -> None:
    made = own_certificate(tmp_path, [ADDRESS])
    assert made.authority is not None
    now = datetime.datetime.now(datetime.UTC)
    trusted(made.certificate, made.authority, ADDRESS, at=now + datetime.timedelta(hours=skew_hours))


def test_the_same_addresses_keep_the_same_certificate(tmp_path: Path) -> None:
    first = own_certificate(tmp_path, [ADDRESS, "10.1.2.3"])
    assert own_certificate(tmp_path, ["10.1.2.3", ADDRESS]) == first
    assert own_certificate(tmp_path, [ADDRESS]) == first


def test_a_new_address_gets_a_new_leaf_of_the_same_authority(tmp_path: Path) -> None:
    first = own_certificate(tmp_path, [ADDRESS])
    assert first.authority is not None
    authority = first.authority.read_bytes()
    second = own_certificate(tmp_path, ["10.9.9.9"])
    assert second.fingerprint != first.fingerprint
    assert first.authority.read_bytes() == authority
    trusted(second.certificate, first.authority, "10.9.9.9")


def test_a_public_address_needs_an_authority_that_may_sign_it(tmp_path: Path) -> None:
    first = own_certificate(tmp_path, [ADDRESS])
    second = own_certificate(tmp_path, ["8.8.4.4"])
    assert second.authority is not None
    trusted(second.certificate, second.authority, "8.8.4.4")
    assert first.fingerprint != second.fingerprint


def test_certificates_are_renewed_before_they_expire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = own_certificate(tmp_path, [ADDRESS])
    authority = (tmp_path / "ca.crt").read_bytes()
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=tls.LEAF_DAYS - tls.RENEW_DAYS + 1)
    monkeypatch.setattr(tls, "_now", lambda: later)
    second = own_certificate(tmp_path, [ADDRESS])
    assert second.fingerprint != first.fingerprint
    assert (tmp_path / "ca.crt").read_bytes() == authority
    monkeypatch.setattr(tls, "_now", lambda: later + datetime.timedelta(days=tls.AUTHORITY_DAYS))
    own_certificate(tmp_path, [ADDRESS])
    assert (tmp_path / "ca.crt").read_bytes() != authority


@pytest.mark.parametrize("name", ["agent.crt", "agent.key", "ca.crt", "ca.key"])
def test_a_damaged_file_is_replaced(tmp_path: Path, name: str) -> None:
    own_certificate(tmp_path, [ADDRESS])
    (tmp_path / name).write_text("damaged")
    made = own_certificate(tmp_path, [ADDRESS])
    assert made.authority is not None
    trusted(made.certificate, made.authority, ADDRESS)
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(made.certificate, made.key)


def test_your_own_certificate_is_used_as_it_is(tmp_path: Path) -> None:
    leaf = trustme.CA().issue_cert("studio.example")
    certificate, key = tmp_path / "a.pem", tmp_path / "b.pem"
    leaf.cert_chain_pems[0].write_to_path(str(certificate))
    leaf.private_key_pem.write_to_path(str(key))
    given = given_certificate(certificate, key)
    assert given.fingerprint == tls.fingerprint(load(certificate))
    assert given.authority is None


@pytest.mark.parametrize("fault", ["no key", "other key", "swapped", "expired"])
def test_a_wrong_certificate_of_your_own_says_what_is_wrong(tmp_path: Path, fault: str) -> None:
    authority = trustme.CA()
    expires = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    leaf = (
        authority.issue_cert("a.example", not_after=expires)
        if fault == "expired"
        else authority.issue_cert("a.example")
    )
    certificate, key = tmp_path / "a.pem", tmp_path / "b.pem"
    leaf.cert_chain_pems[0].write_to_path(str(certificate))
    other = authority.issue_cert("b.example")
    (other if fault == "other key" else leaf).private_key_pem.write_to_path(str(key))
    if fault == "no key":
        key.write_text("nothing")
    if fault == "swapped":
        certificate, key = key, certificate
    with pytest.raises(AgentError, match=r"give|renew") as refused:
        given_certificate(certificate, key)
    assert refused.value.code == "bad_certificate"


def test_making_one_leaves_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    own_certificate(tmp_path, [ADDRESS])
    assert threading.active_count() == before
