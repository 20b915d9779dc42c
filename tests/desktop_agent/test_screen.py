"""Picture screens, the drawn desktop, and clear words where nothing can be captured."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from desktop_agent.errors import ScreenUnavailable
from desktop_agent.geometry import Placement, Point, Rect
from desktop_agent.screen import PictureScreen, open_screen


def test_a_picture_file_is_one_monitor_and_can_be_saved(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), (10, 20, 30)).save(tmp_path / "a.png")
    screen = open_screen(str(tmp_path / "a.png"))
    assert isinstance(screen, PictureScreen)
    assert [monitor.rect for monitor in screen.monitors()] == [Rect(0, 0, 40, 30)]
    red = np.zeros((4, 4, 4), np.uint8)
    red[...] = (255, 0, 0, 255)
    assert screen.paste(red, Placement(Point(20, 15))) == Rect(18, 13, 4, 4)
    screen.save(tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as saved:
        assert saved.getpixel((18, 13)) == (255, 0, 0)
        assert saved.getpixel((17, 13)) == (10, 20, 30)
    assert screen.paste(red, Placement(Point(-50, -50))) is None


def test_the_drawn_desktop_is_always_the_same() -> None:
    screens = [open_screen("virtual").grab()[0].image for _ in range(2)]
    assert screens[0].shape == (1080, 1920, 3)
    np.testing.assert_array_equal(*screens)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n broken"])
def test_a_file_that_is_no_picture_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "screen.png"
    path.write_bytes(content)
    with pytest.raises(ScreenUnavailable, match=r"screen\.png cannot be used as a screen"):
        open_screen(str(path))


def test_without_a_display_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(ScreenUnavailable, match="--screen virtual"):
        open_screen("auto")


def test_a_display_that_does_not_answer_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("DISPLAY", ":7331")
    with pytest.raises(ScreenUnavailable, match="cannot be captured"):
        open_screen("auto")


def test_pastes_from_many_threads_are_all_there() -> None:
    screen = PictureScreen(np.zeros((100, 100, 3), np.uint8))
    dot = np.full((2, 2, 4), 255, np.uint8)
    threads = [threading.Thread(target=screen.paste, args=(dot, Placement(Point(5 + 10 * i, 50)))) for i in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert int((screen.picture == 255).all(axis=2).sum()) == 40
