"""The server as a process: killed, stopped, orphaned, misconfigured."""

from __future__ import annotations

import base64
import io
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from PIL import Image

from tests.server.engine.processes import ROOT, ServerProcess, server_process, until

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the child in /proc")
READY_WITHIN = 5.0
"""Seconds of a quiet machine from the kill to the next answer."""


def post(url: str, photo: bytes) -> requests.Response:
    with requests.post(f"{url}/v1/cut", files={"image": photo}, data={"tap": "300,200"}, timeout=60) as answer:
        assert answer.content is not None
    return answer


def test_a_killed_process_is_ready_again_at_the_same_address(coffee_jpeg: bytes) -> None:
    with (
        server_process("--model", "grabcut", "--supervise") as server,
        ThreadPoolExecutor(4, thread_name_prefix="arcp-test") as pool,
    ):
        url = server.url
        stored = _stored(url, coffee_jpeg)
        before = requests.get(stored, timeout=60).content
        assert Image.open(io.BytesIO(before)).mode == "RGBA"

        answers = [pool.submit(_status, url, coffee_jpeg) for _ in range(8)]
        until(lambda: any(answer.done() for answer in answers))
        os.kill(server.child(), signal.SIGKILL)
        ready = requests.get(f"{url}/v2/health/ready", timeout=60)  # waits in the backlog: never refused
        assert ready.status_code == 200
        assert ready.elapsed.total_seconds() < READY_WITHIN * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
        assert {answer.result(60) for answer in answers} <= {200, "closed"}
        assert post(url, coffee_jpeg).status_code == 200
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


def test_a_stop_answers_what_was_begun(coffee_jpeg: bytes) -> None:
    with server_process("--model", "grabcut") as server, ThreadPoolExecutor(4, thread_name_prefix="arcp-test") as pool:
        url = server.url
        answers = [pool.submit(post, url, coffee_jpeg) for _ in range(4)]
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


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--model", "nothing", "--supervise"), "There is no model 'nothing'"),
        (("--require-gpu", "--supervise"), "no CUDA device"),
    ],
)
def test_what_cannot_work_is_not_tried_twice(options: tuple[str, ...], sentence: str) -> None:
    if "--require-gpu" in options:
        from server.engine import gpus

        if gpus():
            pytest.skip("has a GPU")
    run = subprocess.run(
        [sys.executable, "-m", "server", "--port", "0", *options], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 1
    assert run.stderr.count(sentence) == 1


def test_a_taken_port_is_said() -> None:
    with server_process("--model", "grabcut") as server:
        port = server.url.rsplit(":", 1)[1]
        second = ServerProcess("--model", "grabcut", "--supervise", "--port", port)
        assert second.process.wait(120) == 1
        second.close()
        assert "choose another --port" in "".join(second.lines)
