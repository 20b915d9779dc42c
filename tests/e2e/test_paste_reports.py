"""Pages that do not place what is pasted, and disturbances while pasting: what is reported is what happened."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from desktop_agent.board import BoardStore
from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Placement, Point
from desktop_agent.paste.driver import Landing
from desktop_agent.paste.registry import open_drivers
from desktop_agent.screen import MssScreen
from desktop_agent.windows import Window
from desktop_agent.windows.x11 import X11Probe
from tests.e2e.chromium import CHROMIUM
from tests.e2e.chromium import browser as browser
from tests.e2e.coffee import coffee, measured
from tests.e2e.desktop import VirtualDesktop, missing_programs, wait_for, wait_until_still
from tests.e2e.desktop import desktop as desktop

pytestmark = [
    pytest.mark.app,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is missing"),
    pytest.mark.skipif(bool(missing_programs(["xdotool", "xclip"])), reason="apt-get install xdotool xclip"),
]
STYLE = "<style>body { margin: 0; font: 20px sans-serif } div { padding: 40px; min-height: 600px }</style>"
WRITING = f"<title>writing</title>{STYLE}<div contenteditable autofocus>first line<br>second line</div>"
READING = f"<title>reading</title>{STYLE}<div>Nobody can change this page.</div>"


class Page:
    """One page in a tab of its own, and a paste into the middle of its window."""

    def __init__(self, desktop: VirtualDesktop, page: Any) -> None:
        self.desktop, self.page, self.screen = desktop, page, MssScreen()

    def show(self, content: str) -> Window:
        self.page.set_content(content)
        title = self.page.title()
        wait_for(lambda: self._find(title) is not None, 30, "the window did not appear")
        wait_until_still(self.screen, 0.3)  # less than a caret takes to blink
        window = self._find(title)
        assert window is not None
        return window

    def _find(self, title: str) -> Window | None:
        return next((window for window in X11Probe().stack() if window.title.startswith(title)), None)

    def wanted(self, window: Window) -> Placement:
        return Placement(window.rect.center.shifted(60.3, 40.8), 0.8, 7)

    def paste(self, window: Window) -> Landing:
        with open_drivers(self.screen, BoardStore(self.desktop.home / "board")) as drivers:
            return drivers.choose(window).paste(coffee(220), self.wanted(window), window)

    def failure(self, window: Window) -> str:
        with pytest.raises(PasteFailed) as failed:
            self.paste(window)
        return failed.value.code


@pytest.fixture
def page(desktop: VirtualDesktop, browser: Any) -> Iterator[Page]:
    opened = browser.new_page()
    try:
        yield Page(desktop, opened)
    finally:
        opened.close()


@contextmanager
def once_offered(desktop: VirtualDesktop, work: Callable[[], object]) -> Iterator[None]:
    """Do this as soon as the agent has put a picture on the clipboard; only its kinds are asked for, not the picture."""
    over = threading.Event()

    def watch() -> None:
        command = ["xclip", "-selection", "clipboard", "-t", "TARGETS", "-o"]
        while not over.is_set():
            kinds = subprocess.run(command, env=desktop.env, capture_output=True, timeout=60, check=False).stdout
            if b"image/png" in kinds:
                work()
                return
            over.wait(0.02)

    thread = threading.Thread(target=watch, name="arcp-test-disturbance")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(90)


class Program:
    """A window that takes no pictures: X's own message box."""

    def __init__(self, desktop: VirtualDesktop) -> None:
        self.desktop = desktop
        self.process = desktop.run(["xmessage", "-center", "-buttons", "", "a small program\n" * 12])
        wait_for(lambda: self._find() is not None, 60, "xmessage did not appear")
        wait_until_still(MssScreen(), 0.5)
        window = self._find()
        assert window is not None
        self.window = window

    def _find(self) -> Window | None:
        return next((window for window in X11Probe().stack() if window.app_class == "Xmessage"), None)

    def failure(self) -> str:
        with (
            open_drivers(MssScreen(), BoardStore(self.desktop.home / "board")) as drivers,
            pytest.raises(PasteFailed) as failed,
        ):
            drivers.choose(self.window).paste(coffee(100), Placement(self.window.rect.center, 0.3), self.window)
        return failed.value.code


@pytest.fixture
def program(desktop: VirtualDesktop) -> Iterator[Program]:
    opened = Program(desktop)
    try:
        yield opened
    finally:
        desktop.kill(opened.process)


def test_flowing_text_takes_it_at_the_caret_and_no_landing_is_claimed(page: Page) -> None:
    landing = page.paste(page.show(WRITING))
    assert (landing.anchor, landing.landing_error_px) == ("caret", None)
    assert page.page.locator("img").count() == 1


@pytest.mark.slow
def test_a_page_that_takes_nothing_stays_as_it_was(page: Page) -> None:
    window = page.show(READING)
    before = page.screen.grab()[0].image
    assert page.failure(window) in {"not_taken", "nothing_changed"}
    np.testing.assert_array_equal(page.screen.grab()[0].image[300:700, 300:1200], before[300:700, 300:1200])


