from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from server.boundary import refined
from server.edges import EPSILON, LocalLinear, enlarged, snapped
from server.looking import shrunk
from server.matting import closed_form, matte, trimap_of
from server.segmenter import RGB, Mask
from server.selection import Window


@pytest.fixture(autouse=True)
def no_installed_weights(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCP_HOME", str(tmp_path))
    monkeypatch.delenv("ARCP_WEIGHTS", raising=False)


def star(size: int) -> tuple[RGB, Mask]:
    """A bright star on a dark, grainy ground, and its true alpha."""
    scale = 4
    angles = np.arange(10) * np.pi / 5
    radii = np.where(np.arange(10) % 2 == 0, 0.42, 0.2) * size * scale
    points = np.stack([np.cos(angles) * radii, np.sin(angles) * radii], 1) + size * scale / 2
    large = np.zeros((size * scale, size * scale), np.uint8)
    cv2.fillPoly(large, [points.astype(np.int32)], 255)
    alpha = cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    noise = np.random.default_rng(1).normal(0, 6, (size, size, 3))
    ground, object_ = np.array([40, 60, 90]), np.array([220, 180, 90])
    photo = alpha[..., None] * object_ + (1 - alpha[..., None]) * ground + noise
    return np.clip(photo, 0, 255).astype(np.uint8), alpha


def blurred(alpha: Mask, side: int = 48) -> Mask:
    """What a coarse grid keeps of the alpha."""
    small = cv2.resize(alpha, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, alpha.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def mean_error(alpha: NDArray[np.generic], truth: Mask) -> float:
    return float(np.abs(np.asarray(alpha, np.float32) - truth).mean())


def test_our_guided_filter_is_opencvs() -> None:
    photo, alpha = star(120)
    radius = 5
    theirs = cv2.ximgproc.guidedFilter(photo, blurred(alpha), radius, EPSILON * 255**2)
    guide = photo.astype(np.float32) / 255
    coefficients = LocalLinear(guide, radius, EPSILON).coefficients(blurred(alpha))
    ours = (coefficients[..., :3] * guide).sum(2) + coefficients[..., 3]
    inside = np.s_[2 * radius : -2 * radius, 2 * radius : -2 * radius]  # the two treat the border differently
    assert np.abs(ours - theirs)[inside].max() < 1e-4


def test_a_coarse_map_is_drawn_to_the_edges() -> None:
    photo, alpha = star(300)
    assert mean_error(snapped(photo, blurred(alpha)), alpha) < 0.35 * mean_error(blurred(alpha), alpha)


def test_the_edge_comes_back_at_the_large_size_in_any_window() -> None:
    photo, alpha = star(1200)
    small = shrunk(photo, 300)
    mask = cv2.resize(alpha, (300, 300), interpolation=cv2.INTER_AREA)
    plain = cv2.resize(mask, (1200, 1200), interpolation=cv2.INTER_LINEAR)
    everything = enlarged(small, mask, photo, Window(0, 0, 1200, 1200))
    assert mean_error(everything / 255, alpha) < 0.7 * mean_error(plain, alpha)
    window = Window(201, 333, 1001, 902)
    assert np.array_equal(enlarged(small, mask, photo, window), everything[window.slices])


def test_refining_without_weights_says_so_and_is_no_worse() -> None:
    photo, alpha = star(1200)
    small = shrunk(photo, 300)
    mask = snapped(small, blurred(cv2.resize(alpha, (300, 300), interpolation=cv2.INTER_AREA), 60))
    window = Window(0, 0, 1200, 1200)
    name, fine = refined(photo, small, mask, window)
    assert name == "guided filter"
    assert mean_error(fine / 255, alpha) <= mean_error(enlarged(small, mask, photo, window) / 255, alpha)


def hair(size: int = 160) -> tuple[RGB, Mask]:
    """A disc with a soft rim of strands."""
    ys, xs = np.mgrid[0:size, 0:size].astype(np.float32) - size / 2
    radius, angle = np.hypot(xs, ys), np.arctan2(ys, xs)
    reach = 0.28 * size + 0.05 * size * np.sin(37 * angle) * np.sin(11 * angle)
    alpha = np.clip((reach - radius) / 6 + 0.5, 0, 1).astype(np.float32)
    photo = alpha[..., None] * np.array([200, 150, 60]) + (1 - alpha[..., None]) * np.array([30, 70, 140])
    return np.rint(photo).astype(np.uint8), alpha


def test_closed_form_finds_the_opacity_between_sure_pixels() -> None:
    photo, truth = hair()
    disc = np.ones((15, 15), np.uint8)
    hard = (truth > 0.5).astype(np.uint8)
    trimap = np.where(cv2.erode(hard, disc) > 0, 1, np.where(cv2.dilate(hard, disc) > 0, 0.5, 0)).astype(np.float32)
    solved = closed_form(photo, trimap)
    band = trimap == 0.5
    assert np.abs(solved - truth)[band].mean() < 0.03
    assert np.array_equal(solved[~band], trimap[~band])
    assert closed_form(photo, hard.astype(np.float32)).sum() == hard.sum()


def test_matting_improves_a_hard_mask_and_names_itself() -> None:
    photo, truth = hair()
    hard = (truth > 0.5).astype(np.float32)
    name, alpha = matte(photo, photo, hard, Window(0, 0, 160, 160))
    assert name == "closed-form"
    assert mean_error(alpha / 255, truth) < 0.5 * mean_error(hard, truth)


def test_a_thin_part_keeps_a_sure_core() -> None:
    mask = np.zeros((200, 400), np.float32)
    mask[98:103, 50:350] = 1
    trimap = trimap_of(mask)
    assert (trimap[100, 60:340] == 1).all()
    assert trimap[107, 200] == 0.5
    assert trimap[130, 200] == 0


class Threshold:
    """Stands for an installed network: cuts hard where the picture is bright."""

    def predict(self, image: RGB) -> Mask:
        return (image[..., 0] > 130).astype(np.float32)

    def refine(self, image: RGB, mask: Mask) -> Mask:
        assert mask.shape == image.shape[:2]
        return self.predict(image)


def test_an_installed_refiner_gets_the_full_size_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.boundary.installed", lambda names: "mobile-meticulousnet-h")
    monkeypatch.setattr("server.boundary.companion", lambda name: Threshold())
    photo, alpha = star(600)
    small, window = shrunk(photo, 150), Window(100, 100, 500, 500)
    mask = cv2.resize(alpha, (150, 150), interpolation=cv2.INTER_AREA)
    name, fine = refined(photo, small, mask, window)
    assert name == "mobile-meticulousnet-h"
    assert np.array_equal(fine, Threshold().predict(photo[window.slices]) * 255)


def test_an_installed_matter_decides_only_where_the_mask_is_unsure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.matting.installed", lambda names: "gfm-r34-tt")
    monkeypatch.setattr("server.matting.companion", lambda name: Threshold())
    photo, alpha = star(300)
    photo[5:20, 5:20] = 255  # another bright thing, which is not the object
    name, found = matte(photo, photo, alpha, Window(0, 0, 300, 300))
    assert name == "gfm-r34-tt"
    assert found[150, 150] == 255
    assert found[10, 10] == 0


def test_a_full_size_mask_is_matted_at_a_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that works on every pixel of a large photo must not make the solver do so too."""
    monkeypatch.setattr("server.matting.SIDE", 100)
    sizes: list[tuple[int, ...]] = []

    def seen(image: RGB, trimap: Mask, prior: Mask) -> Mask:
        sizes.append(trimap.shape)
        return closed_form(image, trimap, prior)

    monkeypatch.setattr("server.matting.closed_form", seen)
    photo, truth = hair(320)
    _, alpha = matte(photo, photo, (truth > 0.5).astype(np.float32), Window(0, 0, 320, 320))
    assert sizes == [(100, 100)]
    assert alpha.shape == (320, 320)
    assert mean_error(alpha / 255, truth) < mean_error((truth > 0.5).astype(np.float32), truth)
