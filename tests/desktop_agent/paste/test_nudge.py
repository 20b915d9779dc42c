"""Dragging what was pasted: lost pixels are learned, arrow keys do the rest, and a drag without a hold is noticed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest

from desktop_agent.geometry import Placement, Point
from desktop_agent.paste.closed_loop import Desk, Watch
from desktop_agent.paste.nudge import move_into_place
from desktop_agent.screen import RGB, PictureScreen
from desktop_agent.virtual_desktop import draw_desktop
from tests.desktop_agent.paste.fakes import DrawnScreen, FakeProbe, NoInput, window_of
from tests.e2e.coffee import coffee

BACKGROUND = draw_desktop()[100:800, 300:1300]
CUTOUT = coffee(220)
ARROWS = {"Left": (-1, 0), "Right": (1, 0), "Up": (0, -1), "Down": (0, 1)}


@dataclass
class Editor:
    """A program with one selected object, whose drags lose ``bias`` pixels and whose arrow keys go ``step`` pixels."""

    placed: Placement
    bias: float = 5.0
    step: float = 1.0
    movable: bool = True
    shown: bool = False
    drags: int = 0

    def draw(self, picture: RGB) -> RGB:
        screen = PictureScreen(picture)
        if self.shown:
            screen.paste(CUTOUT, self.placed)
        return screen.picture

    @contextmanager
    def session(self) -> Iterator[Editor]:
        yield self

    def drag(self, start: Point, end: Point) -> None:
        self.drags += 1
        length = start.distance(end)
        if self.movable and length > self.bias and start.distance(self.placed.center) < 80:
            part = (length - self.bias) / length
            self._shift(part * (end.x - start.x), part * (end.y - start.y))

    def chord(self, key: str) -> None:
        if self.movable:
            self._shift(self.step * ARROWS[key][0], self.step * ARROWS[key][1])

    def _shift(self, dx: float, dy: float) -> None:
        self.placed = replace(self.placed, center=self.placed.center.shifted(dx, dy))


def opened(editor: Editor) -> tuple[Desk, Watch]:
    screen = DrawnScreen(BACKGROUND, editor.draw)
    window = window_of(screen, "drawing", "Editor")
    desk = Desk(screen, FakeProbe([window]), editor, NoInput())  # type: ignore[arg-type]
    watch = Watch(desk, window)
    editor.shown = True
    return desk, watch


@pytest.mark.parametrize(("bias", "step"), [(5.0, 1.0), (4.0, 2.0)])
def test_the_object_ends_where_it_should_be(bias: float, step: float) -> None:
    start, wanted = Placement(Point(500, 350), 0.7, 12), Placement(Point(330.4, 420.7), 0.7, 12)
    editor = Editor(start, bias, step)
    desk, watch = opened(editor)
    landed = move_into_place(desk, watch, CUTOUT, start, wanted)
    assert landed is not None
    assert landed.center.distance(editor.placed.center) < 0.1
    assert editor.placed.center.distance(wanted.center) <= math.hypot(step, step) / 2 + 0.2
    assert editor.drags <= 2


def test_what_cannot_be_dragged_is_left_alone() -> None:
    start = Placement(Point(500, 350), 0.7, 12)
    editor = Editor(start, movable=False)
    desk, watch = opened(editor)
    landed = move_into_place(desk, watch, CUTOUT, start, Placement(Point(330.4, 420.7), 0.7, 12))
    assert landed is not None
    assert landed.center.distance(start.center) < 0.1
    assert editor.drags == 1


def test_steps_that_are_too_wide_are_taken_back() -> None:
    start, wanted = Placement(Point(500, 350), 0.7, 12), Placement(Point(500.2, 346.5), 0.7, 12)
    editor = Editor(start, step=13.0)
    desk, watch = opened(editor)
    landed = move_into_place(desk, watch, CUTOUT, start, wanted)
    assert landed is not None
    assert editor.placed.center == start.center
    assert landed.center.distance(start.center) < 0.1
