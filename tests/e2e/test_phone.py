"""The whole story in a phone's browser against the real agent: scan, pair, tap, float, aim, paste; and when things go wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import requests

from desktop_agent.geometry import Placement, Point
from desktop_agent.runtime import Options
from desktop_agent.tls import local_addresses
from mobile_client_stub.camera import Shot
from tests.e2e.desktop import wait_for
from tests.e2e.phone import CHROMIUM, RGB, look_again, phone, state
from tests.e2e.story import SAMPLES, Story, played, scanned

if TYPE_CHECKING:
    from playwright.sync_api import Page

WHOLE = Placement(Point(960.0, 540.0))
LANDING_PX = 4.0
"""The outline of what changed on the screen is a coarse measure: a pixel or two are its own."""
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="not installed: apt-get install chromium"),
    pytest.mark.skipif(not local_addresses(), reason="this machine has no network address"),
]


@pytest.fixture
def options() -> Options:
    return Options(screen=str(SAMPLES / "desktop.png"), port=0, name="Studio PC")


@pytest.fixture
def story(tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    # landing is measured by the outline of what changed: a fixed model keeps the cut-out inside the screen
    monkeypatch.setattr("server.DEFAULT_MODEL", "grabcut")
    with played(tmp_path, options) as opened:
        yield opened


def landed(before: RGB, after: RGB, rgba: RGB) -> tuple[float, float]:
    """Where the middle of the cut-out's raster is, from what changed on the screen and where its alpha is solid."""
    changed = (np.abs(before.astype(int) - after).max(axis=2) > 8).astype(np.uint8)
    x, y, w, h = cv2.boundingRect(changed)
    ax, ay, aw, ah = cv2.boundingRect((rgba[..., 3] > 40).astype(np.uint8))
    scale = (w / aw + h / ah) / 2
    height, width = rgba.shape[:2]
    return (
        x + w / 2 + scale * (width / 2 - ax - aw / 2) - 0.5,
        y + h / 2 + scale * (height / 2 - ay - ah / 2) - 0.5,
    )


def test_scan_pair_tap_float_aim_paste_lands_where_the_phone_pointed(story: Story) -> None:
    page = story.page
    page.goto(scanned(story.running))
    page.wait_for_selector("#card-code:not([hidden])")
    assert page.inner_text("#card-code") == story.running.access.last_code
    assert "#" not in page.url  # the one-time token has left the address bar
    page.get_by_role("button", name="Open the camera").click()
    state(page, "camera")
    story.copy()
    story.pinch(0.3)
    shot = story.point()
    story.locked()
    assert page.inner_text("#pill-text") == "Tap to paste"
    before = story.screen.picture
    wanted = shot.projection.to_screen([[value + 0.5 for value in story.floating_at()]])[0] - 0.5
    page.get_by_role("button", name="Paste here").click()
    page.wait_for_selector("#landed:not([hidden])")
    clip = story.running.agent.clips.all()[0]
    rgba = cv2.imdecode(np.frombuffer(story.running.agent.clips.png(clip), np.uint8), cv2.IMREAD_UNCHANGED)
    place = landed(before, story.screen.picture, rgba)
    assert np.hypot(place[0] - wanted[0], place[1] - wanted[1]) < LANDING_PX
    state(page, "camera")
    assert "Undo" in page.inner_text("#toast-text")


def test_a_reload_needs_no_code_and_keeps_the_tray(story: Story) -> None:
    story.pair()
    story.copy()
    story.page.reload()
    state(story.page, "camera")
    story.page.get_by_role("button", name="Recent cut-outs: 1").click()
    story.page.get_by_role("button", name="Cut-out 1").click()
    story.page.get_by_role("button", name="Paste it").click()
    state(story.page, "floating")


def test_pinch_and_twist_size_and_turn_the_cutout(story: Story) -> None:
    story.pair()
    story.copy()
    before = placed(story.page)
    session = story.page.context.new_cdp_session(story.page)
    x, y = before["x"], before["y"]
    fingers = [(x - 40, y), (x + 40, y)]
    touch(session, "touchStart", fingers)
    for step in range(1, 9):
        angle, reach = np.radians(30 * step / 8), 40 * (1 + 0.5 * step / 8)
        dx, dy = reach * np.cos(angle), reach * np.sin(angle)
        touch(session, "touchMove", [(x - dx, y - dy), (x + dx, y + dy)])
    touch(session, "touchEnd", [])
    after = placed(story.page)
    assert after["scale"] / before["scale"] == pytest.approx(1.5, rel=0.03)
    assert after["rotation"] == pytest.approx(30, abs=1.5)
    assert (after["x"], after["y"]) == (pytest.approx(x, abs=3), pytest.approx(y, abs=3))
    assert story.page.evaluate("document.body.dataset.state") == "floating"


def touch(session: Any, kind: str, points: list[tuple[float, float]]) -> None:
    touches = [{"x": float(x), "y": float(y), "id": index} for index, (x, y) in enumerate(points)]
    session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})


