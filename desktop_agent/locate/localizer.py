"""Where on the screen is the phone pointing? Stages of growing cost, each refusing what it cannot prove."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from desktop_agent.geometry import Homography, Point
from desktop_agent.locate.features import Detail, Features, extract, shrink, to_grey
from desktop_agent.locate.hypothesis import LEAST_INLIERS, Hypothesis, fit, flaw, spread
from desktop_agent.locate.location import Evidence, Location, Refusal
from desktop_agent.locate.matching import match
from desktop_agent.locate.rectify import screen_axes, upright
from desktop_agent.locate.refine import Refined, refine
from desktop_agent.locate.screens import PreparedScreen, ScreenCache
from desktop_agent.locate.verify import Agreement, agreement
from desktop_agent.locate.voting import likely_turns, quarter_turn, turned, votes
from desktop_agent.screen import Screenshot

RGB = NDArray[np.uint8]


@dataclass(frozen=True)
class Stage:
    name: str
    screen: Detail
    view: Detail
    ratio: float


FAST = Stage("fast", Detail(960, 2500), Detail(640, 1200), 0.8)
SQUARE = Stage("square", Detail(1600, 4000, 0.02, upright=True), Detail(900, 1000, 0.02, upright=True), 0.85)

REFINED_AT = 1000
VERIFIED_AT = 480


@dataclass(frozen=True, eq=False)
class Candidate:
    """A refined and compared hypothesis on one monitor; ``homography`` maps full view pixels."""

    screen: PreparedScreen
    homography: Homography
    hypothesis: Hypothesis
    refined: Refined
    agreement: Agreement

    @property
    def support(self) -> int:
        return int(self.refined.inlier.sum())

    @property
    def confidence(self) -> float:
        """0..1 from correlation and the number of independent tracks."""
        looks = np.clip((min(self.agreement.correlation, self.agreement.explained + 0.15) - 0.25) / 0.5, 0, 1)
        tracks = np.clip((self.support - 6) / 40, 0, 1)
        return float(np.sqrt(looks * tracks))


class Localizer:
    """Locates views on screenshots; keeps what it computed about the last few screens. Thread-safe."""

    def __init__(self) -> None:
        self._cache = ScreenCache()

    def prepare(self, screenshot: Screenshot) -> None:
        """Compute and keep what ``locate`` needs of this screenshot, as soon as it is grabbed."""
        if screenshot.image.size:
            screen = self._cache.get(screenshot)
            for stage in (FAST, SQUARE):
                screen.features(stage.screen)

    def locate(self, view: RGB, screenshots: list[Screenshot], *, prior: Homography | None = None) -> Location:
        """Find ``view`` (uint8 HxWx3 RGB) on one of the screenshots; ``prior`` is a guess that is tried first."""
        started = time.perf_counter()
        search = _Search(view, [self._cache.get(shot) for shot in screenshots if shot.image.size])
        location = search.run(prior)
        elapsed = (time.perf_counter() - started) * 1000
        return _timed(location, elapsed)


def _timed(location: Location, elapsed_ms: float) -> Location:
    return replace(location, elapsed_ms=elapsed_ms)


class _Search:
    """One view against all screens."""

    def __init__(self, view: RGB, screens: list[PreparedScreen]) -> None:
        self.grey = to_grey(view) if view.size else np.zeros((0, 0), np.uint8)
        self.size = (self.grey.shape[1], self.grey.shape[0])
        self.screens = screens
        self.reason = Refusal.TOO_FEW_FEATURES

    def run(self, prior: Homography | None) -> Location:
        if min(self.size) < 16 or not self.screens:
            return Location.refused(Refusal.TOO_FEW_FEATURES)
        self.fine = shrink(self.grey, REFINED_AT)
        self.coarse = shrink(self.grey, VERIFIED_AT)
        for name, search in (("fast", self._fast), ("square", self._square)):
            best = max(search(), key=lambda c: c.confidence, default=None)
            if best is not None and self._proven(best):
                return self._located(best, name)
        return Location.refused(self.reason, stage="square")

    def _fast(self) -> Iterator[Candidate]:
        features = extract(self.grey, FAST.view)
        for screen in self.screens:
            yield from self._candidates(FAST, features, screen)

    def _square(self) -> Iterator[Candidate]:
        """Draw the view squarely, then let upright features vote."""
        axes = screen_axes(shrink(self.grey, 800))
        if axes is None:
            return
        squared = upright(self.fine, axes, 900)
        features = extract(squared.image, SQUARE.view)
        size = (squared.image.shape[1], squared.image.shape[0])
        to_full = Homography.scaling(self.size[0] / self.fine.shape[1], self.size[1] / self.fine.shape[0])
        to_view = to_full @ squared.to_view
        for screen in self.screens:
            known = screen.features(SQUARE.screen)
            for quarters in likely_turns(features, known, size)[:2]:
                rotated = turned(features, quarters, size)
                for vote in votes(rotated, known, tolerance=6):
                    pose = (
                        Homography(
                            np.array([[vote.scale, 0, vote.shift[0]], [0, vote.scale, vote.shift[1]], [0, 0, 1.0]])
                        )
                        @ quarter_turn(quarters, size)
                        @ to_view.inverse()
                    )
                    view_xy = to_view.apply(features.xy[vote.view])
                    screen_xy = known.xy[vote.screen].astype(np.float64)
                    free = fit(view_xy, screen_xy, 4 * known.scale)
                    trials = [Hypothesis(pose, view_xy, screen_xy, np.ones(len(view_xy), bool))]
                    if free is not None and free.inliers >= 8:
                        trials.insert(0, free)
                    grown = [c for c in (self._grown(screen, trial) for trial in trials) if c is not None]
                    yield from grown

    def _candidates(self, stage: Stage, view: Features, screen: PreparedScreen) -> Iterator[Candidate]:
        features = screen.features(stage.screen)
        pairs = match(view, features, stage.ratio)
        if len(view) >= 12 and len(features) >= 12:
            self.reason = _worse(self.reason, Refusal.NO_CONSISTENT_PLANE)
        view_xy = view.xy[pairs.view].astype(np.float64)
        screen_xy = features.xy[pairs.screen].astype(np.float64)
        hypothesis = fit(view_xy, screen_xy, 4 * features.scale)
        if hypothesis is None:
            return
        fitting = hypothesis.inlier
        if (
            min(spread(view_xy[fitting], 3 * view.scale), spread(screen_xy[fitting], 3 * features.scale))
            < LEAST_INLIERS
        ):
            return
        candidate = self._grown(screen, hypothesis)
        if candidate is not None:
            yield candidate

    def _grown(self, screen: PreparedScreen, hypothesis: Hypothesis) -> Candidate | None:
        """Refine and compare a hypothesis that a camera could have seen."""
        problem = flaw(hypothesis.homography, self.size, (screen.width, screen.height))
        if problem is not None:
            if hypothesis.inliers >= 12:
                self.reason = _worse(self.reason, problem)
            return None
        to_fine = Homography.scaling(self.fine.shape[1] / self.size[0], self.fine.shape[0] / self.size[1])
        refined = refine(self.fine, screen, hypothesis.homography @ to_fine.inverse())
        if refined is None:
            return None
        homography = refined.homography @ to_fine
        if flaw(homography, self.size, (screen.width, screen.height)) is not None:
            return None
        to_coarse = Homography.scaling(self.coarse.shape[1] / self.size[0], self.coarse.shape[0] / self.size[1])
        return Candidate(
            screen,
            homography,
            hypothesis,
            refined,
            agreement(self.coarse, screen, homography @ to_coarse.inverse()),
        )

    def _proven(self, candidate: Candidate) -> bool:
        """Enough tracks, a view that looks like the screen, and a point that does not depend on noise."""
        self.reason = _worse(self.reason, Refusal.UNSTABLE)
        if candidate.refined.sigma > 0.02 * candidate.screen.diagonal:
            return False
        looks = candidate.agreement
        return candidate.support >= 12 and looks.correlation >= 0.4 and looks.explained >= 0.25

    def _located(self, best: Candidate, stage: str) -> Location:
        center = Point(self.size[0] / 2, self.size[1] / 2)
        to_fine = Homography.scaling(self.size[0] / self.fine.shape[1], self.size[1] / self.fine.shape[0])
        return Location(
            "located",
            monitor=best.screen.monitor.index,
            homography=best.homography,
            point=best.homography.apply_point(center),
            scale=best.homography.scale_at(center),
            rotation=best.homography.rotation_at(center),
            confidence=best.confidence,
            message="The view is located.",
            stage=stage,
            evidence=Evidence(
                view_xy=to_fine.apply(best.refined.view_xy),
                screen_xy=best.refined.screen_xy,
                inlier=best.refined.inlier,
                correlation=best.agreement.correlation,
                explained=best.agreement.explained,
                texture=best.agreement.texture,
                sigma=best.refined.sigma,
            ),
        )


_SEVERITY = [
    Refusal.TOO_FEW_FEATURES,
    Refusal.NO_CONSISTENT_PLANE,
    Refusal.UNSTABLE,
    Refusal.OFF_SCREEN,
    Refusal.MIRRORED,
    Refusal.AMBIGUOUS,
]


def _worse(known: Refusal, found: Refusal) -> Refusal:
    """The more telling of two reasons."""
    return max(known, found, key=_SEVERITY.index)
