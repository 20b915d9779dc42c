"""The story that a phone's browser plays against a real agent, step by step, for tests."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from desktop_agent.runtime import Options, Running, running
from desktop_agent.screen import PictureScreen
from mobile_client_stub.camera import Conditions, Shot, SimulatedCamera
from tests.e2e.phone import CAMERA_SIZE, RGB, FakeCamera, browser, look_again, on_stage, phone, state

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SAMPLES = Path(__file__).parents[2] / "mobile_client_stub" / "samples"
AIM = (1246.0, 597.0)


def read(name: str) -> RGB:
    return np.asarray(cv2.cvtColor(cv2.imread(str(SAMPLES / name)), cv2.COLOR_BGR2RGB))


@dataclass
class Story:
    """An agent, a phone, and the camera's pictures."""

    running: Running
    camera: FakeCamera
    browser: Browser
    page: Page

    @property
    def screen(self) -> PictureScreen:
        """The agent's screen, where that is a picture."""
        assert isinstance(self.running.screen, PictureScreen)
        return self.running.screen

    def pair(self) -> None:
        """Scan the code as a camera does, and say yes."""
        self.page.goto(scanned(self.running))
        self.page.get_by_role("button", name="Open the camera").click()
        state(self.page, "camera")

    def copy(self) -> None:
        self.page.touchscreen.tap(*on_stage(self.page, (CAMERA_SIZE[0] / 2, CAMERA_SIZE[1] / 2)))
        state(self.page, "picked")
        self.page.get_by_role("button", name="Use this").click()
        state(self.page, "floating")

    def point(self, seed: int = 1, picture: RGB | None = None, aim: tuple[float, float] = AIM) -> Shot:
        """Hold the phone before the screen, or before another picture."""
        conditions = replace(Conditions.sample(np.random.default_rng(seed)), view_size=CAMERA_SIZE)
        shot = SimulatedCamera(seed).shoot(
            self.screen.picture if picture is None else picture, aim, conditions=conditions
        )
        self.camera.show(shot.view)
        look_again(self.page)
        return shot

    def pinch(self, factor: float) -> None:
        """Make the floating cut-out smaller, so that it lies inside the screen."""
        self.page.evaluate(
            """async (factor) => {
                const {floating} = await import('/web/session.js');
                floating.place({...floating.at, scale: floating.at.scale * factor});
            }""",
            factor,
        )

    def locked(self) -> None:
        self.page.wait_for_function("() => document.body.dataset.aim === 'locked'")

    def floating_at(self) -> tuple[float, float]:
        """The view pixel (centres at integers) under the middle of the floating cut-out."""
        return tuple(  # type: ignore[return-value]
            self.page.evaluate(
                """async () => {
                    const {floating, looked} = await import('/web/session.js');
                    const {toPicture} = await import('/web/geometry.js');
                    const {x, y} = toPicture(looked().fitted, floating.at);
                    return [x, y];
                }"""
            )
        )


def scanned(agent: Running) -> str:
    """The address, read from a picture of the QR code."""
    import segno
    from PIL import Image

    code = segno.make(agent.invite().url, error="m")
    text = ""
    for scale in (5, 6, 7, 8, 4):  # a person's camera takes more than one look, too
        out = io.BytesIO()
        code.save(out, kind="png", scale=scale, border=4)
        picture = np.asarray(Image.open(out).convert("L"))
        readers = (cv2.QRCodeDetector(), cv2.QRCodeDetectorAruco())  # OpenCV's readers miss a code now and then
        text = next((found for reader in readers if (found := reader.detectAndDecode(picture)[0])), "")
        if text:
            break
    assert text.startswith("https://")
    return text


@contextmanager
def played(tmp_path: Path, options: Options) -> Iterator[Story]:
    camera = FakeCamera(tmp_path / "camera.y4m")
    camera.show(read("coffee.jpg"), zoom=1.25)
    with running(options) as agent, browser(camera) as started:
        context = phone(started)
        page = context.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        try:
            yield Story(agent, camera, started, page)
        finally:
            context.close()
        assert problems == []
