"""Holes, second looks and the pipeline's options, on maps made by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from server import NoObject, cut
from server.errors import BadOption
from server.looking import look
from server.segmenter import RGB, Mask, Tap
from server.selection import Window, fill_holes, window_to_look_again
from server.smoothing import smoothed

TABLE, CUP = (120, 160, 90), (190, 40, 30)


def cup_with_gaps() -> tuple[RGB, Mask]:
    """A red disc on a green table: a gap of the disc's colour in the map, and a handle's hole through which the table shows."""
    photo: NDArray[np.uint8] = np.full((200, 300, 3), TABLE, np.uint8)
    probability = np.zeros((200, 300), np.float32)
    cv2.circle(photo, (150, 100), 80, CUP, -1)
    cv2.circle(probability, (150, 100), 80, 1.0, -1)
    cv2.circle(photo, (190, 100), 18, TABLE, -1)  # the handle
    for x in (110, 190):
        cv2.circle(probability, (x, 100), 18, 0.1, -1)
    noise = np.random.default_rng(0).normal(0, 4, photo.shape)
    return np.clip(photo + noise, 0, 255).astype(np.uint8), probability


def test_a_gap_with_the_objects_colour_is_closed_and_a_handle_stays_open() -> None:
    photo, probability = cup_with_gaps()
    filled = fill_holes(photo, probability)
    assert filled[100, 110] == 1
    assert filled[100, 190] == pytest.approx(0.1)
    assert (filled >= probability).all()


def test_a_map_without_gaps_is_left_alone() -> None:
    photo, probability = cup_with_gaps()
    plain = np.where(probability > 0, np.float32(1), np.float32(0))
    assert fill_holes(photo, plain) is plain


class Looker:
    """Sees a square of pure red in what it is shown, and keeps the sizes of the pictures that it saw."""

    name = "looker"
    resolution = 64

    def __init__(self, smallest: int = 0) -> None:
        self.smallest = smallest
        self.seen: list[tuple[int, int]] = []

    def predict(self, image: RGB, tap: Tap | None = None) -> Mask:
        self.seen.append((image.shape[1], image.shape[0]))
        red = ((image[..., 0] > 150) & (image[..., 1] < 90)).astype(np.float32)
        return red if np.count_nonzero(red) >= self.smallest else np.zeros_like(red)


def photo_with_squares(*squares: tuple[int, int, int]) -> RGB:
    """Red squares (left, top, side) on green, 400 x 600."""
    photo: RGB = np.full((400, 600, 3), TABLE, np.uint8)
    for left, top, side in squares:
        photo[top : top + side, left : left + side] = (220, 10, 10)
    return photo


def test_a_small_object_is_seen_again_larger() -> None:
    looker = Looker()
    cutout = cut(photo_with_squares((300, 200, 60)), looker)
    assert len(looker.seen) == 2
    assert looker.seen[0] == (64, 43)
    assert np.abs(np.array(cutout.box.as_list()) - [300, 200, 360, 260]).max() <= 8


def test_a_large_object_is_seen_once_unless_refined() -> None:
    looker = Looker()
    cut(photo_with_squares((120, 60, 240)), looker)
    assert len(looker.seen) == 1


def test_a_tap_on_what_the_whole_picture_did_not_show_finds_it_in_a_crop() -> None:
    looker = Looker(smallest=100)  # in the whole picture the small square is overlooked
    photo = photo_with_squares((20, 40, 200), (480, 300, 50))
    cutout = cut(photo, looker, tap=(505, 325))
    assert len(looker.seen) == 2
    assert np.abs(np.array(cutout.box.as_list()) - [480, 300, 530, 350]).max() <= 8


def test_a_tap_on_nothing_still_takes_the_nearest_object() -> None:
    view = look(photo_with_squares((120, 60, 240)), Looker(), (590, 390))
    assert view.region is not None
    assert view.mask[15, 25] == 1


def test_no_window_where_the_crop_would_be_the_picture() -> None:
    probability = np.zeros((100, 100), np.float32)
    probability[10:90, 10:90] = 1
    assert window_to_look_again(probability, probability > 0, None) is None
    probability[:] = 0
    probability[40:50, 40:50] = 1
    assert window_to_look_again(probability, probability > 0, None) == Window(37, 37, 53, 53)


def test_post_processing_cuts_threads_and_closes_cracks() -> None:
    probability = np.zeros((200, 200), np.float32)
    probability[50:150, 50:150] = 1
    probability[99, 150:] = 1  # a thread
    probability[50:150, 100] = 0  # a crack
    clean = smoothed(probability)
    assert clean[99, 170] == 0
    assert clean[100, 100] == 1
    assert clean[100, 60] == 1


@pytest.mark.parametrize("options", [{"mode": "poster"}, {"glass": "maybe"}])
def test_unknown_options_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(BadOption, match="mode is one of"):
        cut(photo_with_squares((120, 60, 240)), Looker(), **options)  # type: ignore[arg-type]


def test_nothing_red_is_no_object() -> None:
    with pytest.raises(NoObject):
        cut(photo_with_squares(), Looker(), tap=(10, 10))


def test_an_unsure_map_is_no_object_until_someone_taps_on_it() -> None:
    class Unsure(Looker):
        least_score = 0.9

        def predict(self, image: RGB, tap: Tap | None = None) -> Mask:
            return super().predict(image, tap) * np.float32(0.8)

    photo = photo_with_squares((120, 60, 240))
    with pytest.raises(NoObject):
        cut(photo, Unsure())
    assert cut(photo, Unsure(), tap=(200, 200)).score == pytest.approx(0.8, abs=0.02)
