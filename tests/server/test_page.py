"""The page at / in a real browser: a picture in, before and after, another object by a tap, a colour, a file out."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from server.app import Settings, create_app
from server.keys import KeyStore
from server.wsgi import serving
from tests.e2e.phone import CHROMIUM
from tests.server.conftest import saved
from tests.server.dialects.conftest import cut_red

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian package chromium)"),
]
SMALL, LARGE = (40, 30, 100, 90), (180, 60, 300, 170)


@pytest.fixture
def two_objects(tmp_path: Path) -> Path:
    image = np.full((200, 360, 3), (40, 120, 60), np.uint8)
    for left, top, right, bottom in (SMALL, LARGE):
        image[top:bottom, left:right] = (220, 30, 40)
    path = tmp_path / "objects.png"
    path.write_bytes(saved(image, "PNG"))
    return path


@pytest.fixture
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield started
        finally:
            started.close()


@pytest.fixture
def settings() -> Settings:
    return Settings(model="red", cut=cut_red, fetch=None)


def opened(browser: Browser, address: tuple[str, int]) -> Page:
    page = browser.new_page(viewport={"width": 480, "height": 800})
    page.set_default_timeout(60_000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda line: problems.append(line.text) if "Content Security Policy" in line.text else None)
    page.problems = problems  # type: ignore[attr-defined]
    page.goto(f"http://{address[0]}:{address[1]}/")
    return page


def state(page: Page, name: str, words: str = "") -> None:
    page.wait_for_function(
        "([name, words]) => document.body.dataset.state === name && document.getElementById('status').textContent.includes(words)",
        arg=[name, words],
    )


def downloaded(page: Page) -> NDArray[np.uint8]:
    with page.expect_download() as waiting:
        page.click("#download")
    return np.asarray(Image.open(io.BytesIO(Path(waiting.value.path()).read_bytes())).convert("RGBA"))


def changed(page: Page, act: Callable[[], None]) -> NDArray[np.uint8]:
    """What is downloaded once ``act`` has had its effect."""
    before = page.get_attribute("#download", "href")
    act()
    page.wait_for_function("before => document.getElementById('download').href !== before", arg=before)
    return downloaded(page)


def test_a_picture_is_cut_compared_tapped_coloured_and_downloaded(
    browser: Browser, settings: Settings, two_objects: Path
) -> None:
    with serving(create_app(settings), "127.0.0.1", 0) as address:
        page = opened(browser, address)
        page.set_input_files("#file", two_objects)
        state(page, "done", "Model red")
        both = downloaded(page)
        assert both.shape == (200, 360, 4)
        assert both[60, 70, 3] == both[100, 240, 3] == 255
        assert both[10, 10, 3] == 0

        covered = "() => getComputedStyle(document.getElementById('before')).clipPath"
        assert "53%" in page.evaluate(covered)  # the line runs through the middle of what was cut out: 170 of 360
        page.fill("#slider", "20")
        assert "80%" in page.evaluate(covered)

        area = page.locator("#after").bounding_box()
        assert area is not None
        page.mouse.click(area["x"] + area["width"] * 70 / 360, area["y"] + area["height"] * 60 / 200)
        page.wait_for_function(
            "() => document.getElementById('status').textContent.includes(' 5 %')"
        )  # 60 x 60 of 360 x 200
        state(page, "done")
        assert page.input_value("#slider") == "19"
        assert "81%" in page.evaluate(covered)
        one = downloaded(page)
        assert one[60, 70, 3] == 255
        assert one[100, 240, 3] == 0

        assert changed(page, lambda: page.check("#crop")).shape == (60, 60, 4)
        changed(page, lambda: page.uncheck("#crop"))
        blue = changed(page, lambda: page.fill("#color", "#0000ff"))
        assert blue[10, 10].tolist() == [0, 0, 255, 255]
        assert blue[60, 70].tolist() == [220, 30, 40, 255]
        assert page.problems == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "kind"), [("dropped.png", "image/png"), ("IMG_1.HEIC", "")]
)  # some systems know no HEIC
def test_a_dropped_picture_is_taken(
    browser: Browser, settings: Settings, two_objects: Path, name: str, kind: str
) -> None:
    with serving(create_app(settings), "127.0.0.1", 0) as address:
        page = opened(browser, address)
        page.evaluate(
            """([bytes, name, type]) => {
                const transfer = new DataTransfer();
                transfer.items.add(new File([new Uint8Array(bytes)], name, {type}));
                document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: transfer, bubbles: true, cancelable: true}));
            }""",
            [list(two_objects.read_bytes()), name, kind],
        )
        state(page, "done")


def test_nothing_of_the_last_picture_stays_when_the_next_one_fails(
    browser: Browser, settings: Settings, two_objects: Path, tmp_path: Path
) -> None:
    torn = tmp_path / "torn.png"
    torn.write_bytes(two_objects.read_bytes()[:200])
    with serving(create_app(settings), "127.0.0.1", 0) as address:
        page = opened(browser, address)
        page.set_input_files("#file", two_objects)
        state(page, "done")
        page.set_input_files("#file", torn)
        state(page, "failed", "damaged")
        assert not page.locator("#stage").is_visible()
        assert not page.locator("#download").is_visible()
        page.set_input_files("#file", two_objects)
        state(page, "done")
        assert page.locator("#download").is_visible()


def test_failures_are_told_in_the_servers_words_and_a_key_is_asked_for(
    browser: Browser, settings: Settings, two_objects: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.png"
    empty.write_bytes(saved(np.full((50, 50, 3), 90, np.uint8), "PNG"))
    text = tmp_path / "notes.txt"
    text.write_text("no picture")
    keys = KeyStore(tmp_path / "keys.json")
    with serving(create_app(replace(settings, keys=keys)), "127.0.0.1", 0) as address:
        page = opened(browser, address)
        page.set_input_files("#file", text)
        state(page, "failed", "not a picture")
        page.set_input_files("#file", empty)
        state(page, "failed", "No object was found")
        assert page.locator("#before").bounding_box()["width"] == 50  # type: ignore[index]
        assert not page.locator("#download").is_visible()
        with page.expect_request("**/v1/cut"):
            page.click("#before", position={"x": 10, "y": 20})
        assert page.locator("#mark").is_visible()
        state(page, "failed", "No object was found")
        secret = keys.add("page")[1]
        page.set_input_files("#file", two_objects)
        state(page, "failed", "needs an API key")
        page.fill("#key", secret)
        page.press("#key", "Tab")
        state(page, "done")
    page.set_input_files("#file", two_objects)
    state(page, "failed", "does not answer")
