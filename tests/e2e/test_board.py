"""The board in a real Chromium on a virtual desktop: what is pasted lands where it was pointed, and stays."""

from __future__ import annotations

import itertools
import math
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cheroot.wsgi import Server
from flask import Flask

from desktop_agent.board import BoardDriver, BoardStore, create_board
from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Placement, Point, Rect, normalized_degrees
from desktop_agent.paste.driver import RGBA
from desktop_agent.screen import MssScreen
from desktop_agent.windows import Window, window_at
from desktop_agent.windows.x11 import X11Probe
from tests.e2e.chromium import CHROMIUM
from tests.e2e.chromium import browser as browser
from tests.e2e.desktop import VirtualDesktop, wait_for, wait_until_still
from tests.e2e.desktop import desktop as desktop

pytestmark = [pytest.mark.app, pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="chromium is missing")]

GREEN, BLUE = Point(90.0, 130.0), Point(270.0, 80.0)  # the spots' centres in the cut-out


def spotted_cutout() -> RGBA:
    """360x240: a soft grey ellipse, half transparent on its right, with an opaque green and a blue spot to measure by."""
    y, x = np.mgrid[0:240, 0:360] + 0.5
    ellipse = np.clip((1 - np.hypot((x - 180) / 170, (y - 120) / 110)) * 60, 0, 1)
    cutout = np.zeros((240, 360, 4))
    cutout[..., :3] = (120 + 40 * np.sin(x / 9) * np.sin(y / 7))[..., None]
    cutout[..., 3] = 255 * ellipse * np.where(x > 320, 0.5, 1.0)
    for spot, color in ((GREEN, (0, 255, 0)), (BLUE, (0, 0, 255))):
        inside = np.clip(22.5 - np.hypot(x - spot.x, y - spot.y), 0, 1)[..., None]
        cutout[..., :3] = inside * color + (1 - inside) * cutout[..., :3]
        cutout[..., 3:] = np.maximum(cutout[..., 3:], 255 * inside)
    cutout[cutout[..., 3] == 0] = 0
    return cutout.round().astype(np.uint8)


def centroid(screenshot: np.ndarray, channel: int) -> Point:
    """Of the pixels where one colour channel stands out from both others."""
    image = screenshot.astype(float)
    weight = np.clip(image[..., channel] - np.delete(image, channel, axis=2).max(axis=2) - 150, 0, None)
    y, x = np.mgrid[0 : weight.shape[0], 0 : weight.shape[1]] + 0.5
    assert weight.sum() > 1000, "the spot is not on the screen"
    return Point(float((weight * x).sum() / weight.sum()), float((weight * y).sum() / weight.sum()))


def landed(screenshot: np.ndarray, cutout: RGBA) -> Placement:
    """Where the two spots say that the cut-out's raster lies."""
    green, blue = centroid(screenshot, 1), centroid(screenshot, 2)
    seen, drawn = complex(blue.x - green.x, blue.y - green.y), complex(BLUE.x - GREEN.x, BLUE.y - GREEN.y)
    turn = seen / drawn
    middle = complex(green.x, green.y) + turn * complex(cutout.shape[1] / 2 - GREEN.x, cutout.shape[0] / 2 - GREEN.y)
    return Placement(Point(middle.real, middle.imag), abs(turn), math.degrees(math.atan2(turn.imag, turn.real)))


class OpenBoard:
    """A served board and the page of a Chromium window that shows it, at zoom 100 %."""

    def __init__(self, desktop: VirtualDesktop, store: BoardStore, page: Any, url: str) -> None:
        self.desktop, self.store, self.page = desktop, store, page
        self.screen = MssScreen()
        self.driver = BoardDriver(store, self.screen)
        page.goto(url)
        page.locator("#empty").wait_for()
        wait_for(lambda: self.window() is not None, 30, "the board's window did not appear")
        wait_until_still(self.screen, 0.5)

    def window(self) -> Window | None:
        return next((window for window in X11Probe().stack() if window.title.startswith("AR copy & paste board")), None)

    def zoom(self, presses: int, ratio: float) -> None:
        window = self.window()
        assert window is not None
        X11Probe().activate(window)
        subprocess.run(["xdotool", "key", *["ctrl+plus"] * presses], env=self.desktop.env, check=True)
        wait_for(lambda: abs(self.page.evaluate("devicePixelRatio") - ratio) < 0.01, 20, "the browser did not zoom")

    def paste(self, cutout: RGBA, placement: Placement) -> float | None:
        window = window_at(X11Probe().stack(), placement.center)
        assert self.driver.can_handle(window)
        return self.driver.paste(cutout, placement, window).landing_error_px

    def wait_for_items(self, count: int) -> None:
        """By counting, since the page's security policy lets nobody evaluate strings in it."""
        shown = self.page.locator("#items li")
        wait_for(lambda: shown.count() == count, 20, f"the page does not show {count} items")

    def clear_sheet(self) -> np.ndarray:
        """A screenshot once the page has put its hints away and rests."""
        self.store.pages.hail(5)
        wait_until_still(self.screen, 0.3)
        return self.screenshot()

    def screenshot(self) -> np.ndarray:
        return self.screen.grab()[0].image


