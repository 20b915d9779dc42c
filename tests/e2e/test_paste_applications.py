"""Real applications: the cut-out is where the agent says it is, as large and as turned as asked, blended by its alpha."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from desktop_agent.board import BoardStore
from desktop_agent.geometry import Placement
from desktop_agent.paste.registry import open_drivers
from desktop_agent.screen import MssScreen
from desktop_agent.windows import Window, window_at
from tests.e2e.applications import installed, start
from tests.e2e.coffee import coffee, measured
from tests.e2e.desktop import VirtualDesktop, missing_programs, on_desktop

pytestmark = [
    pytest.mark.app,
    pytest.mark.skipif(bool(missing_programs()), reason="not installed: apt-get install xvfb openbox dbus-x11"),
]
DRIVERS = {
    "gimp": "gimp", "draw": "libreoffice", "chromium": "browser",
    "impress": "libreoffice", "writer": "libreoffice", "krita": "krita",
}  # fmt: skip
ALL = [pytest.param(name, marks=[] if name in {"gimp", "draw", "chromium"} else pytest.mark.slow) for name in DRIVERS]
LINEAR_LIGHT = {"gimp"}  # mixes half-transparent pixels in linear light, so its rim differs from the sRGB blend


@pytest.fixture(scope="module", params=ALL)
def opened(request: pytest.FixtureRequest) -> Iterator[tuple[str, VirtualDesktop, Window]]:
    name = request.param
    if not installed(name):
        pytest.skip(f"{name} is not installed")
    with VirtualDesktop() as desktop, on_desktop(desktop):
        yield name, desktop, start(name, desktop)


@pytest.mark.parametrize(("dx", "dy", "scale", "rotation"), [(0.3, -0.4, 0.6, 20.0), (-101.0, 77.25, 0.33, -30.0)])
def test_lands_where_asked_with_its_alpha(
    opened: tuple[str, VirtualDesktop, Window], dx: float, dy: float, scale: float, rotation: float
) -> None:
    name, desktop, window = opened
    screen, cutout = MssScreen(), coffee(280)
    wanted = Placement(window.rect.center.shifted(dx, dy), scale, rotation)
    with open_drivers(screen, BoardStore(desktop.home / "board")) as drivers:
        before = screen.grab()[0].image
        target = window_at(drivers.windows.stack(), wanted.center)
        driver = drivers.choose(target)
        assert driver.name == DRIVERS[name]
        landing = driver.paste(cutout, wanted, target)
        after = screen.grab()[0].image
    found, rim_error = measured(cutout, before, after, wanted)
    assert found.center.distance(wanted.center) <= 1.0
    assert landing.anchor == "point"
    assert landing.landing_error_px == pytest.approx(found.center.distance(wanted.center), abs=0.3)
    assert found.scale == pytest.approx(scale, rel=0.01)
    assert found.rotation == pytest.approx(rotation, abs=0.5)
    assert rim_error < (30 if name in LINEAR_LIGHT else 8)
