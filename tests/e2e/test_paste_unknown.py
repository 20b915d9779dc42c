"""A program that the agent has never heard of: a plain GTK text field, which takes text and no pictures."""

from __future__ import annotations

import numpy as np
import pytest

from desktop_agent.board import BoardStore
from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Placement
from desktop_agent.paste.registry import open_drivers
from desktop_agent.screen import MssScreen
from desktop_agent.windows import Window
from desktop_agent.windows.x11 import X11Probe
from tests.e2e.applications import FIELD, SYSTEM_PYTHON, installed
from tests.e2e.coffee import coffee
from tests.e2e.desktop import VirtualDesktop, wait_for, wait_until_still
from tests.e2e.desktop import desktop as desktop

pytestmark = [
    pytest.mark.app,
    pytest.mark.slow,
    pytest.mark.skipif(not installed("field"), reason="not installed: apt-get install python3-gi gir1.2-gtk-3.0"),
]


def test_a_text_field_is_left_as_it_was(desktop: VirtualDesktop) -> None:
    written, screen = desktop.home / "written", MssScreen()
    program = desktop.run([SYSTEM_PYTHON, "-c", FIELD, str(written)])

    def field() -> Window | None:
        return next((window for window in X11Probe().stack() if window.title == "plain text"), None)

    try:
        wait_for(lambda: field() is not None, 60, "the text field did not appear")
        wait_until_still(screen, 1)
        window = field()
        assert window is not None
        before = screen.grab()[0].image
        with open_drivers(screen, BoardStore(desktop.home / "board")) as drivers:
            driver = drivers.choose(window)
            assert driver.name == "clipboard"
            with pytest.raises(PasteFailed) as failed:
                driver.paste(coffee(200), Placement(window.rect.center, 0.8), window)
        assert failed.value.code in {"not_taken", "nothing_changed"}
        assert not written.exists(), "the text was changed"
        np.testing.assert_array_equal(screen.grab()[0].image, before)
    finally:
        desktop.kill(program)