@contextmanager
def served(folder: Path, host: str) -> Iterator[tuple[BoardStore, str]]:
    store = BoardStore(folder)
    app = Flask("board-test")
    app.register_blueprint(create_board(store, poll_s=2.0))
    server = Server((host, 0), app, numthreads=8)
    server.prepare()
    thread = threading.Thread(target=server.serve, name="arcp-test-board")
    thread.start()
    try:
        yield store, f"http://{host}:{server.bind_addr[1]}/board"
    finally:
        store.close()
        server.stop()
        thread.join()


HOSTS = (f"127.0.0.{number}" for number in itertools.count(2))


@pytest.fixture
def board(desktop: VirtualDesktop, browser: Any, tmp_path: Path) -> Iterator[OpenBoard]:
    """An empty board of its own in a tab of its own. The browser remembers zooms by host, so each test has its own, too."""
    with served(tmp_path / "board", next(HOSTS)) as (store, url):
        page = browser.new_page()
        try:
            yield OpenBoard(desktop, store, page, url)
        finally:
            page.close()


@pytest.mark.parametrize("presses", [0, 3], ids=["zoom 100 %", "zoom 150 %"])
def test_lands_within_a_pixel(board: OpenBoard, presses: int) -> None:
    cutout = spotted_cutout()
    if presses:
        board.zoom(presses, 1.5)
    placements = [
        Placement(Point(420.3, 460.8), 0.62, -24.0),
        Placement(Point(980.5, 420.5), 1.0, 0.0),
        Placement(Point(1130.1, 640.6), 1.45, 17.5),
    ]
    for expected in placements:
        reported = board.paste(cutout, expected)
        board.page.mouse.move(5, 300)
        shown = landed(board.clear_sheet(), cutout)
        assert shown.center.distance(expected.center) <= 1.0
        assert shown.scale == pytest.approx(expected.scale, rel=0.01)
        assert abs(normalized_degrees(shown.rotation - expected.rotation)) <= 0.5
        assert reported is not None
        assert reported <= 1.0
        assert abs(reported - shown.center.distance(expected.center)) <= 0.3
        board.store.undo()
        board.wait_for_items(0)


def test_transparency_shows_the_paper(board: OpenBoard) -> None:
    cutout = np.zeros((200, 200, 4), np.uint8)
    cutout[20:180, 20:100] = (200, 30, 30, 255)
    cutout[20:180, 100:180] = (200, 30, 30, 128)
    before = board.clear_sheet().astype(float)
    board.paste(cutout, Placement(Point(700, 500), 1.0, 0.0))
    after = board.screenshot().astype(float)
    solid, half, hole = ((slice(450, 550), slice(left, left + 50)) for left in (620, 720, 782))
    assert np.abs(after[solid] - np.array([200.0, 30, 30])).max() <= 2
    assert np.abs(after[half] - (before[half] * 127 / 255 + np.array([200.0, 30, 30]) * 128 / 255)).max() <= 3
    assert (after[hole][:, :15] == before[hole][:, :15]).all()


def test_move_delete_undo_and_reload(board: OpenBoard) -> None:
    cutout, page = spotted_cutout(), board.page
    board.paste(cutout, Placement(Point(600, 500), 1.0, 10.0))
    (item,) = board.store.snapshot().items
    page.mouse.move(item.x, item.y)
    page.mouse.down()
    page.mouse.move(item.x + 60, item.y + 20, steps=4)
    page.mouse.move(item.x + 120, item.y + 40, steps=4)
    page.mouse.up()
    wait_for(lambda: board.store.get(item.id).x != item.x, 20, "the drag was not kept")
    moved = board.store.get(item.id)
    assert (moved.x, moved.y) == pytest.approx((item.x + 120, item.y + 40), abs=0.01)

    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press(".")
    wait_for(lambda: board.store.get(item.id).rotation != moved.rotation, 20, "the keys were not kept")
    nudged = board.store.get(item.id)
    assert (nudged.x, nudged.y, nudged.rotation) == pytest.approx((moved.x + 1, moved.y + 10, moved.rotation + 1))

    page.keyboard.press("Control+d")
    wait_for(lambda: len(board.store.snapshot().items) == 2, 20, "the copy was not made")
    board.wait_for_items(2)
    page.keyboard.press("Delete")
    wait_for(lambda: len(board.store.snapshot().items) == 1, 20, "the copy was not deleted")
    page.keyboard.press("Control+z")
    wait_for(lambda: len(board.store.snapshot().items) == 2, 20, "the deletion was not undone")
    page.keyboard.press("Control+Shift+Z")
    wait_for(lambda: len(board.store.snapshot().items) == 1, 20, "the deletion was not done again")

    page.reload()
    board.wait_for_items(1)
    shown = landed(board.clear_sheet(), cutout)
    expected = Point(600 + nudged.x - item.x, 500 + nudged.y - item.y)
    assert shown.center.distance(expected) <= 1.0
    assert BoardStore(board.store.folder).snapshot().items == board.store.snapshot().items


