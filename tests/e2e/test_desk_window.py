"""The computer's own window in a browser, beside a phone that is paired, pastes, is removed, or forgets the computer."""

from __future__ import annotations

import pytest

from desktop_agent.tls import local_addresses
from tests.e2e.desktop import wait_for
from tests.e2e.phone import CHROMIUM, state
from tests.e2e.story import Story
from tests.e2e.test_phone import options, story

__all__ = ["options", "story"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="not installed: apt-get install chromium"),
    pytest.mark.skipif(not local_addresses(), reason="this machine has no network address"),
]


def test_a_phone_is_removed_only_after_a_yes_and_its_pastes_stay_its_own(story: Story) -> None:
    story.pair()
    oversight, devices = story.running.agent.oversight, story.running.access.devices
    assert oversight is not None
    (device,) = devices.all()
    oversight.pasted(device.id, "Inkscape")
    oversight.pasted("this-computer", "GIMP")
    context = story.browser.new_context()
    try:
        window = context.new_page()
        window.goto(story.running.window_url())
        window.get_by_text(f"{device.name} into Inkscape").wait_for()
        window.get_by_text("This computer into GIMP").wait_for()
        questions: list[str] = []
        window.once("dialog", lambda dialog: (questions.append(dialog.message), dialog.dismiss()))
        window.get_by_role("button", name="Remove").click()
        assert "are deleted" in questions[0]
        assert devices.all() == [device]
        window.once("dialog", lambda dialog: dialog.accept())
        window.get_by_role("button", name="Remove").click()
        window.get_by_text("A phone that was removed into Inkscape").wait_for()
        assert devices.all() == []
    finally:
        context.close()


def test_a_phone_forgets_the_computer_only_after_a_yes(story: Story) -> None:
    story.pair()
    page, devices = story.page, story.running.access.devices
    for answer in ("Keep it", "Forget it"):
        assert len(devices.all()) == 1
        page.get_by_role("button", name="Settings and help").click()
        page.get_by_role("button", name="Forget this computer").click()
        assert "cut-outs are deleted" in page.inner_text("#card-text")
        page.get_by_role("button", name=answer).click()
        state(page, "camera" if answer == "Keep it" else "boot")
    wait_for(lambda: not devices.all(), 30, "the computer still knows the phone")
    assert "Scan the code" in page.inner_text("#card-title")
