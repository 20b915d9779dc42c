"""A grid of ArUco markers, shown for a moment on request: makes any screen locatable, a blank canvas too.

Markers of two sizes alternate so that a view of the whole screen reads the large ones and a close view has several small ones in it
(Garrido-Jurado 2014; ``DICT_5X5_1000``).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from desktop_agent.geometry import Homography
from desktop_agent.locate.candidate import SMALLEST_VIEW, Candidate, View, grow
from desktop_agent.locate.features import RGB, Grey
from desktop_agent.locate.hypothesis import facing, flaw
from desktop_agent.locate.location import Location, Refusal
from desktop_agent.locate.refine import fit_plane_and_lens
from desktop_agent.locate.screens import PreparedScreen
from desktop_agent.screen import Monitor, Screenshot

RGBA = NDArray[np.uint8]
Float = NDArray[np.float64]

MODULES = 7
PITCHES = 24
BLOCK = 4
IDS_A_MONITOR = 250
SMALL_CELLS = ((0, 3), (1, 2), (2, 1), (2, 3), (3, 0), (3, 2))
LEAST_MARKERS = 2
STAGE = "markers"


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
        large, small = (max(1, round(self.pitch * part / MODULES)) for part in (1.5, 0.62))
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

    def over(self, image: RGB) -> RGB:
        """The screen's picture (of the monitor's size) as it looks with the overlay."""
        overlay = self.overlay()
        return np.where(overlay[..., 3:] > 0, overlay[..., :3], image)


def locate_by_markers(view: RGB, screenshots: list[Screenshot]) -> Location:
    """Locate a view (uint8 HxWx3 RGB) of monitors that show their grids over ``screenshots``, which were grabbed without them."""
    started = time.perf_counter()
    picture = View(view)
    location = Location.refused(Refusal.TOO_FEW_FEATURES, stage=STAGE)
    if min(picture.size) >= SMALLEST_VIEW:
        seen = _detect(picture.full)
        shown = [(MarkerGrid(shot.monitor), shot) for shot in screenshots if shot.image.size]
        for grid, shot in sorted(shown, key=lambda pair: -len(seen.keys() & pair[0].squares().keys())):
            found = _on_grid(seen, grid, shot, picture)
            if found.status == "located":
                location = found
                break
            if location.reason is Refusal.TOO_FEW_FEATURES:
                location = found
    return replace(location, elapsed_ms=(time.perf_counter() - started) * 1000)


def _on_grid(seen: dict[int, Float], grid: MarkerGrid, shot: Screenshot, view: View) -> Location:
    known = grid.corners()
    shared = sorted(seen.keys() & known.keys())
    if len(shared) < LEAST_MARKERS:
        return Location.refused(Refusal.TOO_FEW_FEATURES, stage=STAGE)
    view_xy = np.vstack([seen[number] for number in shared])
    screen_xy = np.vstack([known[number] for number in shared])
    matrix, mask = cv2.findHomography(view_xy, screen_xy, cv2.RANSAC, 0.25 * grid.pitch)
    if matrix is None or mask.sum() < 4 * LEAST_MARKERS:
        return Location.refused(Refusal.NO_CONSISTENT_PLANE, stage=STAGE)
    rough = facing(Homography(matrix), view_xy)
    fitting = mask.ravel().astype(bool)
    refined = fit_plane_and_lens(rough, view_xy[fitting], screen_xy[fitting], view.size)
    homography = refined.homography if refined is not None else rough
    marked = PreparedScreen(Screenshot(shot.monitor, grid.over(shot.image)))
    for pose in (homography, rough):
        grown = grow(view, marked, pose)
        if isinstance(grown, Candidate) and grown.proven:
            return grown.located(view, STAGE)
    problem = flaw(homography, view.size, (marked.width, marked.height))
    if problem is not None:
        return Location.refused(problem, stage=STAGE)
    confidence = min(1.0, len(shared) / 8)
    return Location.at(homography, view.size, monitor=grid.monitor.index, confidence=confidence, stage=STAGE)


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
    once = [ids.count(number) == 1 for number in ids]
    corners = [np.asarray(xy.reshape(4, 2), dtype=np.float64) + 0.5 for xy in found]
    return {number: xy for number, xy, single in zip(ids, corners, once, strict=True) if single}


def _dictionary() -> cv2.aruco.Dictionary:
    return cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_5X5_1000)
