"""A real Inkscape: the cut-out lands under the pixel, as large and as turned as asked, with its transparency."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from desktop_agent.board import BoardStore
from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Placement, Point
from desktop_agent.paste.clipboard_x11 import read_clipboard
from desktop_agent.paste.registry import Drivers, open_drivers
from desktop_agent.screen import MssScreen
from desktop_agent.windows import Window, window_at
from tests.e2e.coffee import coffee, measured
from tests.e2e.desktop import VirtualDesktop, desktop, missing_programs, wait_for, wait_until_still

__all__ = ["desktop"]
pytestmark = [
    pytest.mark.app,
    pytest.mark.skipif(bool(missing_programs(["inkscape"])), reason="not installed: apt-get install inkscape"),
]
PAGE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="1200" height="800" viewBox="0 0 1200 800">'
    '<rect x="100" y="100" width="500" height="400" fill="#88c"/></svg>'
)


@pytest.fixture(scope="module")
def open_document(desktop: VirtualDesktop) -> None:
    document = desktop.home / "page.svg"
    document.write_text(PAGE)
    desktop.run(["inkscape", str(document)])
    with open_drivers(MssScreen(), BoardStore(desktop.home / "board")) as opened:
        wait_for(lambda: inkscape(opened) is not None, 90, "Inkscape did not open")
    wait_until_still(MssScreen(), 2)


@pytest.fixture
def drivers(desktop: VirtualDesktop, open_document: None) -> Iterator[Drivers]:
    with open_drivers(MssScreen(), BoardStore(desktop.home / "board")) as opened:
        yield opened


def inkscape(drivers: Drivers) -> Window | None:
    return next((w for w in drivers.windows.stack() if w.app_class == "Inkscape" and "page.svg" in w.title), None)


@pytest.mark.parametrize(
    ("x", "y", "scale", "rotation"),
    [(700.5, 420.5, 1.0, 0.0), (901.0, 640.25, 0.45, -28.0), (1100.5, 500.5, 1.4, 17.0)],
)
def test_lands_where_asked_with_its_alpha(drivers: Drivers, x: float, y: float, scale: float, rotation: float) -> None:
    screen, cutout = MssScreen(), coffee(280)
    wanted = Placement(Point(x, y), scale, rotation)
    before = screen.grab()[0].image
    window = window_at(drivers.windows.stack(), wanted.center)
    driver = drivers.choose(window)
    assert driver.name == "inkscape"

    landing = driver.paste(cutout, wanted, window)

    found, rim_error = measured(cutout, before, screen.grab()[0].image, wanted)
    assert found.center.distance(wanted.center) <= 1.0
    assert landing.landing_error_px == pytest.approx(found.center.distance(wanted.center), abs=0.3)
    assert found.scale == pytest.approx(scale, rel=0.01)
    assert found.rotation == pytest.approx(rotation, abs=0.5)
    assert rim_error < 8, "half-transparent pixels are not blended with what was there"


def test_the_clipboard_and_the_pointer_are_given_back(desktop: VirtualDesktop, drivers: Drivers) -> None:
    subprocess.run(
        ["xclip", "-selection", "clipboard"], input=b"what the person had copied",
        env=desktop.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=30, check=True,
    )  # fmt: skip
    wait_for(lambda: "UTF8_STRING" in read_clipboard(), 20, "xclip did not take the clipboard")
    subprocess.run(["xdotool", "mousemove", "33", "44"], env=desktop.env, check=True)
    wanted = Placement(Point(600.5, 700.5), 0.5)
    window = window_at(drivers.windows.stack(), wanted.center)
    drivers.choose(window).paste(coffee(200), wanted, window)
    pasted = subprocess.run(
        ["xclip", "-selection", "clipboard", "-o"], env=desktop.env, capture_output=True, timeout=30, check=True
    )
    assert pasted.stdout == b"what the person had copied"
    where = subprocess.run(["xdotool", "getmouselocation"], env=desktop.env, capture_output=True, check=True).stdout
    assert b"x:33 y:44" in where


@pytest.mark.parametrize("layout", ["ru", "fr"])
def test_any_keyboard_layout(desktop: VirtualDesktop, drivers: Drivers, layout: str) -> None:
    subprocess.run(["setxkbmap", layout], env=desktop.env, check=True)
    try:
        wanted = Placement(Point(1300.5, 300.5), 0.4, 5)
        window = window_at(drivers.windows.stack(), wanted.center)
        landing = drivers.choose(window).paste(coffee(240), wanted, window)
    finally:
        subprocess.run(["setxkbmap", "us"], env=desktop.env, check=True)
    assert landing.landing_error_px is not None
    assert landing.landing_error_px <= 1


def test_a_held_shift_is_let_go(desktop: VirtualDesktop, drivers: Drivers) -> None:
    subprocess.run(["xdotool", "keydown", "shift"], env=desktop.env, check=True)
    try:
        wanted = Placement(Point(1250.5, 650.5), 0.4, -12)
        window = window_at(drivers.windows.stack(), wanted.center)
        landing = drivers.choose(window).paste(coffee(240), wanted, window)
    finally:
        subprocess.run(["xdotool", "keyup", "shift"], env=desktop.env, check=True)
    assert landing.landing_error_px is not None
    assert landing.landing_error_px <= 1


def test_the_command_line_pastes_through_the_same_code(
    desktop: VirtualDesktop, drivers: Drivers, tmp_path: Path
) -> None:
    from PIL import Image

    cutout = coffee(220)
    Image.fromarray(cutout).save(tmp_path / "cup.png")
    before = MssScreen().grab()[0].image
    command = [sys.executable, "-m", "desktop_agent", "paste", str(tmp_path / "cup.png")]
    done = subprocess.run(
        [*command, "--at", "500,600", "--scale", "0.8", "--rotation", "10", "--json"],
        env=desktop.env | {"ARCP_HOME": str(tmp_path / "home")}, cwd=Path(__file__).parents[2],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["status"], answer["driver"]) == ("pasted", "inkscape")
    wanted = Placement(Point.from_external(500, 600), 0.8, 10)
    found, _ = measured(cutout, before, MssScreen().grab()[0].image, wanted)
    assert found.center.distance(wanted.center) <= 1.0


def test_a_dialog_in_the_way_is_named_and_nothing_is_claimed(desktop: VirtualDesktop, drivers: Drivers) -> None:
    window = inkscape(drivers)
    assert window is not None
    drivers.windows.activate(window)
    before = MssScreen().grab()[0].image
    subprocess.run(["xdotool", "key", "ctrl+o"], env=desktop.env, check=True)
    wait_for(lambda: drivers.windows.stack()[0].id != window.id, 20, "the file dialog did not open")
    dialog = drivers.windows.stack()[0]
    try:
        with pytest.raises(PasteFailed) as failed:
            drivers.choose(window).paste(coffee(200), Placement(Point(1500.5, 850.5), 0.5), window)
    finally:
        drivers.windows.activate(dialog)
        subprocess.run(["xdotool", "key", "Escape"], env=desktop.env, check=True)
        wait_for(lambda: drivers.windows.stack()[0].id == window.id, 20, "the file dialog did not close")
        wait_until_still(MssScreen(), 2)
    assert failed.value.code in {"not_activated", "not_taken", "dialog"}
    there = (slice(800, 900), slice(1450, 1550))
    assert np.array_equal(MssScreen().grab()[0].image[there], before[there])
