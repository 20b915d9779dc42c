"""docs/api.md: every curl line works as pasted."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from server.app import Settings, create_app
from server.wsgi import serving
from tests.server.conftest import saved
from tests.server.dialects.conftest import cut_red, picture

TEXT = (Path(__file__).parents[2] / "docs/api.md").read_text()
LINES = [
    line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines() if "curl" in line
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photo.jpg").write_bytes(saved(picture().repeat(2, 0).repeat(2, 1), "JPEG", quality=95))
    return tmp_path


def test_every_curl_line_works_as_pasted(folder: Path) -> None:
    with serving(create_app(Settings(model="red", cut=cut_red)), "127.0.0.1", 0) as (_, port):
        for line in LINES:
            pasted = line.replace("localhost:8000", f"127.0.0.1:{port}")
            done = subprocess.run(["bash", "-c", pasted], cwd=folder, capture_output=True, timeout=120, check=False)
            assert done.returncode == 0, (line, done.stderr.decode())
            check((folder / line.split("-o ")[-1].strip()).read_bytes())


def check(data: bytes) -> None:
    """A picture, a ZIP of pictures, or JSON that holds or names one."""
    if data.startswith(b"PK"):
        assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None
    elif data.startswith(b"{"):
        answer = json.loads(data)
        body = answer.get("data") or answer["response"]
        packed = body.get("result_b64") or body.get("image_base64")
        if packed:
            check(base64.b64decode(packed))
        else:
            assert body["image_url"].startswith("http://127.0.0.1")
    else:
        Image.open(io.BytesIO(data)).verify()


def test_each_dialect_has_a_line() -> None:
    addresses = {re.search(r"localhost:8000([^\s'?]*)", line)[1] for line in LINES}  # type: ignore[index]
    assert addresses == {"/v1/cut", "/v1.0/removebg", "/api/remove", "/remove", ""}
