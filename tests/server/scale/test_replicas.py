"""Ray Serve for real: two replicas, one killed under load, and nobody loses a picture."""

from __future__ import annotations

import importlib.util
import io
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from server import cut, decode, load
from tests.server.conftest import saved
from tests.server.engine.processes import ROOT, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the scale extra"),
]
REQUESTS = 60
CLIENTS = 4
ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "120",  # a loaded machine starts slowly
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "120",
}


@contextmanager
def application(**options: object) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.server.scale.driver", str(port), *(f"{k}={v}" for k, v in options.items())],
        cwd=ROOT,
        env=os.environ | ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=lambda: lines.extend(process.stdout), name="arcp-test-ray")  # type: ignore[arg-type]
    reader.start()
    try:
        until(lambda: "serving\n" in lines or process.poll() is not None, 300)
        assert "serving\n" in lines, "".join(lines[-40:])
        yield f"http://127.0.0.1:{port}", process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(60)
        finally:
            process.kill()
            process.wait()
            reader.join()
            process.stdout.close()


def replicas(deployment: str, driver: subprocess.Popen[str]) -> list[int]:
    """Process ids of the deployment's replicas that descend from the driver."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            names[int(folder.name)] = (folder / "cmdline").read_bytes().decode(errors="replace").strip("\0 ")
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue

    def descends(pid: int) -> bool:
        while pid and pid != driver.pid:
            pid = parents.get(pid, 0)
        return bool(pid)

    return [
        pid
        for pid, name in names.items()
        if name.startswith(f"ray::ServeReplica:default:{deployment}") and descends(pid)
    ]


def load_with(url: str, photos: dict[str, bytes], kill: int) -> list[tuple[str, int | str, bytes]]:
    """(photo, status, answer) of every request; the process is killed after a third of them."""
    answers: list[tuple[str, int | str, bytes]] = []
    lock, numbers = threading.Lock(), iter(range(REQUESTS))

    def client() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            name = list(photos)[number % len(photos)]
            try:
                answer = requests.post(f"{url}/v1/cut", files={"image": photos[name]}, timeout=120)
                outcome: tuple[str, int | str, bytes] = (name, answer.status_code, answer.content)
            except requests.ConnectionError:
                outcome = (name, "closed", b"")
            with lock:
                answers.append(outcome)

    threads = [threading.Thread(target=client, name=f"arcp-test-client-{number}") for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    until(lambda: len(answers) >= REQUESTS // 3, 300)
    os.kill(kill, signal.SIGKILL)
    for thread in threads:
        thread.join()
    return answers


@pytest.fixture(scope="module")
def photos(coffee: np.ndarray) -> dict[str, bytes]:
    turned = {"as it is": coffee, "mirrored": coffee[:, ::-1], "smaller": np.ascontiguousarray(coffee[20:380, 60:560])}
    return {name: saved(np.ascontiguousarray(picture), "PNG") for name, picture in turned.items()}


def cut_by(url: str, photo: bytes) -> tuple[int, bytes]:
    with requests.post(f"{url}/v1/cut", files={"image": photo}, timeout=180) as answer:
        return answer.status_code, answer.content


def test_a_killed_predictor_costs_nobody_a_picture(photos: dict[str, bytes]) -> None:
    with application(model="lite", min_replicas=2, max_replicas=2, cpus=0.5, deadline_s=120) as (url, driver):
        assert requests.get(f"{url}/v2/health/ready", timeout=60).json()["model"] == "lite"
        expected = {name: cut_by(url, data) for name, data in photos.items()}
        assert len(set(expected.values())) == len(photos)
        for name, (status, data) in expected.items():
            alone = cut(decode(photos[name]), load("lite")).mask() > 127
            together = np.asarray(Image.open(io.BytesIO(data)))[..., 3] > 127
            assert status == 200
            assert (alone & together).sum() > 0.99 * (alone | together).sum()

        before = replicas("Predictor", driver)
        assert len(before) == 2
        answers = load_with(url, photos, kill=before[0])
        assert len(answers) == REQUESTS
        for name, status, data in answers:
            assert (status, data) == expected[name], "lost, or another one's answer"
        until(lambda: len(replicas("Predictor", driver)) == 2, 180)
        assert before[0] not in replicas("Predictor", driver)


def test_a_killed_front_leaves_every_request_answered_or_to_be_sent_again(photos: dict[str, bytes]) -> None:
    with application(model="lite", min_replicas=1, max_replicas=1, fronts=2, cpus=0.5, deadline_s=120) as (url, driver):
        expected = {name: cut_by(url, data) for name, data in photos.items()}
        answers = load_with(url, photos, kill=replicas("Front", driver)[0])
        assert len(answers) == REQUESTS
        again = [name for name, status, _ in answers if status in {500, 503, "closed"}]
        assert len(again) <= CLIENTS, "only what that front was working on"
        for name, status, data in answers:
            assert status in {500, 503, "closed"} or (status, data) == expected[name]
        for name in again:
            assert cut_by(url, photos[name]) == expected[name]
