"""Saving a cut-out as a file where no document is open."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Placement, Point, Rect
from desktop_agent.paste.file import FileDriver
from desktop_agent.windows import Window
from tests.e2e.coffee import coffee

ANYWHERE = Placement(Point(10, 10), 0.4, 12)


def test_saves_every_pixel_and_never_over_another_file(tmp_path: Path) -> None:
    driver, cutout = FileDriver(tmp_path / "new" / "folder"), coffee(90)
    for _ in range(3):
        assert driver.paste(cutout, ANYWHERE, None).driver == "file"
    saved = sorted((tmp_path / "new" / "folder").iterdir())
    assert len(saved) == 3
    for path in saved:
        np.testing.assert_array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), cutout[..., [2, 1, 0, 3]])


def test_the_folder_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCP_FOLDER", str(tmp_path / "mine"))
    landing = FileDriver().paste(coffee(40), ANYWHERE, None)
    assert str(tmp_path / "mine") in landing.application
    assert len(list((tmp_path / "mine").iterdir())) == 1


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PasteFailed) as failed:
        FileDriver(tmp_path / "file" / "folder").paste(coffee(40), ANYWHERE, None)
    assert failed.value.code == "not_saved"
    assert "ARCP_FOLDER" in failed.value.message


@pytest.mark.parametrize(
    ("app_class", "handled"),
    [("org.gnome.Nautilus", True), ("Thunar", True), ("explorer.exe", True), ("Finder", True), ("Inkscape", False)],
)
def test_file_managers_and_the_bare_desktop(app_class: str, handled: bool) -> None:
    assert FileDriver().can_handle(Window(1, "", app_class, "", Rect(0, 0, 9, 9))) is handled
    assert FileDriver().can_handle(None)
