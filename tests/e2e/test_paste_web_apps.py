"""Excalidraw and tldraw, bundled from their npm packages and served on loopback: the cut-out lands where it was pointed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from desktop_agent.board import BoardStore
from desktop_agent.geometry import Placement
from desktop_agent.paste.registry import open_drivers
from desktop_agent.screen import MssScreen
from desktop_agent.windows.x11 import X11Probe
from tests.e2e.chromium import CHROMIUM
from tests.e2e.chromium import browser as browser
from tests.e2e.coffee import coffee, measured
from tests.e2e.desktop import VirtualDesktop, wait_for, wait_until_still
from tests.e2e.desktop import desktop as desktop
from tests.e2e.paste_pages import BUNDLED, PagesUnavailable, site

pytestmark = [
    pytest.mark.app,
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is missing"),
    pytest.mark.skipif(shutil.which("npm") is None, reason="not installed: apt-get install npm"),
]
COUNT = {
    "tldraw": "editor.getCurrentPageShapes().length",
    "excalidraw": "editor.getSceneElements().filter(element => !element.isDeleted).length",
}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    try:
        with site(bundled=True) as served:
            yield served
    except PagesUnavailable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("zoom", [1.0, 0.5, 2.0])
@pytest.mark.parametrize("name", sorted(BUNDLED))
def test_lands_where_asked_at_every_zoom_and_leaves_no_first_try(
    desktop: VirtualDesktop, browser: Any, address: str, name: str, zoom: float
) -> None:
    screen, cutout = MssScreen(), coffee(260)
    page = browser.new_page()
    try:
        page.goto(f"{address}/{name}.html#{zoom}")
        wait_for(lambda: X11Probe().stack()[0].title.startswith(name), 120, "the window did not appear")
        wait_until_still(screen, 1.5)
        window = X11Probe().stack()[0]
        with open_drivers(screen, BoardStore(desktop.home / "board")) as drivers:
            for dx, dy, scale, rotation in ((-190.7, 20.4, 0.7, 0.0), (160.3, -30.8, 0.9, -25.0)):
                before = screen.grab()[0].image
                wanted = Placement(window.rect.center.shifted(dx, dy), scale, rotation)
                landing = drivers.choose(window).paste(cutout, wanted, window)
                found, _ = measured(cutout, before, screen.grab()[0].image, wanted)
                assert landing.landing_error_px is not None
                assert landing.landing_error_px <= 1
                assert found.center.distance(wanted.center) <= 1.0
                assert found.scale == pytest.approx(scale, rel=0.01)
                assert found.rotation == pytest.approx(rotation, abs=0.5)
        assert page.evaluate(COUNT[name]) == 2
    finally:
        page.close()
