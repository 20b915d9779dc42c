"""Screenshots of real applications under a virtual display: material for ``benchmarks/locate.py``.

    python benchmarks/locate_captures.py FOLDER

Needs Xvfb and openbox; applications that are not installed are left out. Nothing is fetched: documents and pages are written here,
pictures come from scikit-image.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import mss
import numpy as np
import skimage
from PIL import Image

PICTURES = Path(skimage.__file__).parent / "data"
WORDS = re.findall(
    r"\w+",
    "the screen shows a window with a menu and a list of files where every row has a name a size and a date while the editor "
    "below keeps the text of a letter that somebody began to write yesterday about a garden a kettle and two bicycles",
)


@dataclass(frozen=True)
class Scene:
    name: str
    command: list[str]
    size: tuple[int, int] = (1920, 1080)
    wait: float = 12.0
    environment: dict[str, str] = field(default_factory=dict)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        for number, scene in enumerate(scenes(Path(home))):
            target = folder / f"{scene.name}.png"
            if target.exists() or shutil.which(scene.command[0]) is None:
                continue
            with display(70 + number, scene.size, home) as environment:
                capture(scene, {**environment, **scene.environment}, target)
                print(target, flush=True)


def scenes(home: Path) -> Iterator[Scene]:
    coffee, cat, rocket, astronaut = (
        str(PICTURES / name) for name in ("coffee.png", "chelsea.png", "rocket.jpg", "astronaut.png")
    )
    for name, page in pages().items():
        file = home / f"{name}.html"
        file.write_text(page, encoding="utf-8")
        size = {"table": (1366, 768), "code": (2560, 1440), "form": (1280, 1024)}.get(name, (1920, 1080))
        yield Scene(f"chromium-{name}", [*_chromium(home / f"profile-{name}"), f"file://{file}"], size, 10)
    listing = home / "listing.sh"
    listing.write_text("ls -l /usr/bin | head -60; ls --color=always /etc; sleep 60\n", encoding="utf-8")
    yield Scene(
        "xterm-dark",
        ["xterm", "-bg", "#1d1f21", "-fg", "#c5c8c6", "-geometry", "150x50+60+40", "-e", "sh", str(listing)],
        wait=4,
    )
    yield Scene(
        "xterm-light",
        ["xterm", "-bg", "white", "-fg", "black", "-geometry", "120x40", "-e", "sh", str(listing)],
        (1366, 768),
        4,
    )
    yield Scene("inkscape-picture", ["inkscape", cat], wait=20)
    drawing = home / "drawing.svg"
    drawing.write_text(_drawing(), encoding="utf-8")
    yield Scene("inkscape-drawing", ["inkscape", str(drawing)], (1600, 900), 20)
    yield Scene("gimp-picture", ["gimp", "--no-splash", coffee], wait=30)
    yield Scene("gimp-empty", ["gimp", "--no-splash"], (1680, 1050), 25)
    yield Scene("krita-picture", ["krita", "--nosplash", rocket], wait=30)
    text = home / "letter.txt"
    text.write_text("\n\n".join(_prose(90, seed) for seed in range(12)), encoding="utf-8")
    office = [
        "soffice",
        "--norestore",
        "--nologo",
        "--nofirststartwizard",
        f"-env:UserInstallation=file://{home}/office",
    ]
    yield Scene("writer-text", [*office, "--writer", str(text)], wait=25)
    yield Scene("draw-picture", [*office, "--draw", astronaut], wait=25)
    yield Scene("impress-empty", [*office, "--impress"], (1440, 900), 25)


def _chromium(profile: Path) -> list[str]:
    flags = [
        "--no-sandbox",
        "--no-first-run",
        "--disable-gpu",
        "--start-maximized",
        "--disable-dev-shm-usage",
        "--password-store=basic",
    ]
    return ["chromium", *flags, f"--user-data-dir={profile}"]


@contextmanager
def display(number: int, size: tuple[int, int], home: str) -> Iterator[dict[str, str]]:
    """A virtual display with a window manager; ends everything that was started on it."""
    name = f":{number}"
    environment = {**os.environ, "DISPLAY": name, "HOME": home, "LC_ALL": "C.UTF-8", "NO_AT_BRIDGE": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(["Xvfb", name, "-screen", "0", f"{size[0]}x{size[1]}x24", "-nolisten", "tcp"], **quiet)
    time.sleep(1.5)
    manager = subprocess.Popen(["openbox"], env=environment, **quiet)
    try:
        yield environment
    finally:
        for process in (manager, server):
            process.terminate()
            process.wait(timeout=10)


def capture(scene: Scene, environment: dict[str, str], target: Path) -> None:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(["xsetroot", "-solid", "#31526b"], env=environment, check=False, **quiet)
    process = subprocess.Popen(scene.command, env=environment, start_new_session=True, **quiet)
    try:
        time.sleep(scene.wait)
        subprocess.run(
            ["wmctrl", "-r", ":ACTIVE:", "-b", "add,maximized_vert,maximized_horz"],
            env=environment,
            check=False,
            **quiet,
        )
        time.sleep(2)
        with mss.MSS(display=environment["DISPLAY"]) as grabber:
            shot = grabber.grab(grabber.monitors[1])
        pixels = np.frombuffer(shot.bgra, np.uint8).reshape(shot.height, shot.width, 4)[..., 2::-1]
        if pixels.std() > 4:
            Image.fromarray(np.ascontiguousarray(pixels)).save(target, optimize=True)
    finally:
        os.killpg(process.pid, 15)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def _prose(words: int, seed: int) -> str:
    rng = np.random.default_rng(seed)
    return " ".join(str(word) for word in rng.choice(WORDS, words)).capitalize() + "."


def pages() -> dict[str, str]:
    """Pages of many kinds: article, dark article, table, code, gallery, form, plain slide."""
    article = "".join(f"<h2>{_prose(5, i)}</h2><p>{_prose(130, i + 50)}</p>" for i in range(8))
    rows = "".join(
        f"<tr><td>{i}</td><td>{_prose(3, i)}</td><td>{(i * 7919) % 1000}.{i % 10}</td><td>{_prose(2, i + 9)}</td></tr>"
        for i in range(40)
    )
    code = "\n".join(
        f"{'    ' * (i % 4)}{_prose(1 + i % 7, i).replace(' ', '_')} = call({i * 31 % 97}, '{_prose(2, i + 3)}')"
        for i in range(70)
    )
    gallery = "".join(
        f'<p style="display:inline-block"><img height=230 src="file://{PICTURES / name}"><br>{name}</p>'
        for name in (
            "astronaut.png",
            "coffee.png",
            "chelsea.png",
            "rocket.jpg",
            "hubble_deep_field.jpg",
            "motorcycle_left.png",
            "ihc.png",
        )
    )
    form = "".join(
        f"<p><label>{_prose(2, i)} <input value='{_prose(2, i + 5)}'></label> <button>go</button></p>"
        for i in range(12)
    )
    dark = "<style>body{background:#16181c;color:#d5d8dc;font:17px sans-serif;max-width:900px;margin:auto}</style>"
    light = "<style>body{font:16px serif;max-width:1000px;margin:auto}td{border:1px solid #999;padding:3px 9px}</style>"
    mono = "<style>body{background:#282c34;color:#abb2bf;font:15px monospace}</style>"
    return {
        "article": light + article,
        "dark": dark + article,
        "table": light + f"<h1>Figures</h1><table>{rows}</table>",
        "code": mono + f"<pre>{code}</pre>",
        "gallery": dark + gallery,
        "form": light + form,
        "slide": "<body style='font:90px sans-serif;text-align:center'><p>Quarterly results</p><h1>+12 %</h1></body>",
    }


def _drawing() -> str:
    rng = np.random.default_rng(4)
    shapes = []
    for _ in range(40):
        x, y, w, h = rng.integers(10, 600, 4)
        colour = f"rgb({','.join(str(v) for v in rng.integers(0, 256, 3))})"
        shapes.append(f'<rect x="{x}" y="{y}" width="{w // 4}" height="{h // 4}" rx="8" fill="{colour}" opacity=".8"/>')
        shapes.append(f'<text x="{x}" y="{y}" font-size="22">{rng.choice(WORDS)}</text>')
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="800" height="600">{"".join(shapes)}</svg>'


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "captures"))
