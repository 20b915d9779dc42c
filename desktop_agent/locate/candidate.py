"""A hypothesis grown up: refined to a fraction of a pixel and compared with the screenshot."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from desktop_agent.geometry import Homography, Point
from desktop_agent.locate.features import RGB, Detail, Features, Grey, extract, shrink, to_grey
from desktop_agent.locate.hypothesis import flaw
from desktop_agent.locate.location import Evidence, Location, Refusal
from desktop_agent.locate.outline import framed
from desktop_agent.locate.rectify import Axes, Upright, level_axes, line_segments, screen_axes, upright
from desktop_agent.locate.refine import Refined, refine
from desktop_agent.locate.screens import PreparedScreen
from desktop_agent.locate.verify import Agreement, Seen, agreement, preference

SMALLEST_VIEW = 32
LEAST_TRACKS = 12
LEAST_CORRELATION = 0.6
LEAST_EXPLAINED = 0.45
GOOD_CORRELATION, UNANIMOUS, WELL_EXPLAINED = 0.7, 0.9, 0.55
"""Where less than that agrees, so large a part of the tracks has to fit, and so much of the view has to be explained: faces and
rows in a mirror reach 0.61 and 0.84 of the tracks, the same buttons below another text 0.61 and 0.53."""
SURE_CORRELATION, SURE_EXPLAINED = 0.8, 0.78
"""For a pose that no correspondences speak for: one row of buttons beside the right one reaches 0.79 and 0.72."""
LEAST_SOUGHT_TRACKS, SETTLED_SIGMA = 20, 0.001
"""For such a pose: fewer tracks have to settle the point to so many diagonals of the screen. The wrong one of two equal windows, of
which the view shows one faint edge, has 12 that leave it open by ten pixels; right ones 17 and a tenth of one, or 22 and more."""
FULL_CORRELATION, PARTLY_EXPLAINED, MANY_TRACKS = 0.85, 0.62, 30
"""The same where all that is predicted is there and tracked, and the view shows more: glare, or a reflection."""
FRAMED_CORRELATION = 0.8
"""The same where the screen's edges are seen in their places."""
FAIR = 0.3
"""A smaller part of the points that are tracked was perhaps begun too far away to find the others."""
AXES_AT, SQUARED_AT = 800, 900
POINTS = 220
LEVELS, SOUGHT_LEVELS = 2, 3
"""Of the pyramid that a pose is refined through: from correspondences, and from a coarse search."""
MOST_PASSES = 4
ALIKE, ALIKE_IF_TRUER = 0.95, 0.8
"""A rival's support, as a part of the best candidate's."""
CLEAR, LEAST_WINDOWS = 0.3, 2.0
"""Difference of the correlations where rivals would look different that decides between them, and how large that must be."""
SAME_PLACE, SAME_TRACKS = 0.01, 0.002
"""Diagonals of the screen between two points that are one, and between tracks of one thing (a row of a list is ten times that)."""
LARGEST_SIGMA = 0.005
"""In diagonals of the screen."""


