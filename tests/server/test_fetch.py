"""Pictures by address: nothing private is reached, whatever the address, the name server or a redirect says."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from cheroot import wsgi
from cheroot.ssl.builtin import BuiltinSSLAdapter

from server.errors import FetchFailed, ImageTooLarge
from server.fetch import MAX_REDIRECTS, Fetcher, fetch_public, is_public

Answer = Callable[[dict[str, str]], tuple[str, dict[str, str], bytes]]


@contextlib.contextmanager
def host(answer: Answer, adapter: BuiltinSSLAdapter | None = None) -> Iterator[int]:
    """An HTTP server on loopback that stands for a public host."""

    def app(environ: dict[str, str], start: Callable[..., None]) -> list[bytes]:
        status, headers, body = answer(environ)
        start(status, list(headers.items()))
        return [body]

    server = wsgi.Server(("127.0.0.1", 0), app, numthreads=2)
    server.ssl_adapter = adapter
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server.bind_addr[1]
    finally:
        server.stop()
        thread.join()


@pytest.fixture
def fetcher() -> Fetcher:
    """Every name ending in .example is this computer, and that counts as public here."""

    def resolve(name: str, port: int) -> list[str]:
        if name.endswith(".example"):
            return ["127.0.0.1"]
        return [name]

    return Fetcher(resolve=resolve, allowed=lambda address: address == "127.0.0.1")


def test_the_bytes_arrive_from_the_checked_address_under_the_asked_name(fetcher: Fetcher) -> None:
    def answer(environ: dict[str, str]) -> tuple[str, dict[str, str], bytes]:
        return "200 OK", {}, f"{environ['HTTP_HOST']} {environ['PATH_INFO']}?{environ['QUERY_STRING']}".encode()

    with host(answer) as port:
        assert fetcher(f"http://pictures.example:{port}/a.jpg?b=c") == f"pictures.example:{port} /a.jpg?b=c".encode()


def test_https_checks_the_certificate_against_the_name_not_the_address(fetcher: Fetcher, tmp_path: Path) -> None:
    authority = trustme.CA()
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    certificate = authority.issue_cert("pictures.example")
    pem = tmp_path / "host.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(pem)
    adapter = BuiltinSSLAdapter(str(pem), str(pem))
    trusting = replace(fetcher, ca_certs=str(bundle))
    with host(lambda environ: ("200 OK", {}, b"picture"), adapter) as port:
        assert trusting(f"https://pictures.example:{port}/") == b"picture"
        with pytest.raises(FetchFailed):
            trusting(f"https://other.example:{port}/")
        with pytest.raises(FetchFailed):
            fetcher(f"https://pictures.example:{port}/")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fc00::1", "fec0::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1", "2001:0:4136:e378:8000:63bf:f5ff:fffe",
    ],
)  # fmt: skip
def test_private_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "8.8.8.8", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_public_addresses_are(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://localhost/", "http://[::1]/", "http://0/", "http://2130706433/", "http://0x7f000001/",
        "http://127.1/", "http://169.254.169.254/latest/meta-data/", "http://[::ffff:127.0.0.1]/",
    ],
)  # fmt: skip
def test_ways_to_write_loopback(url: str) -> None:
    with pytest.raises(FetchFailed, match=r"not at a public address|not known"):
        fetch_public(url)


@pytest.mark.parametrize(
    "url",
    [
        "", "file:///etc/passwd", "ftp://a.example/", "gopher://a.example/", "http://", "http:///a", "//a.example/", "a.jpg",
        "http://user@a.example/", "http://user:pw@a.example/", "http://a.example:22/", "http://a.example:99999/",
        "http://a.example/\r\nX: y", "http://a.example/ b", "http://a\u2028.example/", "http://[::1/",
        "http://a.example/" + "a" * 5000, "javascript:alert(1)", "http://a.example:port/",
    ],
)  # fmt: skip
def test_what_is_no_plain_address_is_refused_before_any_lookup(url: str) -> None:
    def resolve(name: str, port: int) -> list[str]:
        raise AssertionError(f"{name} was looked up")

    with pytest.raises(FetchFailed):
        Fetcher(resolve=resolve)(url)


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    with pytest.raises(FetchFailed, match="public"):
        Fetcher(resolve=lambda name, port: ["8.8.8.8", "10.0.0.1"])("http://mixed.example/")


def test_a_name_that_answers_differently_the_second_time_gains_nothing(fetcher: Fetcher) -> None:
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])
    looked_up = []

    def resolve(name: str, port: int) -> list[str]:
        looked_up.append(name)
        return next(answers)

    with host(lambda environ: ("200 OK", {}, b"first")) as port:
        assert replace(fetcher, resolve=resolve)(f"http://rebinding.example:{port}/") == b"first"
    assert looked_up == ["rebinding.example"]


def test_redirects_are_followed_and_each_is_checked(fetcher: Fetcher) -> None:
    def answer(environ: dict[str, str]) -> tuple[str, dict[str, str], bytes]:
        path = environ["PATH_INFO"]
        if path == "/private":
            return "302 Found", {"Location": "http://10.0.0.1/"}, b""
        if path == "/scheme":
            return "302 Found", {"Location": "file:///etc/passwd"}, b""
        if path == "/nowhere":
            return "302 Found", {}, b""
        left = int(path[1:])
        return ("200 OK", {}, b"there") if left == 0 else ("307 Temporary Redirect", {"Location": f"/{left - 1}"}, b"")

    with host(answer) as port:
        base = f"http://pictures.example:{port}"
        assert fetcher(f"{base}/{MAX_REDIRECTS}") == b"there"
        for path, words in (
            (f"/{MAX_REDIRECTS + 1}", "more than 5 times"),
            ("/private", "not at a public address"),
            ("/scheme", "not a web address"),
            ("/nowhere", "redirects to nowhere"),
        ):
            with pytest.raises(FetchFailed, match=words):
                fetcher(base + path)


def test_failures_of_the_host_are_told(fetcher: Fetcher) -> None:
    with host(lambda environ: ("404 Not Found", {}, b"")) as port, pytest.raises(FetchFailed, match="answered 404"):
        fetcher(f"http://pictures.example:{port}/")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(FetchFailed, match="could not be fetched"):
            fetcher(f"http://pictures.example:{closed.getsockname()[1]}/")


def test_too_many_bytes_are_not_read_whether_announced_or_not(fetcher: Fetcher) -> None:
    small = replace(fetcher, max_bytes=100_000)
    with (
        host(lambda environ: ("200 OK", {"Content-Length": "200000"}, bytes(200_000))) as port,
        pytest.raises(ImageTooLarge),
    ):
        small(f"http://pictures.example:{port}/")
    with host(lambda environ: ("200 OK", {}, bytes(200_000))) as port, pytest.raises(ImageTooLarge):
        small(f"http://pictures.example:{port}/")


@pytest.mark.parametrize("drip", [b"X-Slow: 1\r\n", b"\r\n"], ids=["in the headers", "in the body"])
def test_a_host_that_drips_is_left_at_the_deadline(fetcher: Fetcher, drip: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while True:
                    connection.sendall(drip)
                    time.sleep(0.02)

        thread = threading.Thread(target=serve)
        thread.start()
        began = time.monotonic()
        with pytest.raises(FetchFailed):
            replace(fetcher, seconds=0.5)(f"http://pictures.example:{listener.getsockname()[1]}/")
        assert time.monotonic() - began < 30
        thread.join()
