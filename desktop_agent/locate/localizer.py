"""Where on the screen is the phone pointing? Stages of growing cost, each refusing what it cannot prove."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from desktop_agent.geometry import Homography, rectangle_quad
from desktop_agent.locate.candidate import (
    LEVELS,
    SMALLEST_VIEW,
    SOUGHT_LEVELS,
    Candidate,
    View,
    ambiguous,
    grow,
    rivals,
)
from desktop_agent.locate.copies import within
from desktop_agent.locate.features import RGB
from desktop_agent.locate.hypothesis import LEAST_INLIERS
from desktop_agent.locate.location import Location, Refusal
from desktop_agent.locate.screens import FAST_SCREEN, SQUARE_SCREEN, PreparedScreen, ScreenCache
from desktop_agent.locate.stages import (
    Fast,
    Guess,
    LevelSquare,
    LevelSweep,
    Outlined,
    SecondSquare,
    SmallSquare,
    Square,
    Sweep,
    ThirdSquare,
)
from desktop_agent.screen import Screenshot

SURE = 12
"""Correspondences behind a guess that make its flaw (mirrored, beside the screen) worth telling."""

COPIED = 0.3
"""Part of the key points in the view that another place of the screen has too, at least, when it is a rival."""

MOST_LEADERS = 4
"""Best places whose likenesses elsewhere on the screen are looked at."""

SAME = 0.02
"""Long sides of the view that two guesses of one pose may differ."""

TELLING = [
    Refusal.TOO_FEW_FEATURES,
    Refusal.NO_CONSISTENT_PLANE,
    Refusal.UNSTABLE,
    Refusal.OFF_SCREEN,
    Refusal.MIRRORED,
    Refusal.AMBIGUOUS,
]
"""Reasons from the least to the most telling; the most telling one found is given."""

Stage = type[Fast] | type[Square] | type[Outlined] | type[Sweep]
QUICK: tuple[Stage, ...] = (Fast, SmallSquare, LevelSquare, Square, SecondSquare, ThirdSquare, Outlined)
SLOW: tuple[Stage, ...] = (Sweep, LevelSweep)


class Localizer:
    """Locates views on screenshots; keeps what it computed about the last few screen contents. Thread-safe."""

    def __init__(self) -> None:
        self._cache = ScreenCache()

    def prepare(self, screenshot: Screenshot) -> None:
        """Compute and keep what ``locate`` needs of this screenshot, as soon as it is grabbed."""
        if screenshot.image.size:
            screen = self._cache.get(screenshot)
            for detail in (FAST_SCREEN, SQUARE_SCREEN):
                screen.features(detail)
            screen.copies()

    def screens(self, screenshots: list[Screenshot]) -> list[PreparedScreen]:
        """The prepared screens of all screenshots that show anything."""
        return [self._cache.get(shot) for shot in screenshots if shot.image.size]

    def locate(
        self,
        view: RGB,
        screenshots: list[Screenshot],
        *,
        prior: Homography | None = None,
        monitor: int | None = None,
        thorough: bool = True,
        patient: bool = True,
    ) -> Location:
        """Find ``view`` (uint8 HxWx3 RGB) on one of the screenshots.

        ``prior`` is a guess (view pixels -> monitor pixels) that is tried first, on the monitor with the index ``monitor`` or on
        all of them. Without ``thorough`` only the cheap stage runs, without ``patient`` none that takes a second.
        """
        started = time.perf_counter()
        picture, screens = View(view), self.screens(screenshots)
        stages = (QUICK if thorough else QUICK[:1]) + (SLOW if thorough and patient else ())
        location = _Search(picture, screens).run(prior, stages, monitor)
        if location.status == "refused" and thorough and any(screen.borrows for screen in screens):
            for screen in screens:
                screen.renew()
            location = _Search(picture, screens).run(None, stages)
        return replace(location, elapsed_ms=(time.perf_counter() - started) * 1000)


def _leads_to(guess: Guess, candidate: Candidate, view: View) -> bool:
    """Whether the guess is so near a proven candidate that refining it would end there."""
    if guess.screen is not candidate.screen:
        return False
    corners = rectangle_quad(*view.size).array() * 0.6 + np.array(view.size) * 0.2
    if (guess.homography.depth(corners) <= 0).any():
        return False
    off = np.hypot(*(candidate.homography.inverse().apply(guess.homography.apply(corners)) - corners).T)
    return bool(off.max() < SAME * max(view.size))


@dataclass(frozen=True, eq=False)
class _Found:
    """The ``proven`` candidates of one stage, and those of them that are ``believed`` when no other place looks as good."""

    proven: list[Candidate]
    believed: list[Candidate]

    @property
    def leaders(self) -> list[Candidate]:
        """The believed ones that look about as good as the best, best first."""
        ordered = sorted(self.believed, key=lambda candidate: -candidate.agreement.support)
        return [found for found in ordered if found is ordered[0] or rivals(found, ordered[0])]


class _Search:
    """One view against all screens."""

    def __init__(self, view: View, screens: list[PreparedScreen]) -> None:
        self.view = view
        self.screens = screens
        self.reason = Refusal.TOO_FEW_FEATURES

    def run(self, prior: Homography | None, stages: tuple[Stage, ...], monitor: int | None = None) -> Location:
        if min(self.view.size) < SMALLEST_VIEW or not self.screens:
            return Location.refused(Refusal.TOO_FEW_FEATURES)
        if prior is not None:
            meant = (screen for screen in self.screens if monitor in (None, screen.monitor.index))
            best = self._best(self._grown(Guess(screen, prior, 0) for screen in meant))
            if best is not None:
                return best.located(self.view, "prior")
        for stage in stages:
            location = self._run_stage(stage(self.view))
            if location is not None:
                return location
            if self.reason is Refusal.AMBIGUOUS:
                break
        if len(stages) > 1 and self.reason is not Refusal.AMBIGUOUS and self._mirrored():
            self._tell(Refusal.MIRRORED)
        return Location.refused(self.reason, stage=stage.name)

    def _run_stage(self, stage: Fast | Square | Outlined | Sweep) -> Location | None:
        if all(stage.starved(screen) for screen in self.screens):
            return None
        if not isinstance(stage, Outlined | Sweep):  # which any view starts, however blank
            self._tell(Refusal.NO_CONSISTENT_PLANE)
        found = self._grown(guess for screen in self.screens for guess in stage.guesses(screen))
        for place in range(MOST_LEADERS):  # what looks like one of the best places may look better still
            leaders = found.leaders
            if place == len(leaders):
                break
            self._grown(self._rivals(leaders[place]), found)
        best = self._best(found)
        return best.located(self.view, stage.name) if best is not None else None

    def _grown(self, guesses: Iterable[Guess], found: _Found | None = None) -> _Found:
        """What the guesses grow up to, added to what was found before."""
        found = _Found([], []) if found is None else found
        for guess in guesses:
            if any(_leads_to(guess, candidate, self.view) for candidate in found.proven):
                continue
            grown = grow(self.view, guess.screen, guess.homography, levels=SOUGHT_LEVELS if guess.sought else LEVELS)
            if isinstance(grown, Candidate):
                self._tell(Refusal.UNSTABLE)
                found.proven.extend([grown] * grown.proven)
                found.believed.extend(
                    [grown] * (grown.sure or grown.framed(self.view) if guess.sought else grown.proven)
                )
            elif guess.inliers >= SURE:
                self._tell(grown)
        return found

    def _best(self, found: _Found) -> Candidate | None:
        """The proven candidate that looks best; None when there is none, or when another place looks as good."""
        for best in found.leaders:
            if not any(ambiguous(best, other, self.view) for other in found.proven if other is not best):
                return best
        if found.believed:
            self._tell(Refusal.AMBIGUOUS)
        return None

    def _rivals(self, candidate: Candidate) -> Iterator[Guess]:
        """Other places of the screen that look like the one that is seen."""
        screen, pose = candidate.screen, candidate.homography
        if not screen.copies():
            return
        least = max(LEAST_INLIERS, COPIED * within(screen.features(FAST_SCREEN).xy, pose, self.view.size))
        for copy in screen.copies():
            seen = within(copy.places, pose, self.view.size)
            if seen >= least:
                yield Guess(screen, copy.map @ pose, seen)

    def _mirrored(self) -> bool:
        """Whether the view's mirror image is what would be located."""
        stage = Fast.in_a_mirror(self.view)
        for screen in self.screens:
            for guess in stage.guesses(screen):
                grown = grow(self.view.mirrored(), screen, guess.homography)
                if isinstance(grown, Candidate) and grown.proven:
                    return True
        return False

    def _tell(self, reason: Refusal) -> None:
        self.reason = max(self.reason, reason, key=TELLING.index)