class View:
    """One view in grey: ``full``, ``fine`` (for refinement) and ``coarse`` (for comparison)."""

    def __init__(self, image: RGB | Grey, *, fine: int = 800, coarse: int = 480) -> None:
        grey = to_grey(image) if image.size and image.ndim == 3 else image
        self.full: Grey = grey if image.size else np.zeros((0, 0), np.uint8)
        self.height, self.width = self.full.shape
        self._features: dict[Detail, Features] = {}
        self._squared: dict[int, Upright | None] = {}
        if image.size:
            self.fine, self.coarse = shrink(self.full, fine), shrink(self.full, coarse)

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height

    @property
    def center(self) -> Point:
        return Point(self.width / 2, self.height / 2)

    def features(self, detail: Detail) -> Features:
        """Of ``full``, searched once."""
        if detail not in self._features:
            self._features[detail] = extract(self.full, detail)
        return self._features[detail]

    @cached_property
    def lines(self) -> tuple[NDArray[np.float64], tuple[int, ...]]:
        small = shrink(self.full, AXES_AT)
        return line_segments(small), small.shape

    @cached_property
    def axes(self) -> list[Axes]:
        return screen_axes(*self.lines)

    def squared(self, place: int = 0) -> Upright | None:
        """``fine`` as seen squarely, by the axes at that ``place`` of those that straight lines tell; None without them."""
        if place not in self._squared:
            known = place < len(self.axes)
            self._squared[place] = upright(self.fine, self.axes[place], SQUARED_AT) if known else None
        return self._squared[place]

    @cached_property
    def levelled(self) -> Upright | None:
        """The same by the least tilted axes that any lines agree with; None when those are the first that ``squared`` takes."""
        axes = level_axes(*self.lines)
        known = self.axes and self.axes[0].alike(axes)
        return None if known else upright(self.fine, axes, SQUARED_AT)

    def mirrored(self) -> View:
        """The same view seen in a mirror."""
        return View(np.ascontiguousarray(self.full[:, ::-1]))

    def from_smaller(self, smaller: Grey) -> Homography:
        """From the pixels of ``fine`` or ``coarse`` to those of ``full``."""
        return Homography.scaling(self.width / smaller.shape[1], self.height / smaller.shape[0])


@dataclass(frozen=True, eq=False)
class Candidate:
    """``homography`` maps the full view's pixels to those of ``screen``; ``refined`` is in pixels of the fine view."""

    screen: PreparedScreen
    homography: Homography
    refined: Refined
    agreement: Agreement

    @property
    def tracks(self) -> int:
        return self.refined.tracks

    @property
    def looks(self) -> float:
        """How well view and screenshot agree, about [0, 1]; a popup or clock that only one of them shows costs little."""
        return min(self.agreement.correlation, self.agreement.explained + 0.15)

    @property
    def confidence(self) -> float:
        """How fully looks and tracks agree, in [0, 1]: no probability of being right, for what may be wrong is refused before."""
        looks = float(np.clip((self.looks - 0.25) / 0.5, 0, 1))
        tracks = float(np.clip((self.tracks - 6) / 40, 0, 1))
        return float(np.sqrt(looks * tracks))

    @property
    def proven(self) -> bool:
        """Enough tracks, a view that looks like the screen, and a point that does not hang on noise."""
        agreed = self.agreement
        unanimous = self.tracks >= UNANIMOUS * len(self.refined.inlier) and agreed.explained >= WELL_EXPLAINED
        return (
            self.tracks >= LEAST_TRACKS
            and (unanimous or agreed.correlation >= GOOD_CORRELATION)
            and agreed.correlation >= LEAST_CORRELATION
            and agreed.explained >= LEAST_EXPLAINED
            and self.refined.sigma <= LARGEST_SIGMA * self.screen.diagonal
        )

    @property
    def sure(self) -> bool:
        """Proven by its looks alone."""
        agreed = self.agreement
        if self.tracks < LEAST_SOUGHT_TRACKS and self.refined.sigma > SETTLED_SIGMA * self.screen.diagonal:
            return False
        fits = agreed.correlation >= SURE_CORRELATION and agreed.explained >= SURE_EXPLAINED
        full = agreed.correlation >= FULL_CORRELATION and self.tracks >= MANY_TRACKS
        return self.proven and (fits or (full and agreed.explained >= PARTLY_EXPLAINED))

    def framed(self, view: View) -> bool:
        """Proven by its looks and by the screen's edges, which the view shows where they have to be."""
        if not self.proven or self.agreement.correlation < FRAMED_CORRELATION:
            return False
        to_fine = self.homography @ view.from_smaller(view.fine)
        return framed(view.lines[0], view.fine.shape[::-1], self.screen, to_fine, lens=self.refined.lens)

    def located(self, view: View, stage: str) -> Location:
        return Location.at(
            self.homography,
            view.size,
            monitor=self.screen.monitor.index,
            confidence=self.confidence,
            stage=stage,
            evidence=Evidence(
                view_xy=view.from_smaller(view.fine).apply(self.refined.view_xy),
                screen_xy=self.refined.screen_xy,
                inlier=self.refined.inlier,
                correlation=self.agreement.correlation,
                explained=self.agreement.explained,
                texture=self.agreement.texture,
                sigma=self.refined.sigma,
            ),
        )


