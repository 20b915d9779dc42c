"""Getting a picture by its address without becoming a way into private networks (server-side request forgery, CWE-918).

Every host is resolved once, all its addresses must be public, and the connection goes to exactly the address that was checked:
a name that answers differently the second time (DNS rebinding) gains nothing. Redirects are followed by hand, each checked again.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError

from server.errors import FetchFailed, ImageTooLarge

MAX_BYTES = 50_000_000
MAX_REDIRECTS = 5
MAX_URL = 4096
CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 20.0
CHUNK = 1 << 16
NAT64 = ipaddress.ip_network("64:ff9b::/96")

Resolve = Callable[[str, int], list[str]]


def resolve(host: str, port: int) -> list[str]:
    """All addresses of a host. Raises ``OSError``."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))


def is_public(address: str) -> bool:
    """True for globally reachable unicast addresses; an IPv4 address inside an IPv6 one decides."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip.is_site_local:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


@dataclass(frozen=True)
class Fetcher:
    """Callable: an http(s) address -> the bytes there.

    Raises ``FetchFailed`` with what is wrong with the address or the host, ``ImageTooLarge`` past ``max_bytes``. ``resolve``
    and ``allowed`` are the seams for tests; ``seconds`` bounds everything after name resolution, redirects included.
    """

    resolve: Resolve = resolve
    allowed: Callable[[str], bool] = is_public
    max_bytes: int = MAX_BYTES
    seconds: float = TOTAL_SECONDS
    ca_certs: str | None = None

    def __call__(self, url: str) -> bytes:
        end = time.monotonic() + self.seconds
        for _ in range(MAX_REDIRECTS + 1):
            target = parse_address(url)
            with self._opened(target, end) as response:
                if response.status in {301, 302, 303, 307, 308}:
                    location = response.headers.get("Location")
                    if not location:
                        raise FetchFailed(f"{target.hostname} redirects to nowhere: give the picture's own address.")
                    url = urljoin(url, location)
                    continue
                if response.status != 200:
                    raise FetchFailed(f"{target.hostname} answered {response.status}: check the picture's address.")
                return self._body(response, end)
        raise FetchFailed(f"The address redirects more than {MAX_REDIRECTS} times: give the picture's own address.")

    @contextlib.contextmanager
    def _opened(self, target: SplitResult, end: float) -> Iterator[urllib3.BaseHTTPResponse]:
        host = target.hostname or ""
        port = target.port or (443 if target.scheme == "https" else 80)
        address = self._checked_address(host, port)
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=CONNECT_SECONDS)
        pool: urllib3.HTTPConnectionPool
        if target.scheme == "https":
            pool = urllib3.HTTPSConnectionPool(
                address, port, timeout=timeout, server_hostname=host, assert_hostname=host, ca_certs=self.ca_certs
            )
        else:
            pool = urllib3.HTTPConnectionPool(address, port, timeout=timeout)
        path = (target.path or "/") + (f"?{target.query}" if target.query else "")
        headers = {
            "Host": target.netloc,
            "User-Agent": "ar-copy-paste",
            "Accept": "image/*",
            "Accept-Encoding": "identity",
        }
        with _deadline(pool, end):
            try:
                response = pool.urlopen(
                    "GET",
                    path,
                    headers=headers,
                    redirect=False,
                    retries=False,
                    preload_content=False,
                    assert_same_host=False,
                )
                try:
                    yield response
                finally:
                    response.close()
            except (HTTPError, OSError) as error:
                raise FetchFailed(
                    f"The picture at {host} could not be fetched in time or the connection broke: check the address, or send "
                    "the picture itself."
                ) from error
            finally:
                pool.close()

    def _checked_address(self, host: str, port: int) -> str:
        try:
            addresses = self.resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise FetchFailed(f"The host '{host[:80]}' is not known: check the picture's address.") from error
        if not addresses or not all(self.allowed(address) for address in addresses):
            raise FetchFailed(
                f"'{host[:80]}' is not at a public address: send the picture itself instead of its address."
            )
        return addresses[0]

    def _body(self, response: urllib3.BaseHTTPResponse, end: float) -> bytes:
        declared = response.headers.get("Content-Length", "")
        if declared.isdigit() and int(declared) > self.max_bytes:
            raise self._too_large()
        parts, size = [], 0
        while part := response.read1(CHUNK, decode_content=False):
            size += len(part)
            if size > self.max_bytes:
                raise self._too_large()
            if time.monotonic() > end:
                break
            parts.append(part)
        if time.monotonic() > end:  # a connection that was cut at the deadline looks like a short answer
            raise FetchFailed("The picture's host is too slow: send the picture itself instead of its address.")
        if declared.isdigit() and size < int(declared):
            raise FetchFailed("The picture's host broke off in the middle: try again.")
        return b"".join(parts)

    def _too_large(self) -> ImageTooLarge:
        return ImageTooLarge(
            f"The picture at that address has more than {self.max_bytes / 1e6:.0f} MB: give a smaller one."
        )


@contextlib.contextmanager
def _deadline(pool: urllib3.HTTPConnectionPool, end: float) -> Iterator[None]:
    """Cut the connection at ``end``, however steadily the host drips its headers."""
    opened: list[socket.socket] = []
    make = pool.ConnectionCls

    class Watched(make):  # type: ignore[valid-type,misc]
        def connect(self) -> None:
            super().connect()
            opened.append(self.sock)

    pool.ConnectionCls = Watched

    def cut() -> None:
        for sock in opened:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, end - time.monotonic()), cut)
    timer.name = "arcp-fetch-deadline"
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def parse_address(url: str) -> SplitResult:
    """Raises ``FetchFailed`` for what is no plain http or https address."""
    try:
        target = urlsplit(url.strip())
        port = target.port
        host = target.hostname
    except (ValueError, LocationParseError):
        raise FetchFailed("This is not a web address: give one like https://example.com/photo.jpg.") from None
    if (
        len(url) > MAX_URL
        or target.scheme not in {"http", "https"}
        or not host
        or any(c.isspace() for c in url.strip())
    ):
        raise FetchFailed("This is not a web address: give one like https://example.com/photo.jpg.")
    if target.username is not None or target.password is not None:
        raise FetchFailed("The address must not hold a user name or password: give the picture's public address.")
    if port is not None and port not in {80, 443} and port < 1024:
        raise FetchFailed(f"Pictures are not fetched from port {port}: give an address on port 80 or 443.")
    if any(ord(c) < 33 or ord(c) > 126 for c in target.netloc + target.path + target.query):
        raise FetchFailed("The address holds characters that must be percent-encoded: give it as a browser shows it.")
    return target


fetch_public = Fetcher()
