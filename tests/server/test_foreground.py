from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from server.foreground import estimate_foreground

RGB = NDArray[np.uint8]
PYMATTING = Path(__file__).parents[1] / "data" / "foreground" / "pymatting.npz"
"""``estimate_foreground_ml`` of PyMatting 1.1.16 on ``scene(160, 0.12)``, where alpha is over 25 and under 230."""


def scene(size: int, softness: float) -> tuple[RGB, RGB, NDArray[np.uint8]]:
    """A textured warm disc over a textured green background: the photo, the disc's true colours, alpha."""
    rng = np.random.default_rng(3)
    ys, xs = np.mgrid[0:size, 0:size].astype(np.float64) / size

    def textured(base: tuple[int, int, int]) -> NDArray[np.float64]:
        noise = cv2.GaussianBlur(rng.normal(size=(size, size, 3)), (0, 0), size / 25)
        return np.clip(np.array(base) + 60 * noise / noise.std() * 0.4 + 30 * np.sin(6 * xs)[..., None], 0, 255)

    foreground, background = textured((190, 90, 50)), textured((40, 170, 60))
    distance = 0.32 - np.hypot(xs - 0.5, ys - 0.5) + 0.02 * np.sin(40 * np.arctan2(ys - 0.5, xs - 0.5))
    alpha = np.clip(distance / softness + 0.5, 0, 1)
    photo = alpha[..., None] * foreground + (1 - alpha[..., None]) * background
    return np.rint(photo).astype(np.uint8), np.rint(foreground).astype(np.uint8), np.rint(alpha * 255).astype(np.uint8)


@pytest.mark.parametrize("size", [200, 900])
@pytest.mark.parametrize("softness", [0.03, 0.12])
def test_the_old_background_leaves_the_soft_edge(size: int, softness: float) -> None:
    photo, truth, alpha = scene(size, softness)
    estimate = estimate_foreground(photo, alpha)
    edge = (alpha > 25) & (alpha < 230)
    weight = alpha[edge][:, None] / 255.0
    before = (np.abs(photo[edge].astype(float) - truth[edge]) * weight).mean()
    after = (np.abs(estimate[edge].astype(float) - truth[edge]) * weight).mean()
    assert after < 0.35 * before
    assert after < 6


def test_as_near_the_truth_as_pymatting() -> None:
    photo, truth, _ = scene(160, 0.12)
    reference = np.load(PYMATTING)
    assert np.abs(photo.astype(int) - reference["photo"]).max() <= 1  # the same scene, whatever sine rounds to
    edge = (reference["alpha"] > 25) & (reference["alpha"] < 230)
    theirs = reference["estimate"].astype(float)
    ours = estimate_foreground(reference["photo"], reference["alpha"])[edge].astype(float)
    weight = reference["alpha"][edge][:, None] / 255.0
    assert (np.abs(ours - theirs) * weight).mean() < 2
    assert (np.abs(ours - truth[edge]) * weight).mean() < (np.abs(theirs - truth[edge]) * weight).mean()


def test_opaque_pixels_are_untouched() -> None:
    photo, _, alpha = scene(150, 0.1)
    estimate = estimate_foreground(photo, alpha)
    assert np.array_equal(estimate[alpha == 255], photo[alpha == 255])


@pytest.mark.parametrize("level", [0, 255])
def test_without_a_soft_edge_there_is_nothing_to_do(level: int) -> None:
    photo, _, _ = scene(60, 0.1)
    assert estimate_foreground(photo, np.full((60, 60), level, np.uint8)) is photo


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (3, 2)])
def test_any_shape(shape: tuple[int, int]) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    assert estimate_foreground(photo, np.full(shape, 100, np.uint8)).shape == photo.shape
