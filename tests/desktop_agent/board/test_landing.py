"""Finding the page's marks and measuring a landing, on drawn screenshots with known truth."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from desktop_agent.board.marks import find_page
from desktop_agent.board.measure import measure
from desktop_agent.board.pages import View
from desktop_agent.geometry import Placement, Point
from desktop_agent.paste.driver import RGBA

SIZE = (900, 600)
RADIUS = 6


def view(code: int = 0) -> View:
    right, bottom = SIZE[0] - 12, SIZE[1] - 12
    return View(SIZE, 1.0, 0.0, 0.0, ((12, 12), (right, 12), (right, bottom), (12, bottom)), RADIUS, code)


def page(code: int, *, dark: bool = False, over: int = 4) -> np.ndarray:
    """The page as it draws itself, by another route: polygons at ``over`` times the resolution."""
    paper, ink = ((28, 28, 28), (152, 149, 141)) if dark else ((247, 245, 240), (111, 107, 99))
    image = np.full((SIZE[1] * over, SIZE[0] * over, 3), paper, np.uint8)
    rng = np.random.default_rng(4)
    for _ in range(300):
        triangle = rng.uniform(0, 1, 2) * np.array(SIZE) * over + rng.normal(0, 6 * over, (3, 2))
        cv2.fillPoly(image, [triangle.astype(np.int32)], tuple(int(v) for v in rng.integers(60, 215, 3)))
    for index, (x, y) in enumerate(view().marks):
        plate = (RADIUS + 3) * over
        block = image[y * over - plate : y * over + plate, x * over - plate : x * over + plate]
        dy, dx = np.indices(block.shape[:2]) + 0.5 - plate
        first = bool((code >> index) & 1) == dark
        block[:] = paper
        block[(dx**2 + dy**2 < (RADIUS * over) ** 2) & ((dx * dy > 0) if first else (dx * dy < 0))] = ink
    return cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA)


def on_desktop(shown: np.ndarray, matrix: np.ndarray, size: tuple[int, int] = (1300, 900)) -> np.ndarray:
    to_cv = matrix.copy()
    to_cv[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    return cv2.warpAffine(shown, to_cv, size, flags=cv2.INTER_LINEAR, borderValue=(90, 120, 160))


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("code", [0, 5, 6, 15])
def test_marks_give_the_shift(code: int, dark: bool) -> None:
    shot = on_desktop(page(code, dark=dark), np.array([[1.0, 0, 131], [0, 1, 77]]))
    fit = find_page(shot, view(code))
    assert fit is not None
    assert fit.marks == 4
    assert (fit.scale, fit.x, fit.y) == pytest.approx((1, 131, 77), abs=0.03)
    assert find_page(shot, view(code ^ 0b0101)) is None


@pytest.mark.parametrize("scale", [0.75, 1.25, 2.0])
def test_marks_give_the_scale_of_a_scaled_capture(scale: float) -> None:
    size = (int(1000 * scale), int(700 * scale))
    shown = cv2.resize(
        page(9), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    shot = on_desktop(shown, np.array([[1.0, 0, 33], [0, 1, 21]]), size)
    fit = find_page(shot, view(9))
    assert fit is not None
    assert (fit.x, fit.y) == pytest.approx((33, 21), abs=0.25)
    assert fit.scale == pytest.approx(scale, abs=5e-4)


def test_one_covered_corner_does_not_matter_two_do() -> None:
    shot = on_desktop(page(3), np.array([[1.0, 0, 50], [0, 1, 60]]))
    shot[40:120, 40:300] = 128
    fit = find_page(shot, view(3))
    assert fit is not None
    assert fit.marks == 3
    assert (fit.scale, fit.x, fit.y) == pytest.approx((1, 50, 60), abs=0.05)
    shot[600:700, 800:1000] = 128
    assert find_page(shot, view(3)) is None


def test_a_page_of_another_size_is_not_taken_for_this_one() -> None:
    shot = on_desktop(page(0), np.array([[1.0, 0, 50], [0, 1, 60]]))
    other = View((880, 560), 1.0, 0.0, 0.0, ((12, 12), (868, 12), (868, 548), (12, 548)), RADIUS, 0)
    assert find_page(shot, other) is None


def scene() -> np.ndarray:
    noise = np.random.default_rng(2).integers(0, 256, (38, 50, 3)).astype(np.uint8)
    return cv2.resize(noise, (720, 560), interpolation=cv2.INTER_CUBIC)


def leaf() -> RGBA:
    image = np.zeros((300, 400, 4), np.uint8)
    image[..., :3] = cv2.resize(np.random.default_rng(3).integers(0, 256, (12, 16, 3)).astype(np.uint8), (400, 300))
    alpha = np.zeros((300, 400), np.uint8)
    cv2.ellipse(alpha, (200, 150), (170, 110), 20, 0, 360, 255, -1)
    image[..., 3] = cv2.GaussianBlur(alpha, (0, 0), 2)
    image[image[..., 3] == 0] = 0
    return image


def composed(below: np.ndarray, cutout: RGBA, place: Placement) -> np.ndarray:
    """By supersampling 3 x 3, unlike the code under test."""
    premultiplied = cutout.astype(np.float32)
    premultiplied[..., :3] *= premultiplied[..., 3:] / 255
    matrix = 3 * place.matrix(cutout.shape[1], cutout.shape[0])
    matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    big = cv2.warpAffine(premultiplied, matrix, (below.shape[1] * 3, below.shape[0] * 3), flags=cv2.INTER_LINEAR)
    layer = cv2.resize(big, (below.shape[1], below.shape[0]), interpolation=cv2.INTER_AREA)
    return (layer[..., :3] + (1 - layer[..., 3:] / 255) * below).round().astype(np.uint8)


@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.4, -0.3), (3.0, 2.0), (-14.0, 9.0)])
@pytest.mark.parametrize(("scale", "rotation"), [(1.0, 0.0), (0.35, -28.0), (1.3, 40.0)])
def test_measures_where_it_really_is(offset: tuple[float, float], scale: float, rotation: float) -> None:
    before, cutout = scene(), leaf()
    expected = Placement(Point(340.3, 280.7), scale, rotation)
    true = Placement(expected.center.shifted(*offset), scale * 1.004, rotation + 0.3)
    seen = measure(before, composed(before, cutout, true), cutout, expected)
    assert seen.placement is not None
    assert seen.placement.center.distance(true.center) < 0.1
    assert seen.placement.scale == pytest.approx(true.scale, rel=2e-3)
    assert seen.placement.rotation == pytest.approx(true.rotation, abs=0.1)
    assert seen.error_px(expected) == pytest.approx(np.hypot(*offset), abs=0.1)


def test_measures_under_a_toolbar() -> None:
    before, cutout = scene(), leaf()
    expected = Placement(Point(340, 280))
    after = composed(before, cutout, Placement(Point(341.5, 280)))
    after[320:360, 160:480] = before[320:360, 160:480] = 250
    assert measure(before, after, cutout, expected).error_px(expected) == pytest.approx(1.5, abs=0.1)


def test_nothing_there_and_nothing_to_see_are_told_apart() -> None:
    before, cutout = scene(), leaf()
    absent = measure(before, before, cutout, Placement(Point(340, 280)))
    assert absent.placement is None
    assert absent.visible
    other = composed(before, np.ascontiguousarray(cutout[::-1, ::-1]), Placement(Point(340, 280)))
    assert measure(before, other, cutout, Placement(Point(340, 280))).placement is None
    for place, picture in ((Point(5000, 280), cutout), (Point(340, 280), np.zeros_like(cutout))):
        assert not measure(before, before, picture, Placement(place)).visible
