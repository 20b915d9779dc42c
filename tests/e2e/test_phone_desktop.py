"""The whole story with a real desktop: a phone's browser on one side, Inkscape or the board under Xvfb on the other."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from desktop_agent.geometry import Placement, Point, normalized_degrees
from desktop_agent.home import home
from desktop_agent.runtime import Options
from desktop_agent.screen import RGB, MssScreen
from desktop_agent.tls import local_addresses
from desktop_agent.windows.x11 import X11Probe
from mobile_client_stub.camera import Shot
from tests.e2e.applications import start
from tests.e2e.coffee import measured
from tests.e2e.desktop import VirtualDesktop, desktop, missing_programs, wait_for
from tests.e2e.phone import CHROMIUM, state
from tests.e2e.story import SAMPLES, Story, played

__all__ = ["desktop"]
pytestmark = [
    pytest.mark.app,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="not installed: apt-get install chromium"),
    pytest.mark.skipif(not local_addresses(), reason="this machine has no network address"),
]
LANDING_PX = 2.0
SHRUNK = 0.35


@pytest.fixture
def story(desktop: VirtualDesktop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    monkeypatch.setattr("server.DEFAULT_MODEL", "grabcut")  # what is cut out is not the matter here
    with played(tmp_path, Options(port=0, name="Studio PC")) as opened:
        yield opened


def looked_at() -> RGB:
    return MssScreen().grab()[0].image


def shown_at(story: Story, shot: Shot) -> Placement:
    """Where on the screen the floating cut-out is, for somebody who looks through the phone, by the simulated camera's truth."""
    x, y, scale, rotation = story.page.evaluate(
        """async () => {
            const {floating, looked} = await import('/web/session.js');
            const {placement} = await import('/web/geometry.js');
            const {x, y, scale, rotation} = placement(looked().fitted, floating.at, 1);
            return [x, y, scale, rotation];
        }"""
    )
    middle = np.array([x + 0.5, y + 0.5])
    step = 0.5 * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
    right, left, down, up = shot.projection.to_screen(middle + step)
    jacobian = np.column_stack([right - left, down - up])
    turn = math.degrees(math.atan2(jacobian[1, 0] - jacobian[0, 1], jacobian[0, 0] + jacobian[1, 1]))
    center = shot.projection.to_screen([middle])[0]
    return Placement(
        Point(float(center[0]), float(center[1])), scale * math.sqrt(np.linalg.det(jacobian)), rotation + turn
    )


def play(story: Story, aim: tuple[float, float]) -> tuple[Placement, Placement, dict[str, Any]]:
    """Scan, pair, tap, float, aim, lock, tap: where it was wanted, where it is, and the agent's answer."""
    page = story.page
    story.pair()
    story.copy()
    story.pinch(SHRUNK)
    shot = story.point(picture=looked_at(), aim=aim)
    story.locked()
    wanted = shown_at(story, shot)
    with page.expect_response("**/paste") as answered:
        page.get_by_role("button", name="Paste here").click()
    answer = answered.value.json()
    assert answer["status"] == "pasted", answer
    page.wait_for_selector("#landed:not([hidden])")
    state(page, "camera")
    clip = story.running.agent.clips.all()[0]
    rgba = cv2.cvtColor(
        cv2.imdecode(np.frombuffer(story.running.agent.clips.png(clip), np.uint8), cv2.IMREAD_UNCHANGED),
        cv2.COLOR_BGRA2RGBA,
    )
    return wanted, found_near(np.asarray(rgba), wanted), answer


def found_near(rgba: np.ndarray, wanted: Placement) -> Placement:
    """Where the cut-out is on the screen, found by its pixels, once the preview and everything else that moves is gone."""
    plain = np.zeros_like(looked_at())
    found: list[Placement] = []

    def there() -> bool:
        try:
            found.append(measured(rgba, plain, looked_at(), wanted)[0])
        except cv2.error:  # not drawn yet
            return False
        return found[-1].center.distance(wanted.center) < 50

    wait_for(there, 30, "the cut-out is not on the screen")
    return found[-1]


def check(wanted: Placement, found: Placement) -> None:
    assert found.center.distance(wanted.center) <= LANDING_PX
    assert found.scale == pytest.approx(wanted.scale, rel=0.02)
    assert abs(normalized_degrees(found.rotation - wanted.rotation)) <= 1.0


@pytest.mark.slow
@pytest.mark.skipif(bool(missing_programs(["inkscape"])), reason="not installed: apt-get install inkscape")
def test_the_object_lands_in_inkscape(desktop: VirtualDesktop, story: Story) -> None:
    start("inkscape", desktop)
    wanted, found, answer = play(story, (700.0, 420.0))
    assert (answer["driver"], answer["anchor"]) == ("inkscape", "point")
    check(wanted, found)


def test_the_object_lands_on_the_board(desktop: VirtualDesktop, story: Story) -> None:
    chromium = shutil.which("chromium") or str(CHROMIUM)
    desktop.run(
        [
            chromium, "--no-sandbox", "--test-type", "--no-first-run", "--disable-gpu", "--password-store=basic",
            "--window-position=120,60", "--window-size=1500,900", f"--user-data-dir={desktop.home / 'board'}",
            f"{story.running.url}/board",
        ]
    )  # fmt: skip
    windows = X11Probe()
    wait_for(lambda: any("AR copy & paste board" in w.title for w in windows.stack()), 60, "the board did not open")
    lay_out(desktop, SAMPLES / "chelsea.jpg")
    wanted, found, answer = play(story, (760.0, 480.0))
    assert answer["driver"] == "board"
    check(wanted, found)


def lay_out(desktop: VirtualDesktop, photo: Path) -> None:
    """Two photos are on the board already, so that there is something to recognise: the command line has the agent paste them."""
    command = [sys.executable, "-m", "desktop_agent", "paste", str(photo), "--scale", "0.9", "--json"]
    for at in ("560,380", "1060,560"):
        done = subprocess.run(
            [*command, "--at", at], env=desktop.env | {"ARCP_HOME": str(home())}, cwd=Path(__file__).parents[2],
            capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["driver"] == "board"
