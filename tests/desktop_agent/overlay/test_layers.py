"""Layers go away by themselves, are quiet on request, and are known to cover what they cover."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from desktop_agent.geometry import Rect
from desktop_agent.overlay import Overlay, Patch
from desktop_agent.overlay.layers import MARGIN

SCREEN = Rect(0, 0, 200, 100)


class FakeCanvas:
    """Remembers what is drawn; ``broken`` makes every drawing fail."""

    translucent = False

    def __init__(self) -> None:
        self.layers: dict[str, Sequence[Patch]] = {}
        self.broken = False
        self.closed = False

    def draw(self, layer: str, patches: Sequence[Patch]) -> None:
        if self.broken:
            raise OSError("the server is gone")
        self.layers[layer] = patches

    def erase(self, layer: str) -> None:
        del self.layers[layer]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def canvas() -> FakeCanvas:
    return FakeCanvas()


@pytest.fixture
def overlay(canvas: FakeCanvas) -> Iterator[Overlay]:
    opened = Overlay(canvas)
    yield opened
    opened.close()
    assert canvas.closed
    assert not canvas.layers


def square(left: int, top: int, side: int = 10) -> Patch:
    return Patch(left, top, np.full((side, side, 4), 255, np.uint8))


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_a_layer_is_gone_when_its_time_is_over(canvas: FakeCanvas, overlay: Overlay) -> None:
    assert overlay.show("short", [square(0, 0)], 0.05)
    assert overlay.show("long", [square(0, 0)], 600)
    assert eventually(lambda: "short" not in canvas.layers)
    assert "long" in canvas.layers
    assert overlay.shows("long")
    assert not overlay.shows("short")


def test_showing_again_prolongs_and_replaces(canvas: FakeCanvas, overlay: Overlay) -> None:
    overlay.show("a", [square(0, 0)], 0.2)
    overlay.show("a", [square(50, 50)], 600)
    overlay.show("b", [square(0, 0)], 0.2)
    assert eventually(lambda: "b" not in canvas.layers)
    assert [patch.left for patch in canvas.layers["a"]] == [50]


def test_nothing_is_shown_while_it_is_quiet(canvas: FakeCanvas, overlay: Overlay) -> None:
    overlay.show("a", [square(0, 0)], 600)
    with overlay.quiet() as removed:
        assert removed
        assert not canvas.layers
        assert not overlay.show("a", [square(0, 0)], 600)
        with overlay.quiet() as again:
            assert not again
        assert not overlay.show("a", [square(0, 0)], 600)
    assert overlay.show("a", [square(0, 0)], 600)


def test_what_is_covered_is_known_for_a_moment_longer(overlay: Overlay) -> None:
    assert overlay.covered(SCREEN) is None
    hollow = np.zeros((40, 40, 4), np.uint8)
    hollow[18:22, 18:22] = 255
    overlay.show("a", [Patch(-5, 50, hollow), square(500, 500)], 600)
    covered = overlay.covered(SCREEN)
    assert covered is not None
    assert covered.shape == (100, 200)
    rows, columns = np.nonzero(covered)
    assert (columns.min(), columns.max()) == (13 - MARGIN, 16 + MARGIN)
    assert (rows.min(), rows.max()) == (68 - MARGIN, 71 + MARGIN)
    assert overlay.covered(Rect(495, 495, 4, 4)) is not None
    overlay.hide("a")
    assert overlay.covered(SCREEN) is not None
    assert eventually(lambda: overlay.covered(SCREEN) is None)


def test_a_canvas_that_fails_costs_the_preview_only(canvas: FakeCanvas, overlay: Overlay) -> None:
    canvas.broken = True
    assert not overlay.show("a", [square(0, 0)], 600)
    canvas.broken = False
    assert not overlay.show("a", [square(0, 0)], 600)
    assert overlay.covered(SCREEN) is None
