"""The runtime for cutting on the phone: only the pinned package is kept, and the agent hands out only what is whole."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from mobile_client_stub import web_assets as module
from mobile_client_stub.client import PhoneError
from mobile_client_stub.web_assets import PINS, npm_pack, web_assets

FILES = {"runtime.mjs": b"export default 1", "runtime.wasm": b"\0asm\1\0\0\0"}


def archive(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as package:
        for name, data in {**files, "../outside": b"x"}.items():
            info = tarfile.TarInfo(f"package/dist/{name}")
            info.size = len(data)
            package.addfile(info, io.BytesIO(data))
    return out.getvalue()


def pins(data: bytes, files: dict[str, bytes] = FILES) -> dict[str, Any]:
    digest = base64.b64encode(hashlib.sha512(data).digest()).decode()
    return {
        "package": "runtime",
        "version": "1.2.3",
        "integrity": f"sha512-{digest}",
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }


class Pack:
    """npm, for the seam: writes an archive and counts."""

    def __init__(self, data: bytes) -> None:
        self.data, self.asked = data, []

    def __call__(self, package: str, folder: Path) -> Path:
        self.asked.append(package)
        (folder / "runtime.tgz").write_bytes(self.data)
        return folder / "runtime.tgz"


def test_the_pinned_files_are_kept_and_fetched_once(private_home: Path) -> None:
    data = archive(FILES)
    pack = Pack(data)
    folder = web_assets(pins(data), pack)
    assert folder == private_home / "web-assets" / "runtime-1.2.3"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert web_assets(pins(data), pack) == folder
    assert pack.asked == ["runtime@1.2.3"]


def test_a_damaged_file_is_fetched_again(private_home: Path) -> None:
    data = archive(FILES)
    pack = Pack(data)
    (web_assets(pins(data), pack) / "runtime.wasm").write_bytes(b"cut off")
    folder = web_assets(pins(data), pack)
    assert (folder / "runtime.wasm").read_bytes() == FILES["runtime.wasm"]
    assert len(pack.asked) == 2


@pytest.mark.parametrize("wrong", ["archive", "file", "missing"])
def test_anything_else_is_refused_and_nothing_is_kept(private_home: Path, wrong: str) -> None:
    data = archive(FILES if wrong != "missing" else {"runtime.mjs": FILES["runtime.mjs"]})
    wanted = pins(data)
    if wrong == "archive":
        wanted["integrity"] = pins(b"another")["integrity"]
    elif wrong == "file":
        wanted["files"]["runtime.wasm"] = "00" * 32
    with pytest.raises(PhoneError, match="not the pinned"):
        web_assets(wanted, Pack(data))
    assert not (private_home / "web-assets").exists()


def test_without_npm_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    with pytest.raises(PhoneError, match=r"Node\.js"):
        npm_pack("runtime@1.2.3", tmp_path)


def test_the_shipped_pins_are_complete() -> None:
    shipped = json.loads(PINS.read_text())
    assert shipped["integrity"].startswith("sha512-")
    assert [Path(name).suffix for name in shipped["files"]] == [".mjs", ".wasm"]
    assert all(len(bytes.fromhex(digest)) == 32 for digest in shipped["files"].values())
