"""Ink, sheets and glass, on pictures whose truth is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from server import NoObject, cut, glass
from server.errors import ModelUnavailable
from server.segmenter import RGB, Mask, Tap
from server.sheet import ordered, true_proportion


class FixedMap:
    name = "fixed"

    def __init__(self, probability: Mask) -> None:
        self.probability = probability

    def predict(self, image: RGB, tap: Tap | None = None) -> Mask:
        return self.probability


NOTHING = FixedMap(np.zeros((300, 400), np.float32))


def drawing() -> tuple[RGB, NDArray[np.bool_]]:
    """Black and red strokes on shaded, grainy, yellowish paper, and where they are."""
    ys, xs = np.mgrid[0:300, 0:400].astype(np.float32)
    shade = (0.65 + 0.3 * xs / 400 + 0.05 * ys / 300)[..., None]
    photo = shade * np.array([245, 240, 220]) + np.random.default_rng(0).normal(0, 2, (300, 400, 3))
    ink = np.zeros((300, 400), np.uint8)
    cv2.line(ink, (50, 60), (350, 80), 1, 3)
    cv2.circle(ink, (200, 180), 60, 2, 3)
    photo[ink == 1] = (25, 25, 30)
    photo[ink == 2] = shade[ink == 2] * np.array([200, 30, 30])
    return np.clip(photo, 0, 255).astype(np.uint8), ink > 0


def test_ink_leaves_its_paper() -> None:
    photo, strokes = drawing()
    cutout = cut(photo, NOTHING, mode="ink")
    full = cutout.full()
    assert cutout.methods == {"mode": "ink"}
    assert full[..., 3][strokes].mean() > 230
    far = cv2.dilate(strokes.astype(np.uint8), np.ones((7, 7), np.uint8)) == 0
    assert full[..., 3][far].max() == 0
    assert np.abs(full[180, 140, :3].astype(int) - [200, 30, 30]).max() < 60  # red stays red
    assert full[180, 140, 0] > 2.5 * full[180, 140, 1]


@pytest.mark.parametrize("picture", [np.full((100, 100, 3), 240, np.uint8), np.zeros((100, 100, 3), np.uint8)])
def test_paper_without_ink_is_no_object(picture: RGB) -> None:
    with pytest.raises(NoObject, match="no ink"):
        cut(picture, NOTHING, mode="ink")


def sheet_photo() -> tuple[RGB, float]:
    """An A4 sheet with a red bar at its top and writing, seen obliquely by a pinhole camera; and its width over its height."""
    page = np.full((594, 420, 3), 245, np.uint8)
    page[20:60, 20:400] = (200, 30, 30)
    for y in range(100, 570, 24):
        page[y : y + 4, 40 : 380 - y % 90] = 40
    focal, size = 700.0, (800, 600)
    corners = np.array([[-0.5, -0.707, 0], [0.5, -0.707, 0], [0.5, 0.707, 0], [-0.5, 0.707, 0]])
    rotation, _ = cv2.Rodrigues(np.array([0.55, 0.35, 0.1]))
    seen = corners @ rotation.T + [0, 0, 2.6]
    points = (seen[:, :2] / seen[:, 2:] * focal + [(size[0] - 1) / 2, (size[1] - 1) / 2]).astype(np.float32)
    source = np.array([[0, 0], [419, 0], [419, 593], [0, 593]], np.float32)
    ground = np.random.default_rng(0).integers(40, 90, (600, 800, 3)).astype(np.uint8)
    homography = cv2.getPerspectiveTransform(source, points)
    warped = cv2.warpPerspective(page, homography, size, flags=cv2.INTER_AREA)
    cover = cv2.warpPerspective(np.full(page.shape[:2], 255, np.uint8), homography, size)
    return np.where(cover[..., None] > 127, warped, ground), 1 / np.sqrt(2)


@pytest.mark.parametrize("tap", [None, (400, 300)])
def test_a_sheet_seen_obliquely_becomes_upright_in_its_true_proportions(tap: Tap | None) -> None:
    photo, proportion = sheet_photo()
    cutout = cut(photo, FixedMap(np.zeros(photo.shape[:2], np.float32)), mode="sheet", tap=tap)
    height, width = cutout.rgba.shape[:2]
    assert width / height == pytest.approx(proportion, rel=0.04)
    assert cutout.image_size == (width, height)
    assert (cutout.rgba[..., 3] == 255).all()
    bar = cutout.rgba[round(40 / 594 * height), width // 2]
    assert bar[0] > 150 > 90 > bar[1]
    assert cutout.rgba[height // 2, width - 6, :3].min() > 200  # paper up to the corners


def test_no_sheet_says_so() -> None:
    with pytest.raises(NoObject, match="four corners"):
        cut(np.full((300, 400, 3), 60, np.uint8), NOTHING, mode="sheet")


def test_corners_are_ordered_and_a_frontal_view_leaves_the_proportion_open() -> None:
    square = np.array([[10.0, 90], [90, 10], [10, 10], [90, 90]])
    assert ordered(square).tolist() == [[10, 10], [90, 10], [90, 90], [10, 90]]
    assert true_proportion(ordered(square), 100, 100) is None


def glass_scene() -> tuple[RGB, Mask, Mask]:
    """An opaque frame round a pane that lets 80 % of an even wall through and adds some blue."""
    photo = np.full((200, 200, 3), (150, 140, 130), np.float32)
    frame, pane = np.zeros((200, 200), np.float32), np.zeros((200, 200), np.float32)
    frame[40:160, 40:160] = 1
    frame[60:140, 60:140] = 0
    pane[60:140, 60:140] = 1
    photo[frame > 0] = (90, 50, 20)
    photo[pane > 0] = 0.8 * photo[pane > 0] + 0.2 * np.array([60, 90, 200])
    return photo.astype(np.uint8), frame, pane


def test_a_new_background_shows_through_the_glass(monkeypatch: pytest.MonkeyPatch) -> None:
    photo, frame, pane = glass_scene()
    monkeypatch.setattr(glass, "installed", lambda names: "gem-tiny")
    monkeypatch.setattr(glass, "companion", lambda name: FixedMap(pane))
    cutout = cut(photo, FixedMap(frame), glass="auto")
    assert cutout.methods["glass"] == "gem-tiny"
    full = cutout.full().astype(np.float32)
    alpha = full[..., 3:] / 255
    stripes = np.where((np.arange(200) // 8 % 2)[:, None, None] > 0, 255.0, 0.0)
    shown = alpha * full[..., :3] + (1 - alpha) * stripes
    inside = np.s_[70:130, 70:130]
    assert np.ptp(shown[inside], axis=0).mean() > 0.6 * 255  # the stripes are seen through the pane
    assert np.ptp(shown[45:155, 50], axis=0).max() < 40  # and not through the frame
    assert full[100, 100, 2] > full[100, 100, 0] + 30  # the tint is blue
    on_the_old_wall = alpha * full[..., :3] + (1 - alpha) * np.array([150, 140, 130])
    assert np.abs(on_the_old_wall - photo)[inside].max() < 3


def test_without_a_glass_model_auto_goes_on_and_on_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("ARCP_HOME", str(tmp_path))
    monkeypatch.delenv("ARCP_WEIGHTS", raising=False)
    photo, frame, _ = glass_scene()
    assert "glass" not in cut(photo, FixedMap(frame), glass="auto").methods
    with pytest.raises(ModelUnavailable, match="--glass on needs one of gem-base"):
        cut(photo, FixedMap(frame), glass="on")
