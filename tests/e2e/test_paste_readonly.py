"""A LibreOffice document that may only be read: the paste is refused by name, and the document stays as it was."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from desktop_agent.board import BoardStore
from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Placement
from desktop_agent.paste.closed_loop import look
from desktop_agent.paste.registry import open_drivers
from desktop_agent.screen import MssScreen
from desktop_agent.windows import Window
from tests.e2e.applications import Setup, installed, start
from tests.e2e.coffee import coffee
from tests.e2e.desktop import VirtualDesktop, missing_programs, on_desktop, wait_until_still

pytestmark = [
    pytest.mark.app,
    pytest.mark.skipif(bool(missing_programs()), reason="not installed: apt-get install xvfb openbox dbus-x11"),
]


@pytest.fixture(scope="module", params=["draw", pytest.param("writer", marks=pytest.mark.slow)])
def opened(request: pytest.FixtureRequest) -> Iterator[tuple[VirtualDesktop, Window]]:
    if not installed(request.param):
        pytest.skip(f"{request.param} is not installed")
    with VirtualDesktop() as desktop, on_desktop(desktop):
        yield desktop, start(request.param, desktop, Setup(read_only=True))


def test_a_document_that_is_read_only_is_named_and_left_alone(opened: tuple[VirtualDesktop, Window]) -> None:
    desktop, window = opened
    screen = MssScreen()
    page = window.rect.center.shifted(-40, 60)
    before = look(screen, window.rect)
    with open_drivers(screen, BoardStore(desktop.home / "board")) as drivers, pytest.raises(PasteFailed) as failed:
        drivers.choose(window).paste(coffee(220), Placement(page, 0.8, 9), window)
    wait_until_still(screen, 0.3)
    assert failed.value.code in {"not_taken", "drop_refused", "dialog"}
    assert "read-only" in failed.value.message or failed.value.code == "dialog"
    rows, columns = slice(300, 900), slice(500, 1000)  # of the page
    np.testing.assert_array_equal(look(screen, window.rect)[rows, columns], before[rows, columns])