ZOOMED = """<!doctype html><title>zoomed</title><body style="margin:0"><canvas id=c width=1480 height=700></canvas><script>
const zoom = %s, undoes = %s
let x = 0, y = 0, kept = null
const canvas = document.getElementById('c'), drawing = canvas.getContext('2d')
drawing.fillStyle = '#eef'; drawing.fillRect(0, 0, 1480, 700)
drawing.fillStyle = '#9c9'; drawing.fillRect(300, 200, 300, 300)
addEventListener('mousemove', event => { x = event.clientX; y = event.clientY })
addEventListener('keydown', event => {
  if (undoes && kept && event.ctrlKey && event.key === 'z') drawing.putImageData(kept, 0, 0)
})
document.addEventListener('paste', async event => {
  const file = [...event.clipboardData.items].find(item => item.type === 'image/png').getAsFile()
  const picture = await createImageBitmap(file)
  const [w, h] = [zoom * picture.width, zoom * picture.height]
  kept = drawing.getImageData(0, 0, 1480, 700)
  drawing.drawImage(picture, x - w / 2, y - h / 2, w, h)
})
</script>"""


@pytest.mark.parametrize("zoom", [pytest.param(0.5, marks=pytest.mark.slow), 2.0])
def test_a_page_with_a_zoom_of_its_own_gets_the_right_size(page: Page, zoom: float) -> None:
    """The first paste shows the zoom; it is taken back, and the second one fits."""
    window = page.show(ZOOMED % (zoom, "true"))
    before = page.screen.grab()[0].image
    landing = page.paste(window)
    found, _ = measured(coffee(220), before, page.screen.grab()[0].image, page.wanted(window))
    assert landing.landing_error_px is not None
    assert landing.landing_error_px <= 1
    assert found.center.distance(page.wanted(window).center) <= 1
    assert found.scale == pytest.approx(0.8, rel=0.01)


MIDDLE = """<!doctype html><title>middle</title>
<style>body { margin: 0; overflow: hidden } img { position: absolute } .chosen { outline: 2px solid blue }</style><script>
let chosen = null, held = null
const shift = (dx, dy) => {
  chosen.style.left = chosen.offsetLeft + dx + 'px'
  chosen.style.top = chosen.offsetTop + dy + 'px'
}
const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }
addEventListener('keydown', event => {
  if (!chosen) return
  if (steps[event.key]) shift(...steps[event.key])
  if (event.key === 'Delete') { chosen.remove(); chosen = null }
})
addEventListener('mousedown', event => {
  event.preventDefault()
  held = event.target === chosen ? [event.clientX, event.clientY] : null
})
addEventListener('mousemove', event => {
  if (!held) return
  shift(event.clientX - held[0], event.clientY - held[1])
  held = [event.clientX, event.clientY]
})
addEventListener('mouseup', () => { held = null })
document.addEventListener('paste', async event => {
  const file = [...event.clipboardData.items].find(item => item.type === 'image/png').getAsFile()
  const picture = new Image()
  picture.src = URL.createObjectURL(file)
  await picture.decode()
  if (chosen) chosen.className = ''
  chosen = picture
  chosen.className = 'chosen'
  document.body.append(chosen)
  chosen.style.left = Math.round((innerWidth - picture.width) / 2) + 'px'
  chosen.style.top = Math.round((innerHeight - picture.height) / 2) + 'px'
})
</script>"""


@pytest.mark.parametrize(("dx", "dy"), [(22.3, -14.6), pytest.param(-3.4, 9.2, marks=pytest.mark.slow)])
def test_a_page_that_pastes_into_its_middle_is_understood_close_to_that_middle(
    page: Page, dx: float, dy: float
) -> None:
    """There it looks as if the page followed the pointer and missed by a little."""
    window = page.show(MIDDLE)
    bars, height = page.page.evaluate("[outerHeight - innerHeight, innerHeight]")
    middle = Point(window.rect.center.x, window.rect.top + bars + height / 2)
    with open_drivers(page.screen, BoardStore(page.desktop.home / "board")) as drivers:
        for count in (1, 2):  # the second time it is known
            wanted = Placement(middle.shifted(dx * count, dy), 0.7, 7)
            before = page.screen.grab()[0].image
            landing = drivers.choose(window).paste(coffee(220), wanted, window)
            found, _ = measured(coffee(220), before, page.screen.grab()[0].image, wanted)
            assert landing.landing_error_px == pytest.approx(found.center.distance(wanted.center), abs=0.3)
            assert found.center.distance(wanted.center) <= 1
            assert page.page.locator("img").count() == count


def test_a_wrong_size_that_cannot_be_taken_back_is_no_success(page: Page) -> None:
    window = page.show(ZOOMED % (2.0, "false"))
    assert page.failure(window) == "wrong_size"


def test_an_unknown_program_that_takes_nothing_is_named(program: Program) -> None:
    assert program.failure() == "not_taken"


def test_a_stolen_clipboard_is_named(program: Program) -> None:
    quiet = subprocess.DEVNULL

    def steal() -> None:
        command = ["xclip", "-selection", "clipboard"]
        subprocess.run(command, input=b"theirs", env=program.desktop.env, stdout=quiet, stderr=quiet, check=True)

    with once_offered(program.desktop, steal):
        assert program.failure() == "clipboard_stolen"


def test_a_window_that_moves_meanwhile_is_named(program: Program) -> None:
    command = ["xdotool", "windowmove", str(program.window.id), "260", "150"]
    with once_offered(program.desktop, lambda: subprocess.run(command, env=program.desktop.env, check=True)):
        assert program.failure() == "window_moved"


def test_an_application_that_is_gone_is_named(program: Program) -> None:
    with once_offered(program.desktop, lambda: program.desktop.kill(program.process)):
        assert program.failure() == "application_gone"
    assert program.failure() == "application_gone"
