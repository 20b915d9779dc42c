"""Cutting on the phone itself, in a real Chromium: the same object as the computer finds, from files that stay on the phone.

The runtime comes through npm, which needs the network: slow, and not part of every run.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

import server
from mobile_client_stub.web_assets import web_assets
from server.segmenters.lite import WEIGHTS
from tests.e2e.desktop import wait_for
from tests.e2e.phone import CAMERA_SIZE, CHROMIUM, on_stage, state
from tests.e2e.story import Story
from tests.e2e.test_phone import options, story

__all__ = ["options", "story"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="not installed: apt-get install chromium"),
]
LEAST_OVERLAP = 0.995
PHOTO = "() => document.getElementById('photo').toDataURL('image/png')"


@pytest.fixture(autouse=True)
def assets(tmp_path: Path) -> Path:
    return web_assets()


def switch_on(story: Story) -> None:
    page = story.page
    page.get_by_role("button", name="Settings and help").click()
    page.get_by_role("switch", name="Cut on this phone").check()
    page.get_by_text("Ready: photos stay on this phone.").wait_for()
    page.locator("#settings [data-close]").click()


def pixels(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))


def cut(story: Story) -> dict[str, Any]:
    """Tap the object; the clip as the page keeps it, its PNG as a data URL."""
    story.page.touchscreen.tap(*on_stage(story.page, (CAMERA_SIZE[0] / 2, CAMERA_SIZE[1] / 2)))
    state(story.page, "picked")
    return dict(
        story.page.evaluate(
            """async () => {
                const [{blob, ...clip}] = await (await import('/web/store.js')).kept();
                const reader = new FileReader();
                await new Promise((done) => { reader.onload = done; reader.readAsDataURL(blob); });
                return {...clip, png: reader.result};
            }"""
        )
    )


def handed(story: Story) -> bool:
    """The page keeps its cut-out by the id that the computer gave it."""
    kept = story.page.evaluate("async () => (await (await import('/web/store.js')).kept()).map(({clip}) => clip)")
    return bool(kept) and kept == [clip.id for clip in story.running.agent.clips.all()]


def native(photo: np.ndarray, tap: tuple[int, int]) -> np.ndarray:
    """The same model in the native runtime: the pixels of the object nearest to the tap, bool HxW."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(WEIGHTS), providers=["CPUExecutionProvider"])
    height, width = session.get_inputs()[0].shape[2:]
    small = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    (out,) = session.run(None, {session.get_inputs()[0].name: small.transpose(2, 0, 1)[None]})
    mask = cv2.resize(out[0, 0], photo.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 0.5
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    ys, xs = np.nonzero(mask)
    nearest = int(np.argmin((xs - tap[0]) ** 2 + (ys - tap[1]) ** 2))
    return np.asarray(labels == labels[ys[nearest], xs[nearest]])


def test_the_phones_own_cutout_agrees_with_the_computers(story: Story) -> None:
    requests: list[str] = []
    story.page.on("request", lambda request: requests.append(request.url))
    story.pair()
    switch_on(story)
    clip = cut(story)
    photo = np.ascontiguousarray(pixels(story.page.evaluate(PHOTO))[..., :3])
    left, top, right, bottom = clip["box"]
    rgba = np.zeros((*photo.shape[:2], 4), np.uint8)
    rgba[top:bottom, left:right] = pixels(clip["png"])
    own = rgba[..., 3] > 127
    overlap = intersection_over_union(own, native(photo, (CAMERA_SIZE[0] // 2, CAMERA_SIZE[1] // 2)))
    print(f"overlap {overlap:.5f}, {clip['timings_ms']}")
    assert overlap >= LEAST_OVERLAP
    there = server.cut(photo, server.load("lite"), tap=(CAMERA_SIZE[0] / 2, CAMERA_SIZE[1] / 2))
    assert intersection_over_union(own, there.mask() > 127) > 0.95  # its edge is found by other means
    assert (clip["model"], clip["server"]) == ("lite", "this phone")
    assert clip["image_size"] == list(there.image_size)
    solid = rgba[..., 3] == 255
    assert np.array_equal(rgba[solid][:, :3], photo[solid])
    assert not [url for url in requests if url.endswith("/cut")]
    wait_for(lambda: handed(story), 30, "the computer did not get the cut-out")
    (known,) = story.running.agent.clips.all()
    assert known.photo_size == tuple(clip["image_size"])


def intersection_over_union(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.count_nonzero(one & other) / np.count_nonzero(one | other))


def test_it_lands_and_a_reload_needs_no_second_download(story: Story) -> None:
    story.pair()
    switch_on(story)
    fetched: list[str] = []
    story.page.on("request", lambda request: fetched.append(request.url))
    story.page.reload()
    state(story.page, "camera")
    story.copy()
    story.pinch(0.3)
    story.point()
    story.locked()
    before = story.screen.picture
    story.page.get_by_role("button", name="Paste here").click()
    story.page.wait_for_selector("#landed:not([hidden])")
    assert (story.screen.picture != before).any()
    assert not [url for url in fetched if url.endswith((".wasm", ".onnx"))]


def test_only_the_worker_may_compile(story: Story) -> None:
    story.pair()
    switch_on(story)
    tried = (
        "() => WebAssembly.compile(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])).then(() => 'compiled', (e) => e.name)"
    )
    assert story.page.evaluate(tried) == "CompileError"


def test_a_lost_computer_does_not_hinder_the_cut(story: Story) -> None:
    story.pair()
    switch_on(story)
    story.page.context.set_offline(True)
    clip = cut(story)
    assert clip["mine"] is True
    story.page.context.set_offline(False)
    story.page.reload()
    state(story.page, "camera")
    wait_for(lambda: handed(story), 30, "the computer did not get the cut-out")
    assert len(story.running.agent.clips.all()) == 1


def test_without_the_files_the_reason_stands_there(story: Story, assets: Path) -> None:
    for file in assets.iterdir():
        file.unlink()
    story.pair()
    story.page.get_by_role("button", name="Settings and help").click()
    story.page.get_by_text("python -m mobile_client_stub web-assets").wait_for()
    assert not story.page.get_by_role("switch", name="Cut on this phone").is_visible()
