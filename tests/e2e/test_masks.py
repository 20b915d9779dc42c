"""The page's own pixel work against OpenCV's: what the phone cuts by itself must not depend on who shrinks and stretches."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from tests.e2e.phone import CHROMIUM
from tests.e2e.story import Story, read
from tests.e2e.test_phone import options, story

__all__ = ["options", "story"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="not installed: apt-get install chromium"),
]
SIDE = 64
WORK = """async ({photo, map, width, height, side, tap}) => {
    const {composed, selected, squeezed, stretched} = await import('/web/masks.js');
    const picture = {width, height, data: Uint8ClampedArray.from(photo)};
    const small = [...squeezed(picture, side, side)];
    const object = selected({width: side, height: side, data: Float32Array.from(map)}, tap);
    if (!object) return {small, object: null};
    const alpha = stretched(object, width, height), cutout = composed(picture, alpha);
    return {small, object: [...object.data], score: object.score, alpha: [...alpha], box: cutout.box, rgba: [...cutout.data]};
}"""


def blobs(*circles: tuple[float, float, float]) -> np.ndarray:
    """Soft discs (x, y, radius) on a map, float32 in [0, 1]."""
    y, x = np.mgrid[:SIDE, :SIDE]
    discs = [1 / (1 + np.exp(2 * (np.hypot(x - cx, y - cy) - r))) for cx, cy, r in circles]
    return np.max(discs, axis=0).astype(np.float32)


def test_the_pages_pixels_are_opencvs(story: Story) -> None:
    story.page.goto(f"{story.running.url}/")
    photo = cv2.resize(read("coffee.jpg"), (201, 133), interpolation=cv2.INTER_AREA)
    height, width = photo.shape[:2]
    two = blobs((20, 30, 12), (50, 40, 7))

    def worked(tap: tuple[float, float] | None, probability: np.ndarray = two) -> dict[str, list[float]]:
        wanted = {
            "photo": np.dstack([photo, np.full((height, width), 255, np.uint8)]).ravel().tolist(),
            "map": probability.ravel().tolist(), "width": width, "height": height, "side": SIDE,
            "tap": tap and {"x": tap[0], "y": tap[1]},
        }  # fmt: skip
        return dict(story.page.evaluate(WORK, json.loads(json.dumps(wanted))))

    left = worked((22, 28))
    small = np.array(left["small"]).reshape(3, SIDE, SIDE).transpose(1, 2, 0)
    assert np.abs(small - cv2.resize(photo, (SIDE, SIDE), interpolation=cv2.INTER_AREA)).max() <= 1
    chosen = np.array(left["object"], np.float32).reshape(SIDE, SIDE)
    assert np.array_equal(chosen > 0.5, blobs((20, 30, 12)) > 0.5)
    assert chosen[40, 50] == 0
    alpha = np.array(left["alpha"]).reshape(height, width)
    assert np.abs(alpha - cv2.resize(chosen * 255, (width, height), interpolation=cv2.INTER_LINEAR)).max() <= 1
    x, y, w, h = cv2.boundingRect((alpha > 0).astype(np.uint8))
    assert left["box"] == [x, y, x + w, y + h]
    rgba = np.array(left["rgba"]).reshape(h, w, 4)
    solid = rgba[..., 3] == 255
    assert np.array_equal(rgba[solid][:, :3], photo[y : y + h, x : x + w][solid])
    assert not rgba[rgba[..., 3] == 0].any()
    assert left["score"] == pytest.approx(float(chosen[chosen > 0.5].mean()), abs=1e-4)  # type: ignore[comparison-overlap]

    nearest = np.array(worked((58, 10))["object"], np.float32).reshape(SIDE, SIDE)
    assert np.array_equal(nearest > 0.5, blobs((50, 40, 7)) > 0.5)
    both = np.array(worked(None)["object"], np.float32).reshape(SIDE, SIDE)
    assert np.array_equal(both > 0.5, two > 0.5)
    specks = np.array(worked(None, blobs((20, 30, 12), (50, 50, 1.2)))["object"], np.float32).reshape(SIDE, SIDE)
    assert specks[50, 50] == 0
    assert worked(None, np.zeros((SIDE, SIDE), np.float32))["object"] is None
