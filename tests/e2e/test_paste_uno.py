"""An office that listens for UNO connections gets the cut-out as a shape, and one that may only be read says so."""

from __future__ import annotations

import subprocess

import pytest

from desktop_agent.board import BoardStore
from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Placement
from desktop_agent.paste.match import looks_placed
from desktop_agent.paste.registry import open_drivers
from desktop_agent.paste.uno_office import address_of, connected
from desktop_agent.screen import MssScreen
from tests.e2e.applications import Setup, installed, start
from tests.e2e.coffee import coffee, measured
from tests.e2e.desktop import VirtualDesktop, missing_programs, on_desktop, wait_for

pytestmark = [
    pytest.mark.app,
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing_programs()), reason="not installed: apt-get install xvfb openbox dbus-x11"),
    pytest.mark.skipif(not installed("draw"), reason="not installed: apt-get install libreoffice-draw python3-uno"),
]


@pytest.mark.parametrize("name", ["draw", "impress"])
def test_a_listening_office_gets_a_shape_in_its_full_resolution(name: str) -> None:
    cutout = coffee(400)
    with VirtualDesktop() as desktop, on_desktop(desktop):
        window, screen = start(name, desktop, Setup(listening=True)), MssScreen()
        address = address_of(window)
        assert address == f"pipe,name={desktop.home.name};urp"
        with connected(window, address) as office:
            if office is None:
                pytest.skip("not installed: apt-get install python3-uno")
        with open_drivers(screen, BoardStore(desktop.home / "board")) as drivers:
            for dx, dy, scale, rotation in ((-60.3, 20.8, 0.4, -25.0), (90.6, -40.2, 0.7, 30.0)):
                wanted = Placement(window.rect.center.shifted(dx, dy), scale, rotation)
                before = screen.grab()[0].image
                landing = drivers.choose(window).paste(cutout, wanted, window)
                found, rim_error = measured(cutout, before, screen.grab()[0].image, wanted)
                assert found.center.distance(wanted.center) <= 1.0
                assert landing.landing_error_px == pytest.approx(found.center.distance(wanted.center), abs=0.3)
                assert found.scale == pytest.approx(scale, rel=0.01)
                assert found.rotation == pytest.approx(rotation, abs=0.5)
                assert rim_error < 8
        subprocess.run(["xdotool", "key", "ctrl+z"], env=desktop.env, check=True)
        wait_for(
            lambda: not looks_placed(cutout, before, screen.grab()[0].image, wanted), 30, "one step does not undo it"
        )
        with connected(window, address) as office:
            assert office is not None
            with pytest.raises(PasteFailed, match="0 windows called") as failed:
                office.ask(open="another window")
        assert failed.value.code == "no_document"


def test_a_listening_office_that_may_only_read_says_so() -> None:
    with VirtualDesktop() as desktop, on_desktop(desktop):
        window, screen = start("draw", desktop, Setup(listening=True, read_only=True)), MssScreen()
        with open_drivers(screen, BoardStore(desktop.home / "board")) as drivers, pytest.raises(PasteFailed) as failed:
            drivers.choose(window).paste(coffee(200), Placement(window.rect.center, 0.8), window)
    assert failed.value.code in {"not_taken", "drop_refused"}
    assert "read-only" in failed.value.message
