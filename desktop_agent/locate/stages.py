"""Where poses come from: key points matched directly, key points of the squared view that vote, and the squared view slid about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from desktop_agent.geometry import Homography, Point
from desktop_agent.locate.candidate import View
from desktop_agent.locate.features import Detail, Features, extract
from desktop_agent.locate.hypothesis import LEAST_INLIERS, fit, spread
from desktop_agent.locate.matching import match, similarities
from desktop_agent.locate.outline import outlines
from desktop_agent.locate.rectify import Upright
from desktop_agent.locate.screens import FAST_SCREEN, SQUARE_SCREEN, PreparedScreen
from desktop_agent.locate.sweep import featureless, sweep
from desktop_agent.locate.voting import Vote, likely_turns, mirrored, quarter_turn, turned, votes

Float = NDArray[np.float64]

FAST_VIEW, FAST_RATIO = Detail(640, 1200), 0.8
SMALL_VIEW, SQUARE_VIEW = Detail(450, 1000, 0.02, upright=True), Detail(900, 1000, 0.02, upright=True)
VOTE_TOLERANCE = 6.0
FEW = 12
SLIDES, OUTLINES = 4, 4
TEXTURED = 28
"""Of 64 parts of the view, more of which have key points only where key points would have placed it."""


@dataclass(frozen=True, eq=False)
class Guess:
    """A pose (full view -> screen) that is worth refining, and how many correspondences stand behind it; ``sought``: none do, it is
    the best of all places, less exact and less readily believed."""

    screen: PreparedScreen
    homography: Homography
    inliers: int
    sought: bool = False


class Fast:
    """SIFT at low resolution, ratio test, one plane a screen."""

    name = "fast"

    def __init__(self, view: View) -> None:
        self.features = view.features(FAST_VIEW)

    @classmethod
    def in_a_mirror(cls, view: View) -> Fast:
        """The stage of the view's mirror image."""
        stage = cls(view)
        stage.features = mirrored(stage.features, view.width)
        return stage

    def starved(self, screen: PreparedScreen) -> bool:
        return min(len(self.features), len(screen.features(FAST_SCREEN))) < FEW

    def guesses(self, screen: PreparedScreen) -> Iterator[Guess]:
        known = screen.features(FAST_SCREEN)
        pairs = match(similarities(self.features, known), FAST_RATIO)
        view_xy = self.features.xy[pairs.view].astype(np.float64)
        screen_xy = known.xy[pairs.screen].astype(np.float64)
        for _ in range(2):
            found = fit(view_xy, screen_xy, 4 * known.scale)
            if found is None or not _spread(view_xy[found.inlier], screen_xy[found.inlier], self.features, known):
                return
            yield Guess(screen, found.homography, found.inliers)
            view_xy, screen_xy = view_xy[~found.inlier], screen_xy[~found.inlier]


class Square:
    """The view drawn squarely by its lines; upright key points vote for scale, shift and quarter turns."""

    name = "square"
    detail = SQUARE_VIEW

    def __init__(self, view: View) -> None:
        squared = self._squared(view)
        self.features: Features | None = None
        if squared is not None:
            self.size = (squared.image.shape[1], squared.image.shape[0])
            self.to_view = view.from_smaller(view.fine) @ squared.to_view
            self.features = extract(squared.image, self.detail)

    def _squared(self, view: View) -> Upright | None:
        return view.squared()

    def starved(self, screen: PreparedScreen) -> bool:
        return self.features is None or min(len(self.features), len(screen.features(SQUARE_SCREEN))) < FEW

    def guesses(self, screen: PreparedScreen) -> Iterator[Guess]:
        if self.features is None:
            return
        known = screen.features(SQUARE_SCREEN)
        for quarters in likely_turns(self.features, known, self.size)[:2]:
            rotated = turned(self.features, quarters, self.size)
            for vote in votes(rotated, known, tolerance=VOTE_TOLERANCE):
                yield from self._poses(screen, known, vote, quarters)

    def _poses(self, screen: PreparedScreen, known: Features, vote: Vote, quarters: int) -> Iterator[Guess]:
        """The plane through the pairs that agree, and the vote's own similarity."""
        assert self.features is not None
        view_xy = self.to_view.apply(self.features.xy[vote.view])
        free = fit(view_xy, known.xy[vote.screen].astype(np.float64), 4 * known.scale)
        if free is not None and free.inliers >= 2 * LEAST_INLIERS:
            yield Guess(screen, free.homography, free.inliers)
        scaled = np.array([[vote.scale, 0, vote.shift[0]], [0, vote.scale, vote.shift[1]], [0, 0, 1.0]])
        turn = quarter_turn(quarters, self.size)
        yield Guess(screen, Homography(scaled) @ turn @ self.to_view.inverse(), vote.score)


