"""Composites and synthetic glass: what is laid in where, what gives it away, and the shards that training reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

from server.training import compose, glaze
from server.training.readers import Item, read

Byte = NDArray[np.uint8]


def vase(halo: bool = False) -> Item:
    """A red disc with a soft rim; with ``halo`` the rim is still mixed with a white backdrop."""
    ys, xs = np.mgrid[0:120, 0:120].astype(np.float32) - 59.5
    alpha = np.clip((45 - np.hypot(xs, ys)) / 8 + 0.5, 0, 1)
    red = np.array([200, 30, 30], np.float32)
    colours = alpha[..., None] * red + (1 - alpha[..., None]) * 255 if halo else np.broadcast_to(red, (120, 120, 3))
    return Item("set/vase", np.rint(colours).astype(np.uint8), np.rint(alpha * 255).astype(np.uint8), cutout=True)


def wall(seed: int = 0) -> Byte:
    noise = np.random.default_rng(seed).normal(0, 25, (240, 320, 3))
    return np.clip(cv2.GaussianBlur(noise, (0, 0), 2) * 4 + [90, 120, 150], 0, 255).astype(np.uint8)


@pytest.mark.parametrize("seed", range(4))
def test_the_mask_is_where_the_object_is(seed: int) -> None:
    picture, mask = compose.composite([vase()], wall(), np.random.default_rng(seed))
    assert picture.shape == (*mask.shape, 3)
    assert max(mask.shape) == compose.SIDE
    share = float((mask > 127).mean())
    assert compose.AREA[0] * 0.6 < share < compose.AREA[1] * 1.4
    redness = picture[..., 0].astype(float) - picture[..., 1:].mean(2)
    assert redness[mask > 250].mean() > redness[mask == 0].mean() + 30


def test_the_old_backdrop_does_not_come_along() -> None:
    """A white rim would teach that objects have one."""
    black = np.zeros((240, 320, 3), np.uint8)
    canvas = np.zeros((240, 320, 3), np.float32)
    rng = np.random.default_rng(0)
    laid, cover = compose._laid(canvas, compose._layer(vase(halo=True), rng), (160, 120), 0.2, rng)
    rim = (cover > 0.2) & (cover < 0.8)
    assert rim.any()
    assert laid[rim][:, 1].max() < 0.35  # white mixed in would be up to 0.8
    assert compose.composite([vase(halo=True)], black, rng)[1].max() == 255


def test_the_same_seed_gives_the_same_pictures() -> None:
    first, second = (compose.composite([vase(), vase()], wall(), np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])


def test_fresnel_reflects_four_percent_ahead_and_everything_at_grazing_angles() -> None:
    ahead, slanted, grazing = glaze.fresnel(np.array([1.0, 0.5, 0.01], np.float32))
    assert ahead == pytest.approx(0.04, abs=1e-4)
    assert slanted == pytest.approx(0.0892, abs=1e-3)  # 60 degrees
    assert grazing > 0.9


@pytest.mark.parametrize("seed", range(4))
def test_glass_changes_only_what_is_behind_it(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glaze, "FRAMED", 0.0)
    photo = wall()
    picture, mask = glaze.glazed(photo, wall(1), np.random.default_rng(seed))
    plain = cv2.resize(photo, mask.shape[::-1], interpolation=cv2.INTER_CUBIC)
    change = np.abs(picture.astype(float) - plain).mean(2)
    assert 0.04 < float((mask > 127).mean()) < 0.95
    assert change[mask == 0].mean() < 4  # the sensor's noise
    assert change[mask == 255].mean() > 1.5 * change[mask == 0].mean()


def test_shards_are_what_training_reads(tmp_path: Path) -> None:
    grounds = tmp_path / "grounds"
    grounds.mkdir()
    for number in range(2):
        Image.fromarray(wall(number)).save(grounds / f"{number}.png")
    item = vase()
    cutouts = tmp_path / "cutouts"
    for folder, pixels in (("image", item.image), ("mask", item.mask)):
        (cutouts / folder).mkdir(parents=True)
        Image.fromarray(pixels).save(cutouts / folder / "vase.png")
    for command, arguments in (
        (compose.main, ["--cutouts", str(cutouts), "--backgrounds", str(grounds)]),
        (glaze.main, ["--photos", str(grounds)]),
    ):
        out = tmp_path / "made.tar"
        done = CliRunner().invoke(command, [*arguments, "-o", str(out), "--count", "3"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        items = list(read(out))
        assert len(items) == 3
        assert all(isinstance(made, Item) and made.image.shape[:2] == made.mask.shape for made in items)


@pytest.mark.parametrize("module", ["compose", "glaze", "diffuse"])
def test_a_missing_source_is_one_line(module: str, tmp_path: Path) -> None:
    missing = str(tmp_path / "none")
    asked = {
        "compose": ["--cutouts", missing, "--backgrounds", missing],
        "glaze": ["--photos", missing],
        "diffuse": ["--masks", missing, "--pipeline", missing],
    }[module]
    command = [sys.executable, "-m", f"server.training.{module}", *asked, "-o", str(tmp_path / "made.tar")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {missing} is neither a")
    assert done.stderr.count("\n") == 1