def _refined(view: View, screen: PreparedScreen, homography: Homography, points: int, levels: int) -> Refined | None:
    """The refinement that tracks most: again while few are found, and with the screen's bezel drawn in as well."""
    best: Refined | None = None
    for _ in range(MOST_PASSES):
        pose, tracks = (homography, 0) if best is None else (best.homography, best.tracks)
        for bezel in (False, True):
            if best is None or best.tracks < FAIR * points:
                found = refine(view.fine, screen, pose, points=points, levels=levels, bezel=bezel)
                if found is not None and (best is None or found.tracks > best.tracks):
                    best = found
        if best is None or best.tracks == tracks or best.tracks >= FAIR * points:
            break
    return best


def grow(
    view: View, screen: PreparedScreen, homography: Homography, *, points: int = POINTS, levels: int = LEVELS
) -> Candidate | Refusal:
    """Refine a pose (full view -> screen) and compare; the reason when no camera sees that or no tracks agree."""
    size = (screen.width, screen.height)
    problem = flaw(homography, view.size, size)
    if problem is not None:
        return problem
    to_full = view.from_smaller(view.fine)
    refined = _refined(view, screen, homography @ to_full, points, levels)
    if refined is None:
        return Refusal.UNSTABLE
    better = refined.homography @ to_full.inverse()
    problem = flaw(better, view.size, size)
    if problem is not None:
        return problem
    agreed = agreement(view.coarse, screen, better @ view.from_smaller(view.coarse), lens=refined.lens)
    return Candidate(screen, better, refined, agreed)


def rivals(other: Candidate, best: Candidate) -> bool:
    """Whether the view as a whole speaks about as much for ``other`` as for ``best``, or somewhat less while what both show agrees
    better: a pose that predicts more gains more, also by what is only nearly there."""
    mine, its = best.agreement, other.agreement
    truer = its.correlation >= mine.correlation and its.explained >= mine.explained
    return its.support > (ALIKE_IF_TRUER if truer else ALIKE) * mine.support


def ambiguous(best: Candidate, other: Candidate, view: View) -> bool:
    """Whether the two put the point at different places and the view speaks for neither clearly: not as a whole, and not where
    they would look different."""
    if _same_place(best, other, view):
        return False
    if not rivals(other, best) or other.tracks <= 0.5 * best.tracks:
        return False
    to_view = view.from_smaller(view.coarse)
    mine, its = (Seen(c.screen, c.homography @ to_view, c.refined.lens) for c in (best, other))
    advantage, windows = preference(view.coarse, mine, its)
    return advantage < CLEAR or windows < LEAST_WINDOWS


def _same_place(a: Candidate, b: Candidate, view: View) -> bool:
    """Whether they put the point at one place, or what was tracked at one place and the point not far from it: beside the only
    line of text a tilt is hard to tell."""
    if a.screen is not b.screen:
        return False
    apart = a.homography.apply_point(view.center).distance(b.homography.apply_point(view.center)) / a.screen.diagonal
    if apart < SAME_PLACE:
        return True
    tracked = view.from_smaller(view.fine).apply(a.refined.view_xy[a.refined.inlier])
    between = np.hypot(*(a.homography.apply(tracked) - b.homography.apply(tracked)).T)
    return apart < 3 * SAME_PLACE and float(np.median(between)) < SAME_TRACKS * a.screen.diagonal