class SmallSquare(Square):
    """The same at half the size, where letters close up are as small as the screen's and a display's grid has vanished."""

    detail = SMALL_VIEW


class LevelSquare(SmallSquare):
    """The same for a view whose lines tell one direction, or none: it was perhaps hardly tilted."""

    def _squared(self, view: View) -> Upright | None:
        return view.levelled


class SecondSquare(SmallSquare):
    """The same by the axes that suit the lines second best: few lines suit several focal lengths and tilts."""

    def _squared(self, view: View) -> Upright | None:
        return view.squared(1)


class ThirdSquare(SmallSquare):
    """The same by those that suit them third best."""

    def _squared(self, view: View) -> Upright | None:
        return view.squared(2)


class Outlined:
    """The screen's own edges in the squarely drawn view, where what it shows has no key points or the desk has too many."""

    name = "outline"

    def __init__(self, view: View) -> None:
        self.squared, self.lines = view.squared(), view.lines[0]
        self.to_fine = view.from_smaller(view.fine).inverse()
        self.center = Point(view.fine.shape[1] / 2, view.fine.shape[0] / 2)

    def starved(self, screen: PreparedScreen) -> bool:
        return self.squared is None

    def guesses(self, screen: PreparedScreen) -> Iterator[Guess]:
        if self.squared is not None:
            to_squared = self.squared.to_view.inverse()
            middle = to_squared.apply_point(self.center)
            for found in outlines(self.squared, self.lines, middle, screen, OUTLINES):
                yield Guess(screen, found.homography @ to_squared @ self.to_fine, 0, sought=True)


class Sweep:
    """The squarely drawn view slid over the screen; a second of work, for a photograph that nothing else has placed."""

    name = "sweep"

    def __init__(self, view: View) -> None:
        self.squared = self._squared(view)
        self.center = Point(view.fine.shape[1] / 2, view.fine.shape[0] / 2)
        self.to_fine = view.from_smaller(view.fine).inverse()
        self.told = _cells(view) > TEXTURED

    def starved(self, screen: PreparedScreen) -> bool:
        return self.told or self.squared is None or featureless(self.squared)

    def guesses(self, screen: PreparedScreen) -> Iterator[Guess]:
        if self.squared is not None:
            for slide in sweep(self.squared, self.center, screen, SLIDES):
                yield Guess(screen, slide.homography @ self.to_fine, 0, sought=True)

    def _squared(self, view: View) -> Upright | None:
        return view.squared()


class LevelSweep(Sweep):
    """The same for the view that ``LevelSquare`` draws."""

    def _squared(self, view: View) -> Upright | None:
        return view.levelled


def _cells(view: View) -> int:
    """How many of the 8 x 8 parts of the view have key points."""
    places = view.features(FAST_VIEW).xy.astype(np.float64) / view.size
    return spread(places, 1 / 8)


def _spread(view_xy: Float, screen_xy: Float, view: Features, screen: Features) -> bool:
    """Matches of one spot on either side count once."""
    return min(spread(view_xy, 3 * view.scale), spread(screen_xy, 3 * screen.scale)) >= LEAST_INLIERS
