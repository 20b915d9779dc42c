"""An agent on fakes where the real thing would need a display: the localiser, the clips and the cut-out model are real."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
from flask.testing import FlaskClient
from numpy.typing import NDArray

from desktop_agent.agent import Agent
from desktop_agent.app import Access, create_app
from desktop_agent.clips import ClipStore
from desktop_agent.devices import DeviceStore, PairingWindow
from desktop_agent.errors import NoDriver, PasteFailed, ScreenUnavailable
from desktop_agent.geometry import Placement, Rect
from desktop_agent.paste.driver import RGBA, Landing
from desktop_agent.screen import RGB, Monitor, Screenshot
from desktop_agent.segmentation import EmbeddedSegmentation
from desktop_agent.windows import Window

SAMPLES = Path(__file__).parents[2] / "mobile_client_stub" / "samples"


@pytest.fixture(scope="session")
def desktop_picture() -> RGB:
    """A screenshot of a drawing program with a poster, uint8 1080x1920x3."""
    return np.asarray(cv2.cvtColor(cv2.imread(str(SAMPLES / "desktop.png")), cv2.COLOR_BGR2RGB))


@pytest.fixture(scope="session")
def coffee_photo() -> bytes:
    return (SAMPLES / "coffee.jpg").read_bytes()


@dataclass
class FakeScreen:
    """Monitors side by side from pictures; ``broken`` makes every capture fail."""

    pictures: list[NDArray[np.uint8]]
    left: int = 0
    broken: bool = False

    def monitors(self) -> list[Monitor]:
        offsets = np.cumsum([self.left, *(picture.shape[1] for picture in self.pictures)])
        return [
            Monitor(i + 1, Rect(int(offsets[i]), 0, picture.shape[1], picture.shape[0]))
            for i, picture in enumerate(self.pictures)
        ]

    def grab(self) -> list[Screenshot]:
        if self.broken:
            raise ScreenUnavailable("The screen is locked: unlock the computer.")
        return [Screenshot(monitor, picture) for monitor, picture in zip(self.monitors(), self.pictures, strict=True)]


@dataclass
class FakeDriver:
    """Records what it was asked to paste; ``failure`` is raised instead."""

    name: str = "fake"
    failure: Exception | None = None
    pasted: list[tuple[RGBA, Placement, Window | None]] = field(default_factory=list)

    def can_handle(self, window: Window | None) -> bool:
        return window is not None

    def paste(self, cutout: RGBA, placement: Placement, window: Window | None) -> Landing:
        if self.failure is not None:
            raise self.failure
        self.pasted.append((cutout, placement, window))
        return Landing("fake", "Editor", landing_error_px=0.25)


@dataclass
class FakeWindows:
    windows: list[Window]

    def stack(self) -> list[Window]:
        return self.windows

    def activate(self, window: Window) -> None:
        raise AssertionError("the core never activates windows; drivers do")


@dataclass
class World:
    """An agent and everything a test wants to look at or break."""

    agent: Agent
    client: FlaskClient
    access: Access
    screen: FakeScreen
    driver: FakeDriver
    windows: FakeWindows
    token: str

    def headers(self, token: str | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {token or self.token}"}


@pytest.fixture
def world(tmp_path: Path, desktop_picture: RGB) -> Iterator[World]:
    screen, driver = FakeScreen([desktop_picture]), FakeDriver()
    windows = FakeWindows([Window(1, "poster", "Editor", "editor", Rect(0, 0, 1920, 1080))])

    def choose(window: Window | None) -> FakeDriver:
        if not driver.can_handle(window):
            raise NoDriver("There is no window under the point: open a document there.", code="no_window")
        return driver

    agent = Agent(
        segmentation=EmbeddedSegmentation(),
        screen=screen,
        clips=ClipStore(tmp_path / "clips"),
        choose_driver=choose,
        windows=windows,
    )
    access = Access(DeviceStore(tmp_path / "devices.json"), PairingWindow(), "local-token")
    _, token = access.devices.add("phone")
    try:
        yield World(agent, create_app(agent, access).test_client(), access, screen, driver, windows, token)
    finally:
        agent.close()


__all__ = ["FakeDriver", "FakeScreen", "FakeWindows", "PasteFailed", "World"]
