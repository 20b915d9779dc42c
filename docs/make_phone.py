"""Makes docs/phone-*.jpg: the page's states, from a phone's browser that plays the story against a real agent.

``python docs/make_phone.py [--all FOLDER]``; needs Chromium and playwright. ``--all`` writes every state at full size instead.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click
import cv2
import numpy as np

from desktop_agent.runtime import Options
from tests.e2e.phone import CAMERA_SIZE, RGB, on_stage, state
from tests.e2e.story import SAMPLES, Story, played, read, scanned

SHOWN = {"lifted": "1-lifted", "locked": "2-locked", "landed": "3-landed"}
WIDTH = 360


def table() -> RGB:
    """A cup on a table as a phone held upright sees it, uint8 1280x720x3: the photo, and its own wood around it."""
    photo = read("coffee.jpg")
    width, height = CAMERA_SIZE
    scale = 1.36 * width / photo.shape[1]
    size = round(photo.shape[1] * scale), round(photo.shape[0] * scale)
    shown = cv2.resize(photo, size, interpolation=cv2.INTER_CUBIC)
    left, top = (width - size[0]) // 2 + 24, (height - size[1]) // 2 + 30
    around = cv2.copyMakeBorder(shown[:, -left : width - left], top, height - top - size[1], 0, 0, cv2.BORDER_REPLICATE)
    soft = cv2.GaussianBlur(around, (0, 0), 60)
    inside = np.zeros((height, width, 1), np.float32)
    inside[top + 30 : top + size[1] - 30] = 1
    inside = cv2.GaussianBlur(inside, (0, 0), 18)[..., None]
    return np.asarray(inside * around + (1 - inside) * soft, np.uint8)


def play(story: Story, taken: dict[str, bytes]) -> None:
    """Every state once, with its screenshot."""
    page = story.page

    def take(name: str) -> None:
        page.evaluate("() => document.fonts.ready")
        page.wait_for_timeout(600)  # transitions have ended
        taken[name] = page.screenshot()

    story.camera.show(table())
    page.goto(story.running.url)
    page.wait_for_selector("#card:not([hidden])")
    take("unpaired")
    page.goto(scanned(story.running))
    page.wait_for_selector("#card-code:not([hidden])")
    take("paired")
    page.get_by_role("button", name="Open the camera").click()
    state(page, "camera")
    take("camera")
    page.touchscreen.tap(*on_stage(page, (CAMERA_SIZE[0] / 2, CAMERA_SIZE[1] / 2)))
    page.wait_for_selector("#ring:not([hidden])")
    taken["cutting"] = page.screenshot()
    state(page, "picked")
    take("lifted")
    page.get_by_role("button", name="Settings").click()
    take("settings")
    page.locator("#settings [data-close]").click()
    page.get_by_role("button", name="Use this").click()
    state(page, "floating")
    take("searching")
    page.get_by_role("button", name="Paste here").click()
    page.wait_for_selector("#card:not([hidden])")
    take("refused")
    page.get_by_role("button", name="Try again").click()
    story.pinch(0.4)
    story.point()
    story.locked()
    take("locked")
    page.get_by_role("button", name="Paste here").click()
    page.wait_for_selector("#landed:not([hidden])")
    taken["check"] = page.screenshot()
    state(page, "camera")
    story.point()
    take("landed")
    page.get_by_role("button", name="Recent cut-outs").click()
    take("tray")
    page.get_by_role("button", name="Cut-out 1").click()
    take("clip")


@click.command()
@click.option("--all", "folder", type=click.Path(file_okay=False, path_type=Path))
def main(folder: Path | None) -> None:
    """Take the page's pictures."""
    from PIL import Image

    taken: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as home:
        os.environ["ARCP_HOME"] = home
        with played(Path(home), Options(screen=str(SAMPLES / "desktop.png"), port=0, name="Studio PC")) as story:
            play(story, taken)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        for name, png in taken.items():
            (folder / f"{name}.png").write_bytes(png)
        return
    for name, file in SHOWN.items():
        picture = Image.open(io.BytesIO(taken[name])).convert("RGB")
        picture.thumbnail((WIDTH, 10_000), Image.Resampling.LANCZOS)
        picture.save(Path(__file__).parent / f"phone-{file}.jpg", quality=82, optimize=True)


if __name__ == "__main__":
    main()
