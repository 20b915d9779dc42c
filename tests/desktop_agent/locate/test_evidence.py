"""What speaks for a pose and against it: copies on the same screen, noise that is no text, text that the screen does not have."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from desktop_agent.geometry import Homography
from desktop_agent.locate.candidate import Candidate, rivals
from desktop_agent.locate.copies import copies, within
from desktop_agent.locate.features import extract, to_grey
from desktop_agent.locate.refine import Refined
from desktop_agent.locate.screens import FAST_SCREEN, PreparedScreen
from desktop_agent.locate.verify import Agreement, Seen, agreement, preference

from .conftest import as_screenshot


def test_tiles_are_copies_of_each_other(desk: np.ndarray) -> None:
    tiled = np.ascontiguousarray(np.tile(desk[::2, ::2], (1, 2, 1)))
    found = copies(extract(to_grey(tiled), FAST_SCREEN), float(np.hypot(*tiled.shape[:2])))
    shifts = [(copy.map.apply(copy.places) - copy.places).mean(axis=0) for copy in found]
    for expected in ((800, 0), (-800, 0)):
        assert min(np.abs(shift - expected).max() for shift in shifts) < 2, shifts
    alike = max(found, key=lambda copy: len(copy.places))
    assert within(alike.places, Homography.identity(), (1600, 450)) == len(alike.places)
    assert within(alike.places, Homography.translation(-2000, 0), (1600, 450)) == 0


def test_a_thumbnail_is_a_smaller_copy(desk: np.ndarray) -> None:
    doubled = desk.copy()
    doubled[520:820, 60:400] = cv2.resize(desk[72:486, 32:501], (340, 300), interpolation=cv2.INTER_AREA)
    found = copies(extract(to_grey(doubled), FAST_SCREEN), float(np.hypot(*doubled.shape[:2])))
    scales = [copy.map.matrix[0, 0] for copy in found]
    assert any(0.6 < scale < 0.85 for scale in scales)
    assert any(1.2 < scale < 1.65 for scale in scales)


def test_a_screen_without_repetitions_has_hardly_any_copies(desk: np.ndarray) -> None:
    features = extract(to_grey(desk), FAST_SCREEN)
    found = copies(features, float(np.hypot(*desk.shape[:2])))
    assert all(len(copy.places) < 0.1 * len(features) for copy in found)


@pytest.fixture
def page() -> np.ndarray:
    """A toolbar above an empty page, grey HxW."""
    picture = np.full((360, 480), 235, np.uint8)
    for i in range(12):
        cv2.putText(picture, chr(65 + i), (12 + 38 * i, 40), cv2.FONT_HERSHEY_SIMPLEX, 1, 20, 2)
    return picture


def test_noise_on_a_flat_screen_is_no_contradiction(page: np.ndarray) -> None:
    screen = PreparedScreen(as_screenshot(cv2.cvtColor(page, cv2.COLOR_GRAY2RGB)))
    grain = np.random.default_rng(1).normal(0, 9, page.shape)
    noisy = np.clip(page + grain, 0, 255).astype(np.uint8)
    agreed = agreement(noisy, screen, Homography.identity())
    assert agreed.correlation > 0.8
    assert agreed.explained > 0.7


@pytest.mark.parametrize("lines", [3, 5, 9])
def test_text_that_the_screen_does_not_have_is_one(page: np.ndarray, lines: int) -> None:
    screen = PreparedScreen(as_screenshot(cv2.cvtColor(page, cv2.COLOR_GRAY2RGB)))
    other = page.copy()
    for i in range(lines):
        cv2.putText(other, "another document altogether", (12, 90 + 30 * i), cv2.FONT_HERSHEY_SIMPLEX, 0.9, 30, 2)
    agreed = agreement(other, screen, Homography.identity())
    assert agreed.correlation > 0.8
    assert agreed.explained < 0.45
    assert agreed.support < 0.6 * agreement(page, screen, Homography.identity()).support


@pytest.fixture
def twins(page: np.ndarray) -> PreparedScreen:
    """Two equal pages side by side; right of the second one a line of text runs down."""
    margin = np.full((360, 60), 235, np.uint8)
    for y in range(30, 360, 40):
        cv2.putText(margin, "ab", (8, y), cv2.FONT_HERSHEY_SIMPLEX, 1, 20, 2)
    return PreparedScreen(as_screenshot(cv2.cvtColor(np.hstack([page, page, margin]), cv2.COLOR_GRAY2RGB)))


def test_equal_places_are_told_apart_by_the_strip_where_they_differ(twins: PreparedScreen) -> None:
    view = np.ascontiguousarray(twins.grey[:, 520:1010])
    right, wrong = (Seen(twins, Homography.translation(x, 0), 0.0) for x in (520, 40))
    advantage, windows = preference(view, right, wrong)
    assert advantage > 0.5
    assert windows > 10
    assert preference(view, wrong, right) == (pytest.approx(-advantage), pytest.approx(windows))


def test_nothing_tells_equal_places_apart_inside_of_them(twins: PreparedScreen) -> None:
    view = np.ascontiguousarray(twins.grey[:, 20:440])
    left, right = (Seen(twins, Homography.translation(x, 0), 0.0) for x in (20, 500))
    advantage, windows = preference(view, left, right)
    assert abs(advantage) < 0.05 or windows < 1


@pytest.mark.parametrize(
    ("correlation", "explained", "tracks", "sigma", "sure"),
    [
        (0.82, 0.80, 14, 0.2, True),
        (0.84, 0.90, 12, 3.0, False),  # one faint edge of one of two equal windows
        (0.84, 0.90, 24, 3.0, True),
        (0.79, 0.72, 120, 0.2, False),  # equal buttons, one row off
        (0.90, 0.66, 60, 0.2, True),  # glare beside a heading
        (0.90, 0.66, 20, 0.2, False),
        (0.90, 0.55, 60, 0.2, False),
    ],
)
def test_how_much_has_to_agree_where_no_key_points_speak(
    correlation: float, explained: float, tracks: int, sigma: float, sure: bool, twins: PreparedScreen
) -> None:
    spots = np.zeros((tracks, 2))
    refined = Refined(Homography.identity(), spots, spots, np.ones(tracks, bool), 0.0, sigma)
    looks = Agreement(correlation, explained, 0.2, 0.4)
    candidate = Candidate(twins, Homography.identity(), refined, looks)
    assert candidate.proven
    assert candidate.sure == sure


@pytest.mark.parametrize(
    ("correlation", "explained", "fitting", "proven"),
    [
        (0.65, 0.66, 0.95, True),
        (0.61, 0.66, 0.84, False),  # faces upside down in a mirror
        (0.61, 0.53, 1.0, False),  # the same buttons below another text
        (0.75, 0.53, 0.84, True),
        (0.55, 0.66, 1.0, False),
    ],
)
def test_a_weak_likeness_needs_tracks_that_agree_and_a_view_that_is_explained(
    correlation: float, explained: float, fitting: float, proven: bool, twins: PreparedScreen
) -> None:
    spots, fits = np.zeros((100, 2)), np.arange(100) < 100 * fitting
    refined = Refined(Homography.identity(), spots, spots, fits, 0.0, 0.2)
    looks = Agreement(correlation, explained, 0.2, 0.1)
    assert Candidate(twins, Homography.identity(), refined, looks).proven == proven


@pytest.mark.parametrize(
    ("support", "correlation", "explained", "rival"),
    [
        (0.28, 0.80, 0.60, True),  # about as good
        (0.25, 0.80, 0.60, False),
        (0.25, 0.95, 0.82, True),  # predicts less, and what it predicts is there
        (0.25, 0.95, 0.60, False),
        (0.20, 0.95, 0.82, False),
    ],
)
def test_a_place_that_agrees_better_is_a_rival_though_it_predicts_less(
    support: float, correlation: float, explained: float, rival: bool, twins: PreparedScreen
) -> None:
    spots = np.zeros((30, 2))
    refined = Refined(Homography.identity(), spots, spots, np.ones(30, bool), 0.0, 0.2)
    best = Candidate(twins, Homography.identity(), refined, Agreement(0.87, 0.69, 0.1, 0.289))
    other = Candidate(twins, Homography.identity(), refined, Agreement(correlation, explained, 0.1, support))
    assert rivals(other, best) == rival
