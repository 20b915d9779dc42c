"""The server as a process: killed, stopped, orphaned, misconfigured."""

from __future__ import annotations

import base64
import io
import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from tests.server.conftest import saved
from tests.server.engine.processes import ServerProcess, server_process, until

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the child in /proc")
READY_WITHIN = 5.0
"""Seconds of a quiet machine from the kill to the next answer."""


@pytest.fixture(scope="module")
def small_jpeg(coffee: np.ndarray) -> bytes:
    return saved(np.ascontiguousarray(coffee[::3, ::3]), "JPEG", quality=92)


def post(url: str, photo: bytes) -> requests.Response:
    with requests.post(f"{url}/v1/cut", files={"image": photo}, data={"tap": "100,67"}, timeout=60) as answer:
        assert answer.content is not None
    return answer


def test_a_killed_process_is_ready_again_at_the_same_address(small_jpeg: bytes) -> None:
    with (
        server_process("--model", "grabcut", "--supervise") as server,
        ThreadPoolExecutor(4, thread_name_prefix="arcp-test") as pool,
    ):
        url = server.url
        stored = _stored(url, small_jpeg)
        before = requests.get(stored, timeout=60).content
        assert Image.open(io.BytesIO(before)).mode == "RGBA"

        answers = [pool.submit(_status, url, small_jpeg) for _ in range(8)]
        until(lambda: any(answer.done() for answer in answers))
        os.kill(server.child(), signal.SIGKILL)
        ready = requests.get(f"{url}/v2/health/ready", timeout=60)  # waits in the backlog: never refused
        assert ready.status_code == 200
        assert ready.elapsed.total_seconds() < READY_WITHIN * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
        assert {answer.result(60) for answer in answers} <= {200, "closed"}
        assert post(url, small_jpeg).status_code == 200
        assert requests.get(stored, timeout=60).content == before, "what was stored is intact"
        assert len(server.urls()) == 2
        assert len(set(server.urls())) == 1
        assert any("SIGKILL" in line for line in server.lines)


def _stored(url: str, photo: bytes) -> str:
    """The address of a kept result."""
    fields = {"image_base64": base64.b64encode(photo).decode(), "output_format": "url"}
    address: str = requests.post(f"{url}/remove", data=fields, timeout=60).json()["response"]["image_url"]
    return address


def _status(url: str, photo: bytes) -> int | str:
    try:
        return post(url, photo).status_code
    except requests.ConnectionError:
        return "closed"


def test_a_stop_answers_what_was_begun(small_jpeg: bytes) -> None:
    with server_process("--model", "grabcut") as server, ThreadPoolExecutor(4, thread_name_prefix="arcp-test") as pool:
        url = server.url
        answers = [pool.submit(post, url, small_jpeg) for _ in range(4)]
        until(lambda: " 4.0" in _metric(url, "arcp_http_in_flight") or any(answer.done() for answer in answers))
        server.process.send_signal(signal.SIGTERM)
        assert [answer.result(60).status_code for answer in answers] == [200] * 4
        assert server.process.wait(60) == 0
        assert server.lines[-1] == "Stopped.\n"


def _metric(url: str, name: str) -> str:
    return next(
        line for line in requests.get(f"{url}/metrics", timeout=60).text.splitlines() if line.startswith(name + " ")
    )


def test_the_server_ends_with_its_supervisor() -> None:
    with server_process("--model", "grabcut", "--supervise") as server:
        child = server.child()
        server.process.kill()
        until(lambda: not Path(f"/proc/{child}/cmdline").exists() or not Path(f"/proc/{child}/cmdline").read_bytes())


def test_what_cannot_work_is_not_tried_twice() -> None:
    with server_ending("--model", "nothing", "--supervise") as server:
        assert "".join(server.lines).count("There is no model 'nothing'") == 1


def test_a_taken_port_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with server_ending("--model", "grabcut", "--supervise", "--port", port) as server:
            assert "choose another --port" in "".join(server.lines)


@contextmanager
def server_ending(*options: str) -> Iterator[ServerProcess]:
    """One that gives up by itself."""
    server = ServerProcess(*options)
    assert server.process.wait(120) == 1
    server.close()
    yield server
