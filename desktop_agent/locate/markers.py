"""A grid of ArUco markers, shown for a moment on request: makes any screen locatable, a blank canvas too.

Markers of two sizes alternate so that a view of the whole screen reads the large ones and a close view has several small ones in it
(Garrido-Jurado 2014; ``DICT_5X5_1000``).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from desktop_agent.geometry import Homography
from desktop_agent.locate.features import RGB, Grey, to_grey
from desktop_agent.locate.hypothesis import facing, flaw
from desktop_agent.locate.location import Location, Refusal
from desktop_agent.locate.refine import fit_plane_and_lens
from desktop_agent.screen import Monitor

RGBA = NDArray[np.uint8]
Float = NDArray[np.float64]

MODULES = 7
PITCHES = 24
BLOCK = 4
IDS_A_MONITOR = 250
SMALL_CELLS = ((0, 3), (1, 2), (2, 1), (2, 3), (3, 0), (3, 2))
LEAST_MARKERS = 2


@dataclass(frozen=True)
class MarkerGrid:
    """The markers on one monitor; the same monitor always gets the same grid, two monitors share no marker."""

    monitor: Monitor

    @property
    def pitch(self) -> float:
        return max(self.monitor.rect.width, self.monitor.rect.height) / PITCHES

    def squares(self) -> dict[int, tuple[int, int, int]]:
        """Marker id -> left, top and pixels a module, of all markers that lie on the monitor with their margin."""
        found: dict[int, tuple[int, int, int]] = {}
        width, height = self.monitor.rect.width, self.monitor.rect.height
        large, small = (max(1, round(self.pitch * part / MODULES)) for part in (1.6, 0.62))
        number = (self.monitor.index - 1) % 4 * IDS_A_MONITOR
        for top in range(0, PITCHES, BLOCK):
            for left in range(0, PITCHES, BLOCK):
                wanted = [(top + 1.0, left + 1.0, large)] + [
                    (top + r + 0.5, left + c + 0.5, small) for r, c in SMALL_CELLS
                ]
                for row, column, module in wanted:
                    side = MODULES * module
                    x, y = round(column * self.pitch - side / 2), round(row * self.pitch - side / 2)
                    if x >= module and y >= module and x + side + module <= width and y + side + module <= height:
                        found[number] = (x, y, module)
                        number += 1
        return found

    def corners(self) -> dict[int, Float]:
        """Marker id -> its corners, 4x2 pixels of the monitor, clockwise from the top left."""
        return {
            number: np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float64) * (MODULES * module) + (x, y)
            for number, (x, y, module) in self.squares().items()
        }

    def overlay(self) -> RGBA:
        """What is to be shown over the screen: uint8 HxWx4, opaque markers with a white margin, transparent elsewhere."""
        picture = np.zeros((self.monitor.rect.height, self.monitor.rect.width, 4), np.uint8)
        dictionary = _dictionary()
        for number, (x, y, module) in self.squares().items():
            side = MODULES * module
            picture[y - module : y + side + module, x - module : x + side + module] = 255
            marker = cv2.aruco.generateImageMarker(dictionary, number, side)
            picture[y : y + side, x : x + side, :3] = marker[..., None]
        return picture


def locate_by_markers(view: RGB, grids: list[MarkerGrid]) -> Location:
    """Locate a view (uint8 HxWx3 RGB) of monitors that show their grids."""
    started = time.perf_counter()
    reason = Refusal.TOO_FEW_FEATURES
    if view.size and min(view.shape[:2]) >= 32:
        seen = _detect(to_grey(view))
        for grid in sorted(grids, key=lambda grid: -len(seen.keys() & grid.corners().keys())):
            location = _on_grid(seen, grid, (view.shape[1], view.shape[0]), started)
            if isinstance(location, Location):
                return location
            reason = max(reason, location, key=[Refusal.TOO_FEW_FEATURES, *_LATER].index)
    return Location.refused(reason, stage="markers", elapsed_ms=(time.perf_counter() - started) * 1000)


_LATER = [Refusal.NO_CONSISTENT_PLANE, Refusal.UNSTABLE, Refusal.AMBIGUOUS, Refusal.MIRRORED, Refusal.OFF_SCREEN]


def _on_grid(
    seen: dict[int, Float], grid: MarkerGrid, view_size: tuple[int, int], started: float
) -> Location | Refusal:
    known = grid.corners()
    shared = sorted(seen.keys() & known.keys())
    if len(shared) < LEAST_MARKERS:
        return Refusal.TOO_FEW_FEATURES
    view_xy = np.vstack([seen[number] for number in shared])
    screen_xy = np.vstack([known[number] for number in shared])
    matrix, mask = cv2.findHomography(view_xy, screen_xy, cv2.RANSAC, 0.25 * grid.pitch)
    if matrix is None or mask.sum() < 4 * LEAST_MARKERS:
        return Refusal.NO_CONSISTENT_PLANE
    rough = facing(Homography(matrix), view_xy)
    fitting = mask.ravel().astype(bool)
    refined = fit_plane_and_lens(rough, view_xy[fitting], screen_xy[fitting], view_size)
    homography = refined.homography if refined is not None else rough
    screen_size = (grid.monitor.rect.width, grid.monitor.rect.height)
    problem = flaw(homography, view_size, screen_size)
    if problem is not None:
        return problem
    return Location.at(
        homography,
        view_size,
        monitor=grid.monitor.index,
        confidence=min(1.0, int(mask.sum()) / 32),
        stage="markers",
        elapsed_ms=(time.perf_counter() - started) * 1000,
    )


def _detect(grey: Grey) -> dict[int, Float]:
    """Marker id -> its corners in the view, 4x2; an id seen twice is no marker of ours."""
    options = cv2.aruco.DetectorParameters()
    options.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    options.errorCorrectionRate = 0.2
    options.minMarkerPerimeterRate = 0.02
    found, numbers, _ = cv2.aruco.ArucoDetector(_dictionary(), options).detectMarkers(grey)
    if numbers is None:
        return {}
    ids = [int(number) for number in numbers.ravel()]
    return {
        number: xy.reshape(4, 2).astype(np.float64) + 0.5
        for number, xy in zip(ids, found, strict=True)
        if ids.count(number) == 1
    }


def _dictionary() -> cv2.aruco.Dictionary:
    return cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_5X5_1000)
