"""onnxruntime-web for the page's setting "cut on this phone": fetched once through npm, pinned and checked, never vendored."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mobile_client_stub.client import PhoneError
from mobile_client_stub.home import home

PINS = Path(__file__).parent / "web" / "ondevice.json"
"""Package, version, the archive's integrity (W3C SRI, sha512) and each file's SHA-256."""
FOLDER = "web-assets"
NPM_SECONDS = 600


def web_assets(pins: dict[str, Any] | None = None, pack: Callable[[str, Path], Path] | None = None) -> Path:
    """Have the package's files in the user's data folder; the folder. Raises ``PhoneError`` with what to do.

    ``pack`` gets a package's archive into a folder; the default asks npm.
    """
    pins = pins or json.loads(PINS.read_text())
    name = f"{pins['package']}-{pins['version']}"
    folder = home() / FOLDER / name
    if _complete(folder, pins["files"]):
        return folder
    with tempfile.TemporaryDirectory() as scratch:
        archive = (pack or npm_pack)(f"{pins['package']}@{pins['version']}", Path(scratch))
        _check(archive.read_bytes(), pins["integrity"], archive.name)
        files = _read(archive, pins["files"])
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for file, data in files.items():
        partial = folder / f"{file}.part"
        partial.write_bytes(data)
        partial.replace(folder / file)
    return folder


def npm_pack(package: str, folder: Path) -> Path:
    """``npm pack``: the archive as the registry has it; no script of it runs. Raises ``PhoneError``."""
    npm = shutil.which("npm")
    if npm is None:
        raise PhoneError("npm is not installed: install Node.js (apt install npm, or nodejs.org), then run this again.")
    command = [npm, "pack", package, "--ignore-scripts", "--silent", "--pack-destination", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=NPM_SECONDS, check=False, cwd=folder)
    except subprocess.TimeoutExpired as error:
        raise PhoneError(f"npm did not get {package} in time: check the network, then run this again.") from error
    archives = list(folder.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        reason = (done.stderr.strip().splitlines() or ["no archive came"])[-1][:200]
        raise PhoneError(f"npm could not get {package} ({reason}): check the network, then run this again.")
    return archives[0]


def _check(data: bytes, integrity: str, name: str) -> None:
    algorithm, _, wanted = integrity.partition("-")
    if base64.b64encode(hashlib.new(algorithm, data).digest()).decode() != wanted:
        raise PhoneError(f"{name} is not the pinned package: nothing was kept. Check which registry npm uses.")


def _read(archive: Path, files: dict[str, str]) -> dict[str, bytes]:
    """The named files of the package's ``dist`` folder, by exact name."""
    found = {}
    with tarfile.open(archive) as package:
        for name, wanted in files.items():
            try:
                member = package.extractfile(f"package/dist/{name}")
            except KeyError:
                member = None
            data = member.read() if member else b""
            if hashlib.sha256(data).hexdigest() != wanted:
                raise PhoneError(f"{name} in {archive.name} is not the pinned file: nothing was kept.")
            found[name] = data
    return found


def _complete(folder: Path, files: dict[str, str]) -> bool:
    try:
        return all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == want for name, want in files.items())
    except OSError:
        return False
