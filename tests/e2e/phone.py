"""A phone for tests and benchmarks: Chromium with a phone's profile and a camera that shows pictures of our own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

RGB = NDArray[np.uint8]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CAMERA_SIZE = (720, 1280)
SCREEN = {"width": 412, "height": 915}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]


class FakeCamera:
    """A y4m file of one still picture, ``CAMERA_SIZE`` pixels, that is exchanged while the browser runs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def show(self, picture: RGB, zoom: float = 1.0) -> None:
        """uint8 HxWx3 in the middle of the camera's portrait picture, ``zoom`` times as large as it fits; mirrored around."""
        width, height = CAMERA_SIZE
        scale = zoom * min(width / picture.shape[1], height / picture.shape[0])
        middle = np.array(
            [[scale, 0, (width - scale * picture.shape[1]) / 2], [0, scale, (height - scale * picture.shape[0]) / 2]]
        )
        shown = cv2.warpAffine(picture, middle, (width, height), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT)
        planes = cv2.cvtColor(shown, cv2.COLOR_RGB2YUV_I420).tobytes()
        partial = self.path.with_suffix(".part")
        partial.write_bytes(f"YUV4MPEG2 W{width} H{height} F20:1 Ip A1:1 C420jpeg\n".encode() + b"FRAME\n" + planes)
        os.replace(partial, self.path)


@contextmanager
def browser(camera: FakeCamera) -> Iterator[Browser]:
    """Headless Chromium; nothing of it is left afterwards."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*FLAGS, f"--use-file-for-fake-video-capture={camera.path}"]
        )
        try:
            yield started
        finally:
            started.close()


def phone(started: Browser, *, width: int = SCREEN["width"], height: int = SCREEN["height"]) -> BrowserContext:
    """A fresh profile with touch; certificates are clicked through, as a person would once."""
    context = started.new_context(
        viewport={"width": width, "height": height},
        device_scale_factor=2.625,
        is_mobile=True,
        has_touch=True,
        ignore_https_errors=True,
        user_agent="Mozilla/5.0 (Linux; Android 14; Pixel 7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 "
        "Mobile Safari/537.36",
    )
    context.set_default_timeout(60_000)
    return context


def state(page: Page, name: str) -> None:
    """Wait until the page is in this state."""
    page.wait_for_function("name => document.body.dataset.state === name", arg=name)


def look_again(page: Page) -> None:
    """The camera's picture was exchanged: reopen the stream, as a phone does that comes back from the background."""
    page.evaluate(
        """async () => {
            const {camera} = await import('/web/session.js');
            await camera.open();
            await new Promise((seen) => document.getElementById('live').requestVideoFrameCallback(seen));
        }"""
    )


def on_stage(page: Page, picture_xy: tuple[float, float]) -> tuple[float, float]:
    """CSS position of a pixel of the camera's picture that fills the stage."""
    stage = page.evaluate(
        "() => [document.getElementById('stage').clientWidth, document.getElementById('stage').clientHeight]"
    )
    width, height = CAMERA_SIZE
    k = max(stage[0] / width, stage[1] / height)
    return (
        k * (picture_xy[0] + 0.5) + (stage[0] - k * width) / 2,
        k * (picture_xy[1] + 0.5) + (stage[1] - k * height) / 2,
    )