def test_corner_handle_scales_and_round_handle_turns(board: OpenBoard) -> None:
    page = board.page
    item = board.store.add(spotted_cutout(), Placement(Point(600, 350), 1.0, 0.0))
    board.wait_for_items(1)
    page.keyboard.press("Tab")
    page.wait_for_selector("#frame:not([hidden])")
    drag(page, (780, 470), (960, 590))
    wait_for(lambda: board.store.get(item.id).scale != 1, 20, "the corner was not dragged")
    grown = board.store.get(item.id)
    assert (grown.scale, grown.x, grown.y) == pytest.approx((1.5, 690, 410), rel=0.01)
    drag(page, (690, 410 - 180 - 28), (690 + 208, 410))
    wait_for(lambda: board.store.get(item.id).rotation != 0, 20, "the handle was not turned")
    assert board.store.get(item.id).rotation == pytest.approx(90, abs=0.5)


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=5)
    page.mouse.up()


def test_saved_picture_holds_the_cutouts_alone(board: OpenBoard, tmp_path: Path) -> None:
    import cv2

    cutout = spotted_cutout()
    board.store.add(cutout, Placement(Point(500, 300), 0.5, 0.0))
    board.wait_for_items(1)
    with board.page.expect_download() as download:
        board.page.keyboard.press("Control+s")
    saved = cv2.imread(str(download.value.path()), cv2.IMREAD_UNCHANGED)
    assert saved.shape == cutout.shape
    assert np.abs(saved[..., 3].astype(int) - cutout[..., 3]).max() <= 1
    opaque = cutout[..., 3] == 255
    assert np.abs(saved[..., 2::-1][opaque].astype(int) - cutout[..., :3][opaque]).max() <= 1


def test_covered_corners_and_points_beside_the_sheet_are_told(board: OpenBoard) -> None:
    cutout, window = spotted_cutout(), board.window()
    assert window is not None
    with pytest.raises(PasteFailed) as failure:
        board.driver.paste(cutout, Placement(Point(window.rect.left + 300, window.rect.top + 20)), window)
    assert failure.value.code == "board_outside"
    elsewhere = Window(
        window.id, window.title, window.app_class, window.app_instance, Rect(1000, 400, 300, 300), window.pid
    )
    with pytest.raises(PasteFailed) as failure:
        board.driver.paste(cutout, Placement(Point(1100, 500)), elsewhere)
    assert failure.value.code == "board_hidden"
    assert board.store.snapshot().items == ()


def test_a_view_that_moves_meanwhile_is_looked_at_again(board: OpenBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    cutout, add, calls = spotted_cutout(), board.store.add, []

    def disturbed(*arguments: Any) -> Any:
        if not calls:
            board.page.mouse.move(500, 300)
            (was,) = board.store.pages.hail(5).values()
            board.page.mouse.wheel(0, 130)
            wait_for(lambda: was not in board.store.pages.hail(5).values(), 20, "the sheet was not panned")
        calls.append(arguments)
        return add(*arguments)

    monkeypatch.setattr(board.store, "add", disturbed)
    expected = Placement(Point(700.2, 480.4), 0.9, 12.0)
    board.paste(cutout, expected)
    assert len(calls) == 2
    assert landed(board.screenshot(), cutout).center.distance(expected.center) <= 1.0
    assert len(board.store.snapshot().items) == 1
    board.store.undo()
    assert board.store.snapshot().items == ()


def test_a_closed_page_is_told_and_nothing_stays(board: OpenBoard) -> None:
    window = board.window()
    board.page.goto("about:blank")
    with pytest.raises(PasteFailed) as failure:
        board.driver.paste(spotted_cutout(), Placement(Point(700, 500)), window)
    assert failure.value.code == "board_not_answering"
    assert board.store.snapshot().items == ()
