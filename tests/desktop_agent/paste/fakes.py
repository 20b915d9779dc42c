"""What drivers work with, where the real thing is another platform's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from desktop_agent.geometry import Point, Rect
from desktop_agent.paste.closed_loop import Desk
from desktop_agent.screen import RGB, Monitor, Screenshot
from desktop_agent.windows import Window


@dataclass
class DrawnScreen:
    """One monitor that shows what ``draw`` makes of its background at every look."""

    background: RGB
    draw: Callable[[RGB], RGB] = lambda picture: picture

    def monitors(self) -> list[Monitor]:
        return [Monitor(1, Rect(0, 0, self.background.shape[1], self.background.shape[0]))]

    def grab(self) -> list[Screenshot]:
        return [Screenshot(self.monitors()[0], np.ascontiguousarray(self.draw(self.background.copy())))]


@dataclass
class FakeProbe:
    windows: list[Window]
    activated: list[int] = field(default_factory=list)

    def stack(self) -> list[Window]:
        return self.windows

    def activate(self, window: Window) -> None:
        self.activated.append(window.id)


class NoInput:
    """For drivers that never touch pointer, keys or clipboard."""

    @contextmanager
    def session(self) -> Iterator[NoInput]:
        raise AssertionError("this driver works without pointer and keys")
        yield self

    @contextmanager
    def offering(self, content: dict[str, bytes]) -> Iterator[NoInput]:
        raise AssertionError("this driver works without the clipboard")
        yield self

    def close(self) -> None: ...


def desk_without_hands(screen: DrawnScreen, window: Window) -> Desk:
    nothing = NoInput()
    return Desk(screen, FakeProbe([window]), nothing, nothing)  # type: ignore[arg-type]


def window_of(screen: DrawnScreen, title: str, app_class: str) -> Window:
    return Window(7, title, app_class, app_class.lower(), screen.monitors()[0].rect)


MIDDLE = Point(640.3, 420.8)
