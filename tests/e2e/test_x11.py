"""The agent's X11 parts against a real server: clipboard in pieces, theft, windows, two monitors, fail-safe corners."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Point, Rect
from desktop_agent.input_x11 import X11Input
from desktop_agent.paste.clipboard_x11 import X11Clipboard, read_clipboard
from desktop_agent.screen import MssScreen
from desktop_agent.windows import window_at
from desktop_agent.windows.x11 import X11Probe
from desktop_agent.x11 import connection
from tests.e2e.desktop import VirtualDesktop, missing_programs, on_desktop, wait_for

pytestmark = [
    pytest.mark.app,
    pytest.mark.skipif(
        bool(missing_programs(["Xvfb", "openbox", "dbus-daemon", "xclip", "xdotool"])), reason="apt-get install xclip"
    ),
]


@pytest.fixture(scope="module")
def split() -> Iterator[VirtualDesktop]:
    with VirtualDesktop((1600, 900), two_monitors=True) as desktop, on_desktop(desktop):
        yield desktop


def copied(desktop: VirtualDesktop, kind: str) -> bytes:
    command = ["xclip", "-selection", "clipboard", "-t", kind, "-o"]
    return subprocess.run(command, env=desktop.env, capture_output=True, timeout=30, check=False).stdout


def copy(desktop: VirtualDesktop, text: bytes) -> None:
    quiet = subprocess.DEVNULL
    command = ["xclip", "-selection", "clipboard"]
    subprocess.run(command, input=text, env=desktop.env, stdout=quiet, stderr=quiet, timeout=30, check=True)
    wait_for(lambda: copied(desktop, "UTF8_STRING") == text, 20, "xclip did not take the clipboard")


@pytest.mark.parametrize("size", [10, 128 * 1024, 700_001])
def test_pictures_of_any_size_arrive_and_the_old_content_comes_back(split: VirtualDesktop, size: int) -> None:
    picture = os.urandom(size)
    copy(split, b"before")
    clipboard = X11Clipboard()
    try:
        with clipboard.offering({"image/png": picture}) as offer:
            assert not offer.taken("image/png", 0.05)
            assert copied(split, "image/png") == picture
            assert offer.taken("image/png", 10)
            assert read_clipboard()["image/png"] == picture
        assert copied(split, "UTF8_STRING") == b"before"
    finally:
        clipboard.close()
    assert copied(split, "UTF8_STRING") == b"before", "the content must outlive the agent"


def test_theft_is_noticed_and_the_thief_keeps_the_clipboard(split: VirtualDesktop) -> None:
    clipboard = X11Clipboard()
    try:
        with clipboard.offering({"image/png": b"ours"}) as offer:
            copy(split, b"theirs")
            assert not offer.taken("image/png", 20)
            assert offer.stolen
        assert copied(split, "UTF8_STRING") == b"theirs"
    finally:
        clipboard.close()


def test_windows_monitors_and_activation(split: VirtualDesktop) -> None:
    with connection() as display:
        screen = display.screen()
        ids = []
        for name, left in (("left", 100), ("right", 900)):
            window = screen.root.create_window(left, 150, 300, 200, 0, screen.root_depth, background_pixel=0x8899AA)
            window.set_wm_name(name)
            window.set_wm_class(name, "Example")
            window.set_wm_normal_hints(flags=1, min_width=1)
            window.map()
            ids.append(window.id)
        display.sync()
        probe = X11Probe()
        wait_for(lambda: len(probe.stack()) == 2, 20, "the windows did not appear")
        windows = {window.title: window for window in probe.stack()}
        assert {window.app_class for window in windows.values()} == {"Example"}
        for title in ("left", "right", "left"):
            probe.activate(windows[title])
            wait_for(lambda title=title: probe.stack()[0].title == title, 20, f"{title} was not raised")  # type: ignore[misc]
        right = windows["right"]
        assert window_at(probe.stack(), right.rect.center) == right
        assert window_at(probe.stack(), Point(799, 890)) is None
    assert [monitor.rect for monitor in MssScreen().monitors()] == [Rect(0, 0, 800, 900), Rect(800, 0, 800, 900)]


def test_the_pointer_returns_and_a_corner_stops_everything(split: VirtualDesktop) -> None:
    devices = X11Input()
    subprocess.run(["xdotool", "mousemove", "321", "123"], env=split.env, check=True)
    with devices.session() as session:
        session.move(Point(700.5, 500.5))
    with devices.session() as session:
        assert session.position() == Point(321.5, 123.5)
        session.move(Point(400.5, 400.5))
        subprocess.run(["xdotool", "mousemove", "0", "0"], env=split.env, check=True)
        with pytest.raises(PasteFailed) as stopped:
            session.chord("Control_L", "v")
        assert stopped.value.code == "aborted"
    subprocess.run(["xdotool", "mousemove", "321", "123"], env=split.env, check=True)


def test_a_held_button_is_refused(split: VirtualDesktop) -> None:
    subprocess.run(["xdotool", "mousemove", "790", "890", "mousedown", "1"], env=split.env, check=True)
    try:
        with pytest.raises(PasteFailed) as refused, X11Input().session():
            pass
    finally:
        subprocess.run(["xdotool", "mouseup", "1"], env=split.env, check=True)
    assert refused.value.code == "button_held"
