"""``python -m desktop_agent paste`` as it is called, on a virtual screen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from desktop_agent.errors import BadRequest
from desktop_agent.paste.command import paste


@pytest.fixture
def files(tmp_path: Path) -> Path:
    Image.fromarray(np.full((200, 300, 3), 255, np.uint8)).save(tmp_path / "screen.png")
    Image.fromarray(np.full((20, 30, 4), (200, 0, 0, 255), np.uint8)).save(tmp_path / "cup.png")
    return tmp_path


def run(files: Path, at: str) -> np.ndarray:
    out = files / "out.png"
    arguments = [str(files / "cup.png"), "--at", at, "--screen", str(files / "screen.png"), "-o", str(out)]
    CliRunner().invoke(paste, arguments, catch_exceptions=False)
    return np.asarray(Image.open(out))


def test_the_middle_of_the_raster_lands_at_the_pixel(files: Path) -> None:
    red = np.argwhere(run(files, "99.5,49.5")[..., 1] < 128)
    assert (red.min(axis=0).tolist(), red.max(axis=0).tolist()) == ([40, 85], [59, 114])


def test_a_point_on_no_monitor_is_refused(files: Path) -> None:
    with pytest.raises(BadRequest, match=r"on no monitor \(300 x 200 at 0,0\)"):
        run(files, "301,50")
    assert not (files / "out.png").exists()
