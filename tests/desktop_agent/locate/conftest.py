"""Screens composed of pictures that scikit-image ships, and what the agent would capture of them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import data

from desktop_agent.geometry import Rect
from desktop_agent.locate import Localizer
from desktop_agent.screen import Monitor, Screenshot

RGB = np.ndarray


def as_screenshot(image: RGB, index: int = 1, left: int = 0) -> Screenshot:
    return Screenshot(Monitor(index, Rect(left, 0, image.shape[1], image.shape[0])), image)


def compose(width: int, height: int, pictures: list[RGB], seed: int) -> RGB:
    """A desktop with windows that hold pictures and lines of text."""
    rng = np.random.default_rng(seed)
    screen = np.full((height, width, 3), (46, 66, 84), np.uint8)
    for k, picture in enumerate(pictures):
        columns = len(pictures)
        left, w = round(width * (k + 0.06) / columns), round(width * 0.88 / columns)
        top, h = round(height * 0.08), round(height * 0.46)
        cv2.rectangle(screen, (left, top - 24), (left + w, height - 50), (235, 235, 238), -1)
        cv2.rectangle(screen, (left, top - 24), (left + w, top), (90, 110, 160), -1)
        screen[top : top + h, left : left + w] = cv2.resize(picture, (w, h), interpolation=cv2.INTER_AREA)
        for line in range(8):
            words = " ".join("".join(chr(c) for c in rng.integers(97, 123, rng.integers(2, 9))) for _ in range(6))
            spot = (left + 12, top + h + 30 + 30 * line)
            if spot[1] < height - 60:
                cv2.putText(screen, words[: w // 12], spot, cv2.FONT_HERSHEY_SIMPLEX, 0.6, (30, 30, 30), 1, cv2.LINE_AA)
    cv2.rectangle(screen, (0, height - 34), (width, height), (28, 28, 32), -1)
    return screen


@pytest.fixture(scope="session")
def desk() -> RGB:
    """1600 x 900, uint8 RGB."""
    return compose(1600, 900, [data.astronaut(), data.coffee(), data.chelsea()], seed=1)


@pytest.fixture(scope="session")
def other_desk() -> RGB:
    """1280 x 1024, uint8 RGB, nothing in common with ``desk``."""
    return compose(1280, 1024, [data.rocket(), data.immunohistochemistry()], seed=2)


@pytest.fixture(scope="session")
def dialog() -> RGB:
    """1280 x 720: a bright desktop with one window, a heading and two buttons."""
    screen = np.full((720, 1280, 3), (222, 226, 230), np.uint8)
    cv2.rectangle(screen, (200, 110), (980, 600), (250, 250, 250), -1)
    cv2.rectangle(screen, (200, 110), (980, 150), (70, 90, 140), -1)
    cv2.putText(screen, "Remove files", (240, 230), cv2.FONT_HERSHEY_SIMPLEX, 1.4, (40, 40, 40), 3, cv2.LINE_AA)
    cv2.rectangle(screen, (620, 520), (760, 570), (190, 200, 215), -1)
    cv2.rectangle(screen, (800, 520), (940, 570), (60, 120, 200), -1)
    return screen


@pytest.fixture(scope="session")
def localizer() -> Localizer:
    """Shared, so that each screen's features are computed once."""
    return Localizer()
