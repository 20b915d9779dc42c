from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from server import cut, load
from server.cutout import select_object
from server.errors import BadOption, NoObject
from server.segmenter import RGB, Mask, Tap
from server.segmenters.grabcut import GrabCutSegmenter


class FixedMap:
    """A segmenter that gives a map made by hand."""

    name = "fixed"

    def __init__(self, probability: Mask) -> None:
        self.probability = probability

    def predict(self, image: RGB, tap: Tap | None = None) -> Mask:
        return self.probability


def two_discs() -> Mask:
    """Disc A (radius 20 at 40,50) and disc B (radius 10 at 150,50) with soft edges, 100 x 200."""
    ys, xs = np.mgrid[0:100, 0:200]
    a = 20 - np.hypot(xs - 40, ys - 50)
    b = 10 - np.hypot(xs - 150, ys - 50)
    return np.clip(np.maximum(a, b) / 4 + 0.5, 0, 1).astype(np.float32)


PHOTO: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (100, 200, 3), np.uint8)


@pytest.mark.parametrize(
    ("tap", "box"),
    [
        (None, [19, 29, 161, 72]),
        ((40, 50), [19, 29, 62, 72]),
        ((150, 50), [139, 39, 162, 62]),
        ((199, 0), [139, 39, 162, 62]),
        ((80, 50), [19, 29, 62, 72]),
    ],
)
def test_a_tap_chooses_the_region_under_or_nearest_to_it(tap: Tap | None, box: list[int]) -> None:
    cutout = cut(PHOTO, FixedMap(two_discs()), tap=tap)
    assert np.abs(np.array(cutout.box.as_list()) - box).max() <= 1
    assert cutout.rgba.shape == (cutout.box.bottom - cutout.box.top, cutout.box.right - cutout.box.left, 4)


def test_colours_are_the_photos_and_nothing_hides_under_transparency() -> None:
    cutout = cut(PHOTO, FixedMap(two_discs()), tap=(40, 50))
    full = cutout.full()
    alpha = full[..., 3]
    assert full.shape == (100, 200, 4)
    assert np.array_equal(full[..., :3][alpha == 255], PHOTO[alpha == 255])
    assert not full[alpha == 0].any()
    assert np.array_equal(cutout.mask(), alpha)
    assert {0, 255} < set(np.unique(alpha).tolist())  # the soft edge is kept
    assert not alpha[:, 100:].any()  # the other disc is not


@pytest.mark.parametrize("options", [{}, {"refine": True}, {"matting": True}])
def test_without_colours_the_opacity_is_the_same(options: dict[str, bool]) -> None:
    whole, alone = (cut(PHOTO, FixedMap(two_discs()), colours=colours, **options) for colours in (True, False))
    assert np.array_equal(alone.mask(), whole.mask())
    assert {**alone.summary(), "timings_ms": 0} == {**whole.summary(), "timings_ms": 0}
    assert not alone.rgba[..., :3].any()


def test_the_summary_tells_size_coverage_and_score() -> None:
    summary = cut(PHOTO, FixedMap(two_discs()), tap=(150, 50)).summary()
    assert summary["image_size"] == [200, 100]
    assert summary["coverage"] == pytest.approx(np.pi * 100 / 20_000, rel=0.05)
    assert 0.8 < summary["score"] <= 1
    assert summary["model"] == "fixed"


@pytest.mark.parametrize("level", [0.0, 0.3, 0.5])
def test_a_low_map_is_no_object_and_never_stretched(level: float) -> None:
    with pytest.raises(NoObject, match="No object"):
        cut(PHOTO, FixedMap(np.full((100, 200), level, np.float32)))


def test_specks_are_dropped_without_a_tap() -> None:
    probability = two_discs()
    probability[5:8, 100:103] = 1
    region = select_object(probability, None)
    assert region is not None
    assert not region[6, 101]
    assert region[50, 40]
    assert region[50, 150]


def test_a_single_speck_is_noise() -> None:
    probability = np.zeros((400, 400), np.float32)
    probability[5:8, 5:8] = 1
    assert select_object(probability, None) is None


def test_an_object_of_the_whole_picture_is_cut() -> None:
    cutout = cut(PHOTO, FixedMap(np.ones((100, 200), np.float32)))
    assert cutout.coverage == 1
    assert cutout.box.as_list() == [0, 0, 200, 100]


@pytest.mark.parametrize("tap", [(-1, 5), (200, 5), (5, 100), (float("nan"), 3)])
def test_a_tap_outside_is_refused(tap: Tap) -> None:
    with pytest.raises(BadOption, match="outside the 200 x 100 picture"):
        cut(PHOTO, FixedMap(two_discs()), tap=tap)


def test_grabcut_cuts_a_real_cup(coffee: RGB) -> None:
    cutout = cut(coffee, load("grabcut"), tap=(300, 200))
    alpha = cutout.mask()
    assert alpha[200, 300] > 250  # the coffee
    assert alpha[90, 250] > 250  # the cup's rim
    for y, x in ((5, 5), (395, 5), (5, 595), (395, 595)):
        assert alpha[y, x] == 0  # the table
    assert 0.3 < cutout.coverage < 0.6


@pytest.mark.parametrize("picture", [np.zeros((300, 400, 3), np.uint8), np.full((300, 400, 3), 128, np.uint8)])
def test_grabcut_sees_nothing_in_an_even_picture(picture: RGB) -> None:
    with pytest.raises(NoObject):
        cut(picture, GrabCutSegmenter())


def test_grabcut_sees_nothing_in_noise() -> None:
    noise = np.random.default_rng(1).integers(0, 60, (300, 400, 3), np.uint8)
    with pytest.raises(NoObject):
        cut(noise, GrabCutSegmenter())


def test_grabcut_is_repeatable(coffee: RGB) -> None:
    first, second = (GrabCutSegmenter().predict(coffee, (300, 200)) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("shape", [(1, 1, 3), (10, 800, 3), (800, 10, 3)])
def test_grabcut_takes_any_shape(shape: tuple[int, int, int]) -> None:
    picture = np.random.default_rng(2).integers(0, 256, shape, np.uint8)
    probability = GrabCutSegmenter().predict(picture)
    assert probability.shape == shape[:2]
    assert probability.dtype == np.float32
