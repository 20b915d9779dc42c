from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image


def server(*arguments: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "server", *arguments], input=data, capture_output=True, timeout=120, check=False
    )


@pytest.fixture
def photo(tmp_path: Path, coffee_jpeg: bytes) -> Path:
    path = tmp_path / "cup.jpg"
    path.write_bytes(coffee_jpeg)
    return path


def opened(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


def cut(*arguments: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return server("cut", *arguments, "--model", "grabcut", data=data)


def test_a_file_in_its_own_size(photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "cup.png"
    done = cut(str(photo), "-o", str(out), "--tap", "300,200", "--json")
    assert done.returncode == 0, done.stderr
    assert opened(out).size == (600, 400)
    line = json.loads(done.stdout)
    assert line["status"] == "ok"
    assert {"box", "image_size", "coverage", "score", "model", "timings_ms"} <= set(line)


def test_crop_mask_and_colour(photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    box = json.loads(cut(str(photo), "-o", str(out), "--crop", "--json").stdout)["box"]
    assert opened(out).size == (box[2] - box[0], box[3] - box[1])
    cut(str(photo), "-o", str(out), "--only-mask")
    mask = opened(out)
    assert (mask.mode, mask.size) == ("L", (600, 400))
    cut(str(photo), "-o", str(out), "--bgcolor", "#ff00ff")
    coloured = np.asarray(opened(out))
    assert coloured.shape == (400, 600, 3)
    assert coloured[2, 2].tolist() == [255, 0, 255]


def test_pipes_and_messages_do_not_mix(coffee_jpeg: bytes) -> None:
    done = cut("-", "-o", "-", "--json", data=coffee_jpeg)
    assert Image.open(io.BytesIO(done.stdout)).mode == "RGBA"
    assert json.loads(done.stderr)["status"] == "ok"


def test_a_folder_goes_on_after_failures(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    Image.new("RGB", (300, 200)).save(tmp_path / "black.png")
    done = cut(str(tmp_path), "-o", str(tmp_path / "out"), "--json")
    assert done.returncode == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {Path(line["image"]).name: line["status"] for line in lines} == {
        "black.png": "no_object",
        "broken.jpg": "failed",
        "cup.jpg": "ok",
    }
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["cup.png"]


def test_no_object_is_exit_code_3_and_writes_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (300, 200)).save(tmp_path / "black.png")
    done = cut(str(tmp_path / "black.png"), "-o", str(tmp_path / "out.png"), "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["status"] == "no_object"
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.jpg", "-o", "x.png"], "nowhere.jpg cannot be read"),
        (["PHOTO", "-o", "x.png", "--tap", "far"], "tap is 'x,y'"),
        (["PHOTO", "-o", "x.png", "--tap", "9000,1"], "outside the 600 x 400 picture"),
        (["PHOTO", "-o", "x.png", "--bgcolor", "blurple"], "not a colour"),
        (["PHOTO", "-o", "x.png", "--only-mask", "--bgcolor", "red"], "leave out --bgcolor"),
    ],
)
def test_mistakes_get_one_clear_line(photo: Path, arguments: list[str], words: str) -> None:
    done = cut(*[str(photo) if argument == "PHOTO" else argument for argument in arguments])
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert words in done.stderr.decode()


def test_models_lists_the_default() -> None:
    rows = json.loads(server("models", "--json").stdout)
    assert [row["name"] for row in rows if row["default"]]
    assert {
        "name",
        "task",
        "parameters",
        "gmacs",
        "input",
        "weights",
        "code_licence",
        "weights_licence",
        "source",
    } <= set(rows[0])
    assert b"grabcut" in server("models").stdout


def test_it_serves_and_stops(coffee_jpeg: bytes) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "server", "--model", "grabcut", "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if requests.get(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5).ok:
                    break
            except requests.ConnectionError:
                time.sleep(0.1)
        answer = requests.post(f"http://127.0.0.1:{port}/v1/cut", files={"image": coffee_jpeg}, timeout=60)
        assert answer.status_code == 200
        second = server("--model", "grabcut", "--port", str(port))
        assert second.returncode == 1
        assert b"choose another --port" in second.stderr
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_a_server_that_cannot_start_says_so_and_ends() -> None:
    for wrong in (["--rate-limit", "nonsense"], ["--cert", "mine.pem"]):
        done = server("--model", "grabcut", "--port", "0", *wrong)
        assert done.returncode == 1
        assert wrong[0].encode() in done.stderr.splitlines()[-1]


def test_importing_the_package_needs_no_torch() -> None:
    code = "import sys, server, server.app, server.networks.catalogue; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_cutting_on_the_command_line_loads_nothing_of_the_http_face() -> None:
    """A third of the time that one small picture takes."""
    code = "import sys, server.__main__; sys.exit(bool({'flask', 'cheroot', 'urllib3', 'fsspec'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_the_options_of_cut_reach_the_pipeline(photo: Path, tmp_path: Path) -> None:
    done = cut(str(photo), "-o", str(tmp_path / "out.png"), "--matting", "--crop", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["methods"] == {"matting": "closed-form"}
    done = cut(str(photo), "-o", str(tmp_path / "sheet.png"), "--mode", "sheet")
    assert done.returncode == 3, done.stderr
    assert not (tmp_path / "sheet.png").exists()