def placed(page: Page) -> dict[str, float]:
    return dict(page.evaluate("async () => (await import('/web/session.js')).floating.at"))


def test_back_discards_by_button_and_by_gesture(story: Story) -> None:
    story.pair()
    story.copy()
    story.page.get_by_role("button", name="Back").click()
    state(story.page, "camera")
    story.copy()
    story.page.go_back()
    state(story.page, "camera")


def test_small_frames_come_one_at_a_time_and_at_most_ten_a_second(story: Story) -> None:
    story.pair()
    sent: list[float] = []
    flying = most = 0

    def begins(request: Any) -> None:
        nonlocal flying, most
        if request.url.endswith("/aim"):
            sent.append(time.monotonic())
            flying += 1
            most = max(most, flying)

    def ends(request: Any) -> None:
        nonlocal flying
        if request.url.endswith("/aim"):
            flying -= 1

    story.page.on("request", begins)
    story.page.on("requestfinished", ends)
    story.page.on("requestfailed", ends)
    story.copy()
    story.point()
    story.locked()
    story.page.wait_for_timeout(2000)
    assert len(sent) > 3
    assert most == 1
    assert len(sent) / (sent[-1] - sent[0]) < 10.5


def test_a_lost_connection_while_pasting_lands_once(story: Story) -> None:
    story.pair()
    story.copy()
    story.point()
    story.locked()
    lost = 0

    def lose(route: Any) -> None:
        """The request arrives, its answer does not."""
        nonlocal lost
        if lost < 2:
            lost += 1
            if lost == 1:
                route.fetch()
            route.abort("connectionreset")
        else:
            route.continue_()

    pasted = []
    paste = story.screen.paste
    story.screen.paste = lambda *args: pasted.append(args) or paste(*args)  # type: ignore[method-assign, func-returns-value]
    story.page.route("**/paste", lose)
    story.page.get_by_role("button", name="Paste here").click()
    story.page.wait_for_selector("#landed:not([hidden])")
    assert lost == 2
    assert len(pasted) == 1


def test_a_view_of_something_else_says_why_and_keeps_the_cutout(story: Story) -> None:
    story.pair()
    story.copy()
    story.page.get_by_role("button", name="Paste here").click()
    story.page.wait_for_selector("#card:not([hidden])")
    assert story.page.inner_text("#card-title") == "The place was not found"
    assert story.page.locator("#card-hops .failed").inner_text().strip() == "screen"
    story.page.get_by_role("button", name="Try again").click()
    state(story.page, "floating")


def test_marks_help_where_the_place_alone_cannot_be_recognised(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "desktop_agent.on_screen.MARKER_SECONDS", 100.0
    )  # the simulated camera is slower than a phone's
    story.screen.paste(np.dstack([np.full((1080, 1920, 3), 90, np.uint8), np.full((1080, 1920), 255, np.uint8)]), WHOLE)
    story.pair()
    story.copy()
    story.pinch(0.3)
    story.camera.show(np.full((1280, 720, 3), 90, np.uint8))
    look_again(story.page)
    answers: list[int] = []
    shots: list[Shot] = []

    def watched(route: Any) -> None:
        """When the marks are on the screen, the camera sees them."""
        response = route.fetch()
        answers.append(response.status)
        if response.status == 409:
            shots.append(story.point(picture=story.screen.shown))
        route.fulfill(response=response)

    story.page.route("**/paste", watched)
    story.page.get_by_role("button", name="Paste here").click()
    story.page.wait_for_selector("#landed:not([hidden])")
    assert answers == [409, 200]
    (shot,) = shots
    wanted = shot.projection.to_screen([[value + 0.5 for value in story.floating_at()]])[0] - 0.5
    clip = story.running.agent.clips.all()[0]
    rgba = cv2.imdecode(np.frombuffer(story.running.agent.clips.png(clip), np.uint8), cv2.IMREAD_UNCHANGED)
    place = landed(np.full((1080, 1920, 3), 90, np.uint8), story.screen.picture, rgba)
    assert np.hypot(place[0] - wanted[0], place[1] - wanted[1]) < LANDING_PX


def test_a_computer_that_asks_first_is_waited_for(story: Story) -> None:
    story.pair()
    story.copy()
    story.point()
    story.locked()
    oversight = story.running.agent.oversight
    assert oversight is not None
    oversight.asks = True
    story.page.get_by_role("button", name="Paste here").click()
    story.page.wait_for_function("() => document.getElementById('pill-text').textContent.includes('asks first')")
    (question,) = oversight.public()["questions"]
    oversight.answer(question["id"], False)
    story.page.wait_for_selector("#card:not([hidden])")
    assert story.page.inner_text("#card-title") == "It was not allowed"
    story.page.get_by_role("button", name="Try again").click()
    story.locked()
    story.page.get_by_role("button", name="Paste here").click()
    wait_for(lambda: bool(oversight.public()["questions"]), 60, "nobody was asked")
    oversight.answer(oversight.public()["questions"][0]["id"], True)
    story.page.wait_for_selector("#landed:not([hidden])")


