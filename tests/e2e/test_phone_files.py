"""Pictures from files, beside the phone's live camera or instead of it, in a phone's browser against the real agent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from desktop_agent.listener import listening
from desktop_agent.tls import local_addresses
from mobile_client_stub.camera import SimulatedCamera
from tests.e2e.phone import CHROMIUM, state
from tests.e2e.story import AIM, SAMPLES, Story
from tests.e2e.test_phone import check_layout, options, placed, story

__all__ = ["options", "story"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="not installed: apt-get install chromium"),
    pytest.mark.skipif(not local_addresses(), reason="this machine has no network address"),
]


def choose(story: Story, picture: Path) -> None:
    with story.page.expect_file_chooser() as chooser:
        story.page.get_by_role("button", name="Choose a picture from this phone").click()
    chooser.value.set_files(picture)


def test_a_chosen_picture_is_tapped_and_lifted_where_it_is_shown(story: Story, tmp_path: Path) -> None:
    cup = Image.open(SAMPLES / "coffee.jpg").convert("RGBA")
    clear = Image.new("L", cup.size, 255)
    ImageDraw.Draw(clear).rectangle((0, 0, 30, 30), fill=0)
    cup.putalpha(clear)
    cup.save(tmp_path / "cup.png")
    story.pair()
    page = story.page
    page.set_viewport_size({"width": 390, "height": 844})
    choose(story, tmp_path / "cup.png")
    state(page, "choose")
    check_layout(page, 390, 844)
    corner = "() => [...document.getElementById('photo').getContext('2d').getImageData(5, 5, 1, 1).data]"
    assert page.evaluate(corner) == [255, 255, 255, 255]  # as the server lays it, too
    tapped = page.evaluate(
        """async () => {
            const [{looked}, {toPicture}] = [await import('/web/session.js'), await import('/web/geometry.js')];
            const {x, y} = toPicture(looked().fitted, {x: 150, y: 422});
            return [x, y];
        }"""
    )
    shown = 390 / cup.width  # all of it is seen, across the screen
    assert tapped == pytest.approx([150 / shown - 0.5, cup.height / 2 - 0.5])
    page.touchscreen.tap(150, 422)
    state(page, "picked")
    assert placed(page)["scale"] == pytest.approx(shown)


def test_a_file_that_is_no_picture_says_what_to_choose(story: Story, tmp_path: Path) -> None:
    (tmp_path / "cup.jpg").write_text("no picture")
    story.pair()
    choose(story, tmp_path / "cup.jpg")
    story.page.wait_for_selector("#card:not([hidden])")
    assert "JPEG or PNG" in story.page.inner_text("#card-next")
    story.page.get_by_role("button", name="New photo").click()
    state(story.page, "camera")


def test_without_a_secure_context_both_photos_come_from_files(story: Story, tmp_path: Path) -> None:
    address = local_addresses()[0]
    app = requests_app(story)
    with listening(app, address, 0) as port:
        url = f"http://{address}:{port}"
        page = story.page
        page.goto(f"{url}/#{story.running.invite().url.partition('#')[2]}")
        page.get_by_role("button", name="Open the camera").click()
        state(page, "camera")
        assert page.evaluate("isSecureContext") is False
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Take a photo").click()
        chooser.value.set_files(SAMPLES / "coffee.jpg")
        state(page, "choose")
        page.get_by_role("button", name="Cut out the main object").click()
        state(page, "picked")
        page.get_by_role("button", name="Use this").click()
        shot = SimulatedCamera(1).shoot(story.screen.picture, AIM)
        (tmp_path / "view.jpg").write_bytes(shot.jpeg)
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Photograph the screen").click()
        chooser.value.set_files(tmp_path / "view.jpg")
        state(page, "placing")
        story.locked()
        before = story.screen.picture
        page.get_by_role("button", name="Paste here").click()
        page.wait_for_selector("#landed:not([hidden])")
        assert (story.screen.picture != before).any()


def requests_app(story: Story) -> Any:
    """The agent's application once more, for a listener without a certificate."""
    from desktop_agent.app import create_app

    return create_app(story.running.agent, story.running.access, name="Studio PC")
