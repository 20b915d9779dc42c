"""How long a person waits: from the shutter tap to the floating cut-out, and from the paste tap to the landed object.

Chromium with a phone's profile plays the story over https against the real agent, all on this machine; the times are the page's
own marks. ``python benchmarks/story.py [--rounds N] [--json]``; needs Chromium and playwright.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click
import cv2
import numpy as np

from desktop_agent.runtime import Options, running
from desktop_agent.screen import PictureScreen
from mobile_client_stub.camera import Conditions, SimulatedCamera
from tests.e2e.phone import CAMERA_SIZE, RGB, FakeCamera, browser, look_again, on_stage, phone, state

SAMPLES = Path(__file__).resolve().parent.parent / "mobile_client_stub" / "samples"
AIM = (1246.0, 597.0)
PINCHED = """async () => {
    const {floating} = await import('/web/session.js');
    floating.place({...floating.at, scale: floating.at.scale * 0.3});
}"""


def play(rounds: int, folder: Path) -> dict[str, list[float]]:
    """Seconds of every round, by step; the first round warms up and is not counted."""
    camera = FakeCamera(folder / "camera.y4m")
    photo, screen = _read("coffee.jpg"), SAMPLES / "desktop.png"
    camera.show(photo, zoom=1.25)
    with running(Options(screen=str(screen), port=0)) as agent, browser(camera) as started:
        assert isinstance(agent.screen, PictureScreen)
        page = phone(started).new_page()
        page.goto(agent.invite().url)
        page.get_by_role("button", name="Open the camera").click()
        for number in range(rounds + 1):
            state(page, "camera")
            if number:
                camera.show(photo, zoom=1.25)
                look_again(page)
            page.touchscreen.tap(*on_stage(page, (CAMERA_SIZE[0] / 2, CAMERA_SIZE[1] / 2)))
            state(page, "picked")
            page.get_by_role("button", name="Use this").click()
            conditions = replace(Conditions.sample(np.random.default_rng(number)), view_size=CAMERA_SIZE)
            view = SimulatedCamera(number).shoot(agent.screen.picture, AIM, conditions=conditions).view
            camera.show(view)
            page.evaluate(PINCHED)
            look_again(page)
            page.wait_for_function("() => document.body.dataset.aim === 'locked'")
            page.get_by_role("button", name="Paste here").click()
            page.wait_for_selector("#landed:not([hidden])")
        measured = page.evaluate(
            "() => performance.getEntriesByType('measure').map(({name, duration}) => [name, duration / 1000])"
        )
    return {step: [seconds for name, seconds in measured if name == step][1:] for step in ("copy", "paste")}


def _read(name: str) -> RGB:
    return np.asarray(cv2.cvtColor(cv2.imread(str(SAMPLES / name)), cv2.COLOR_BGR2RGB))


@click.command()
@click.option("--rounds", default=10, show_default=True, type=click.IntRange(1, 200))
@click.option("--json", "as_json", is_flag=True)
def main(rounds: int, as_json: bool) -> None:
    """Shutter tap to floating cut-out, paste tap to landed object."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ARCP_HOME"] = folder
        times = play(rounds, Path(folder))
    print(f"{'step':8} {'rounds':>6} {'p50 s':>7} {'worst s':>8}")
    for step, seconds in times.items():
        print(f"{step:8} {len(seconds):6d} {statistics.median(seconds):7.2f} {max(seconds):8.2f}")
    if as_json:
        figures = {f"{step}_p50_s": round(statistics.median(seconds), 3) for step, seconds in times.items()}
        print(json.dumps(figures | {"rounds": rounds}))


if __name__ == "__main__":
    main()