def test_a_revoked_phone_is_told_to_scan_again(story: Story) -> None:
    story.pair()
    story.running.access.devices.revoke(story.running.access.devices.all()[0].id)
    story.page.touchscreen.tap(200, 400)
    story.page.wait_for_selector("#card:not([hidden])")
    assert story.page.inner_text("#card-title") == "This phone is no longer connected"


def test_a_used_code_is_refused_on_a_second_phone(story: Story) -> None:
    url = scanned(story.running)
    story.page.goto(url)
    story.page.wait_for_selector("#card-code:not([hidden])")
    second = phone(story.browser)
    try:
        page = second.new_page()
        page.goto(url)
        page.wait_for_selector("#card:not([hidden])")
        assert page.inner_text("#card-title") == "This code does not work"
    finally:
        second.close()


def test_a_denied_camera_leads_to_photos(story: Story) -> None:
    story.page.add_init_script(
        "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotAllowedError'))"
    )
    story.page.goto(scanned(story.running))
    story.page.get_by_role("button", name="Open the camera").click()
    story.page.get_by_role("button", name="Use photos instead").click()
    assert story.page.get_by_role("button", name="Take a photo").is_visible()


def test_a_stream_that_ended_in_the_background_restarts(story: Story) -> None:
    story.pair()
    story.page.evaluate(
        """async () => {
            const video = document.getElementById('live'), track = video.srcObject.getVideoTracks()[0];
            track.stop();
            track.dispatchEvent(new Event('ended'));
        }"""
    )
    story.page.wait_for_function(
        "() => document.getElementById('live').srcObject?.getVideoTracks()[0]?.readyState === 'live'"
    )


def test_over_a_cable_the_camera_works_without_a_certificate(story: Story) -> None:
    token = story.running.invite().url.partition("#")[2].partition(".")[0]
    story.page.goto(f"{story.running.url.replace('127.0.0.1', 'localhost')}/#{token}")
    story.page.get_by_role("button", name="Open the camera").click()
    state(story.page, "camera")
    assert story.page.evaluate("isSecureContext && document.getElementById('live').videoWidth > 0")


def test_the_screen_stays_on_and_does_so_again_after_the_background(story: Story) -> None:
    story.page.add_init_script(
        """window.locks = [];
        navigator.wakeLock.request = async (kind) => {
            const lock = Object.assign(new EventTarget(), {kind, released: false, release: async () => { lock.released = true; }});
            window.locks.push(lock);
            return lock;
        };"""
    )
    story.pair()
    story.page.wait_for_function("() => window.locks.length === 1 && window.locks[0].kind === 'screen'")
    story.page.evaluate(
        "() => { window.locks[0].released = true; document.dispatchEvent(new Event('visibilitychange')); }"
    )
    story.page.wait_for_function("() => window.locks.length === 2")


def test_the_server_is_killed_between_copy_and_paste(tmp_path: Path, options: Options) -> None:
    with segmentation_server() as (process, url), played(tmp_path, replace(options, server=url)) as story:
        story.pair()
        story.copy()
        process.kill()
        process.wait()
        before = story.screen.picture
        story.point()
        story.locked()
        story.page.get_by_role("button", name="Paste here").click()
        story.page.wait_for_selector("#landed:not([hidden])")
        assert (story.screen.picture != before).any()
        state(story.page, "camera")
        story.page.touchscreen.tap(200, 400)
        story.page.wait_for_selector("#card:not([hidden])")
        assert story.page.locator("#card-hops .failed").inner_text().strip() == "cut-out"
        assert url in story.page.inner_text("#card-text")


@contextmanager
def segmentation_server() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "server", "--port", str(port)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                if requests.get(f"{url}/v2/health/ready", timeout=2).status_code == 200:
                    break
            except requests.ConnectionError:
                pass
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.1)
        yield process, url
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(("width", "height"), [(320, 568), (412, 915), (740, 360)])
def test_everything_is_inside_the_screen_and_large_enough(story: Story, width: int, height: int) -> None:
    story.page.set_viewport_size({"width": width, "height": height})
    story.pair()
    check_layout(story.page, width, height)
    story.copy()
    check_layout(story.page, width, height)
    story.page.get_by_role("button", name="Settings").click()
    check_layout(story.page, width, height, scope="#settings ", scrolls=True)


def check_layout(page: Page, width: int, height: int, scope: str = "", scrolls: bool = False) -> None:
    boxes = page.evaluate(
        """scope => [...document.querySelectorAll(scope + 'button')].filter((b) => b.checkVisibility()).map((b) => {
            const r = b.getBoundingClientRect();
            return [b.id || b.textContent, r.left, r.top, r.right, r.bottom, b.getAttribute('aria-label') || b.textContent.trim()];
        })""",
        scope,
    )
    assert boxes
    for name, left, top, right, bottom, label in boxes:
        assert left >= 0, name
        assert right <= width + 0.5, name
        assert scrolls or (top >= 0 and bottom <= height + 0.5), name
        assert min(right - left, bottom - top) >= 44, name
        assert label, name
    assert page.evaluate("document.documentElement.scrollWidth") <= width
