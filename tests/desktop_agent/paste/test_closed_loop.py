"""What a watch says when the cut-out does not appear in the window it was pasted into."""

from __future__ import annotations

from dataclasses import replace

import pytest

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Placement, Point
from desktop_agent.paste.closed_loop import Desk, Watch
from desktop_agent.screen import RGB
from desktop_agent.virtual_desktop import draw_desktop
from desktop_agent.windows import Window
from tests.desktop_agent.paste.fakes import DrawnScreen, FakeProbe, NoInput, window_of
from tests.e2e.coffee import coffee

BACKGROUND = draw_desktop()[100:700, 300:1200]


def something_else(picture: RGB) -> RGB:
    picture[200:400, 250:600] = 235
    return picture


def moved(window: Window) -> list[Window]:
    return [replace(window, rect=replace(window.rect, left=window.rect.left + 30))]


def with_dialog(window: Window) -> list[Window]:
    return [replace(window, id=77, title="Keep this?"), window]


@pytest.mark.parametrize("fetched", [False, True], ids=["before it took the picture", "after it took the picture"])
@pytest.mark.parametrize(
    ("meanwhile", "code", "said"),
    [
        (lambda window: [], "application_gone", "closed"),
        (moved, "window_moved", "moved"),
        (with_dialog, "dialog", "Keep this?"),
    ],
    ids=["killed", "moved", "dialog"],
)
def test_what_came_in_between_is_named(fetched: bool, meanwhile: object, code: str, said: str) -> None:
    screen = DrawnScreen(BACKGROUND)
    window = window_of(screen, "letter", "Editor")
    probe = FakeProbe([window])
    watch = Watch(Desk(screen, probe, NoInput(), NoInput()), window)  # type: ignore[arg-type]
    probe.windows = meanwhile(window)  # type: ignore[operator]
    screen.draw = something_else
    if fetched:
        with pytest.raises(PasteFailed) as failed:
            watch.find(coffee(200), Placement(Point(400, 300)), scales=(0.5, 2.0), seconds=0.3)
        failure = failed.value
    else:
        failure = watch.nothing_taken(Untouched())  # type: ignore[arg-type]
    assert failure.code == code
    assert said in failure.message


@pytest.mark.parametrize(("shown", "code"), [(something_else, "not_recognised"), (lambda p: p, "nothing_changed")])
def test_without_a_reason_it_says_what_is_seen(shown: object, code: str) -> None:
    screen = DrawnScreen(BACKGROUND)
    window = window_of(screen, "letter", "Editor")
    watch = Watch(Desk(screen, FakeProbe([window]), NoInput(), NoInput()), window)  # type: ignore[arg-type]
    screen.draw = shown  # type: ignore[assignment]
    with pytest.raises(PasteFailed) as failed:
        watch.find(coffee(200), Placement(Point(400, 300)), scales=(0.5, 2.0), seconds=0.3)
    assert failed.value.code == code


def test_a_window_that_is_elsewhere_by_now_gets_nothing() -> None:
    screen = DrawnScreen(BACKGROUND)
    window = window_of(screen, "letter", "Editor")
    with pytest.raises(PasteFailed) as failed:
        Watch(Desk(screen, FakeProbe(moved(window)), NoInput(), NoInput()), window)  # type: ignore[arg-type]
    assert failed.value.code == "window_moved"


class Untouched:
    """An offer that nobody fetched."""

    stolen = False
