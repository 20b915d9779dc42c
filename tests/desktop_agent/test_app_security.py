"""What strangers, foreign pages and broken phones get from the agent: a short answer, no time, no memory, nothing of the screen."""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from flask import Flask
from PIL import Image

from desktop_agent import listener
from desktop_agent.app import MAX_BODY, create_app
from desktop_agent.errors import AgentError
from desktop_agent.listener import listening
from desktop_agent.tls import own_certificate
from tests.desktop_agent.conftest import World

HOST = "127.0.0.1"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> float:
    """Strangers get one second."""
    monkeypatch.setattr(listener, "STRANGER_SECONDS", 1.0)
    return 1.0


@pytest.fixture
def served(world: World) -> Iterator[int]:
    with listening(create_app(world.agent, world.access), HOST, 0) as port:
        yield port


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection((HOST, port), timeout=30) as raw:
        yield raw


def png(width: int, height: int) -> bytes:
    """A valid PNG header over next to no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def small_png() -> bytes:
    out = io.BytesIO()
    Image.new("RGBA", (12, 9), (255, 0, 0, 200)).save(out, "PNG")
    return out.getvalue()


def code(response: requests.Response) -> str:
    return str(response.json()["errors"][0]["code"])


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.0.2.9", "evil.example:8766"])
@pytest.mark.parametrize("path", ["/", "/hello", "/status", "/clips"])
def test_a_foreign_host_name_is_refused(world: World, host: str, path: str) -> None:
    response = world.client.get(path, headers={"Host": host, **world.headers()})
    assert response.status_code == 403
    assert response.get_json()["errors"][0]["code"] == "foreign_host"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:8765", "[::1]:8765", "localhost."])
def test_our_own_names_are_answered(world: World, host: str) -> None:
    assert world.client.get("/hello", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:9999", "https://localhost"])
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/pair"), ("POST", "/cut"), ("POST", "/paste"), ("DELETE", "/pair")]
)
def test_another_page_cannot_act(world: World, origin: str, method: str, path: str) -> None:
    response = world.client.open(path, method=method, headers={"Origin": origin, **world.headers()})
    assert response.status_code == 403
    assert response.get_json()["errors"][0]["code"] == "foreign_origin"
    assert "Access-Control-Allow-Origin" not in response.headers


def test_a_form_of_another_site_is_refused_even_without_an_origin(world: World) -> None:
    response = world.client.post("/pair", headers={"Sec-Fetch-Site": "cross-site"})
    assert response.status_code == 403


def test_a_preflight_grants_nothing(world: World) -> None:
    response = world.client.options(
        "/paste", headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    )
    assert not [name for name, _ in response.headers if name.lower().startswith("access-control")]


def test_get_changes_nothing(world: World) -> None:
    for path in ("/cut", "/paste", "/aim", "/pair"):
        assert world.client.get(path, headers=world.headers()).status_code == 405
    assert world.driver.pasted == []


@pytest.mark.parametrize("path", ["/status", "/clips", "/clips/abcdefghijkl.png", "/screen.png"])
def test_strangers_see_nothing(world: World, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic abc"}, {"Cookie": "arcp=wrong"}):
        assert world.client.get(path, headers=headers).status_code == 401


def test_hello_tells_a_stranger_no_name(world: World) -> None:
    assert world.client.get("/hello").get_json() == {"paired": False, "pairing": False}
    assert world.client.get("/hello", headers=world.headers()).get_json()["name"]


def test_a_revoked_device_is_out_at_once(world: World) -> None:
    device = world.access.devices.all()[0]
    assert world.client.get("/status", headers=world.headers()).status_code == 200
    world.access.devices.revoke(device.id)
    assert world.client.get("/status", headers=world.headers()).status_code == 401


def test_the_token_of_this_computer_works_on_this_computer_only(world: World) -> None:
    headers = world.headers(world.access.local_token)
    assert world.client.get("/status", headers=headers).status_code == 200
    away = world.client.get("/status", headers=headers, environ_base={"REMOTE_ADDR": "192.168.1.9"})
    assert (away.status_code, away.get_json()["errors"][0]["code"]) == (401, "loopback_only")


def test_the_screen_never_leaves_the_computer(world: World) -> None:
    for token in (world.token, world.access.local_token):
        assert world.client.get("/screen.png", headers=world.headers(token)).status_code in {401, 404}


def test_two_phones_see_their_own_clips_only(world: World) -> None:
    _, second = world.access.devices.add("second phone")
    added = world.client.post(
        "/clips", data={"image": (io.BytesIO(small_png()), "x.png")}, headers=world.headers()
    ).get_json()["clip"]
    assert [clip["clip"] for clip in world.client.get("/clips", headers=world.headers()).get_json()["clips"]] == [added]
    assert world.client.get("/clips", headers=world.headers(second)).get_json()["clips"] == []
    for method, path in (("GET", f"/clips/{added}.png"), ("DELETE", f"/clips/{added}")):
        assert world.client.open(path, method=method, headers=world.headers(second)).status_code == 404
    pasted = world.client.post(
        "/paste", data={"view": (io.BytesIO(small_png()), "v"), "clip": added}, headers=world.headers(second)
    )
    assert pasted.status_code == 404
    assert world.client.get(f"/clips/{added}.png", headers=world.headers()).status_code == 200


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "..\\..\\x", "/etc/passwd", "a\x00b", "x" * 5000, "<script>.png"]
)
def test_names_that_a_phone_sends_name_nothing(world: World, tmp_path: Path, name: str) -> None:
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    data = {"image": (io.BytesIO(small_png()), name), "model": name}
    response = world.client.post("/clips", data=data, headers=world.headers())
    assert response.status_code == 200
    new = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    clip = response.get_json()["clip"]
    assert {path.name for path in new} == {f"{clip}.png", f"{clip}.json"}
    assert name not in "".join(path.read_text(errors="replace") for path in new)


@pytest.mark.parametrize(
    "path",
    [
        "/clips/../../devices.json",
        "/clips/%2e%2e%2fdevices.json.png",
        "/web/../access.py",
        "/web/%2e%2e/client.py",
        "/web/etc/passwd",
    ],
)
def test_paths_lead_nowhere_else(world: World, path: str) -> None:
    assert world.client.get(path, headers=world.headers()).status_code in {400, 404}


def test_what_a_phone_sends_is_encoded_anew(world: World) -> None:
    out = io.BytesIO()
    picture = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    from PIL.PngImagePlugin import PngInfo

    notes = PngInfo()
    notes.add_text("comment", "<script>alert(1)</script>")
    picture.save(out, "PNG", pnginfo=notes)
    data = out.getvalue() + b"trailing <script>"
    clip = world.client.post("/clips", data={"image": (io.BytesIO(data), "x")}, headers=world.headers()).get_json()[
        "clip"
    ]
    kept = world.client.get(f"/clips/{clip}.png", headers=world.headers())
    assert b"script" not in kept.data
    assert kept.mimetype == "image/png"
    assert kept.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("field", ["image", "view"])
def test_a_decompression_bomb_costs_a_header(world: World, field: str) -> None:
    bomb = png(30_000, 30_000)
    path = "/cut" if field == "image" else "/aim"
    began = time.process_time()
    response = world.client.post(path, data={field: (io.BytesIO(bomb), "x")}, headers=world.headers())
    assert time.process_time() - began < 2
    told = response.get_json()
    message = told["message"] if field == "view" else told["errors"][0]["detail"]
    assert "megapixels" in message
    clips = world.client.post("/clips", data={"image": (io.BytesIO(bomb), "x")}, headers=world.headers())
    assert clips.status_code == 413


def test_a_large_form_field_is_refused(served: int, world: World) -> None:
    answer = requests.post(
        f"http://{HOST}:{served}/paste", files={"clip": (None, "c" * 600_000)}, headers=world.headers(), timeout=20
    )
    assert answer.status_code == 413


def test_the_page_may_run_its_own_files_only(world: World) -> None:
    page = world.client.get("/", buffered=True)
    text = page.get_data(as_text=True)
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "<style" not in text
    assert " style=" not in text
    assert " on" not in "".join(part.split(">")[0] for part in text.split("<button")[1:]).replace(" one-", "")
    assert "<script>" not in text
    assert "http://" not in text.replace("http://www.w3.org", "")


def test_a_large_stranger_is_answered_without_reading_it(served: int) -> None:
    with connected(served) as raw:
        head = (
            f"POST /cut HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {MAX_BODY}\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        )
        raw.sendall(head.encode() + b"x" * 20_000)
        began = time.monotonic()
        answer = raw.recv(4096)
        assert answer.startswith(b"HTTP/1.1 401")
        assert time.monotonic() - began < 5
        rest = answer
        while True:
            try:
                more = raw.recv(4096)
            except ConnectionResetError:
                break
            if not more:
                break
            rest += more
        assert b"scan the code" in rest


@pytest.mark.parametrize("size", [9 << 10, 1 << 20])
def test_a_pairing_request_has_eight_kilobytes(served: int, size: int) -> None:
    body = b'{"token": "' + b"x" * size + b'"}'
    response = requests.post(
        f"http://{HOST}:{served}/pair", data=body, headers={"Content-Type": "application/json"}, timeout=20
    )
    assert (response.status_code, code(response)) == (413, "too_large")


def test_large_headers_are_refused(served: int) -> None:
    response = requests.get(f"http://{HOST}:{served}/hello", headers={"X-Large": "x" * 20_000}, timeout=20)
    assert response.status_code == 413


def test_a_body_of_unknown_length_is_refused(served: int) -> None:
    response = requests.post(f"http://{HOST}:{served}/pair", data=iter([b"{}"]), timeout=20)
    assert response.status_code == 411


@pytest.mark.parametrize("sent", [b"", b"POST /pair HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ", b"GET"])
def test_slow_headers_end(world: World, short: float, sent: bytes) -> None:
    with listening(create_app(world.agent, world.access), HOST, 0) as port, connected(port) as raw:
        raw.sendall(sent or b"P")
        assert ended_after(raw, b"x") < short + 3


def test_a_slow_body_of_a_stranger_ends(world: World, short: float) -> None:
    with listening(create_app(world.agent, world.access), HOST, 0) as port, connected(port) as raw:
        raw.sendall(
            f"POST /pair HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: 8000\r\n\r\n".encode()
        )
        assert ended_after(raw, b" ") < short + 3


def ended_after(raw: socket.socket, drip: bytes) -> float:
    """Send a byte every tenth of a second until the other side ends; the seconds that took."""
    began = time.monotonic()
    raw.settimeout(0.1)
    while time.monotonic() - began < 20:
        try:
            raw.sendall(drip)
            if not raw.recv(4096):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - began


def test_a_known_device_has_more_time_than_a_stranger(world: World, short: float) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + small_png() + b"\r\n--x--\r\n"
    with listening(create_app(world.agent, world.access), HOST, 0) as port, connected(port) as raw:
        raw.sendall(
            (
                f"POST /clips HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {world.token}\r\nContent-Length: {len(body)}\r\n"
                "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
            ).encode()
        )
        for start in range(0, len(body), len(body) // 4):
            raw.sendall(body[start : start + len(body) // 4])
            time.sleep(0.5)
        assert raw.recv(4096).startswith(b"HTTP/1.1 200")


def test_slow_strangers_do_not_keep_a_phone_waiting(world: World, tmp_path: Path, short: float) -> None:
    certificate = own_certificate(tmp_path / "tls", [])
    with listening(create_app(world.agent, world.access), HOST, 0, certificate) as port:
        silent = [socket.create_connection((HOST, port)) for _ in range(30)]  # none says a word of TLS
        try:
            began = time.monotonic()
            answer = requests.get(
                f"https://{HOST}:{port}/status", headers=world.headers(), verify=str(certificate.authority), timeout=20
            )
            assert answer.status_code == 200
            assert time.monotonic() - began < 10
        finally:
            for connection in silent:
                connection.close()


def test_plain_http_on_the_https_port_is_dropped_and_https_goes_on(world: World, tmp_path: Path) -> None:
    certificate = own_certificate(tmp_path / "tls", [])
    with listening(create_app(world.agent, world.access), HOST, 0, certificate) as port:
        with connected(port) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):  # ended without a word, which is as good
                assert b"HTTP/1.1 200" not in raw.recv(4096)
        answer = requests.get(f"https://{HOST}:{port}/hello", verify=str(certificate.authority), timeout=20)
        assert answer.status_code == 200


def test_old_tls_is_refused(world: World, tmp_path: Path) -> None:
    certificate = own_certificate(tmp_path / "tls", [])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLS"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        listening(create_app(world.agent, world.access), HOST, 0, certificate) as port,
        connected(port) as raw,
        pytest.raises(OSError, match=r"(?i)version|reset|alert|eof|protocol"),
    ):
        context.wrap_socket(raw)


def test_many_requests_at_once_are_all_answered(served: int, world: World) -> None:
    codes: list[int] = []

    def ask() -> None:
        for _ in range(5):
            codes.append(requests.get(f"http://{HOST}:{served}/clips", headers=world.headers(), timeout=30).status_code)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [200] * 30


def test_a_taken_port_is_named_and_leaves_no_socket_open(served: int) -> None:
    """A socket that is left open fails the test as a warning."""
    with pytest.raises(AgentError, match="choose another --port"), listening(Flask("second"), HOST, served):
        pass
