"""Finding out where an office listens, and what is done where nobody answers there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from desktop_agent.geometry import Placement, Point, Rect
from desktop_agent.paste.libreoffice import Sheet
from desktop_agent.paste.uno_office import address_of, connected
from desktop_agent.windows import Window
from tests.e2e.coffee import coffee

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc")


@contextmanager
def office(*arguments: str) -> Iterator[Window]:
    """A process with an office's arguments; it is no office."""
    waiting = [sys.executable, "-c", "print('ready', flush=True); input()", *arguments]
    with subprocess.Popen(waiting, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield Window(1, "drawing", "libreoffice-draw", "libreoffice", Rect(0, 0, 900, 700), process.pid)
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("arguments", "address"),
    [
        (["--norestore", "--accept=pipe,name=mine;urp", "file.odg"], "pipe,name=mine;urp"),
        (["-accept=socket,host=localhost,port=2002;urp;StarOffice.ServiceManager"], "socket,host=localhost,port=2002;urp"),
        (["--accept=socket,port=2083"], "socket,port=2083;urp"),
        (["--norestore", "accept=nothing.odg.accept"], None),
        (["--accept="], None),
    ],
)  # fmt: skip
def test_the_arguments_tell_where_it_listens(arguments: list[str], address: str | None) -> None:
    with office(*arguments) as window:
        assert address_of(window) == address


def test_a_process_that_is_gone_or_not_told_listens_nowhere() -> None:
    with office("--accept=pipe,name=mine;urp") as window:
        pass
    assert address_of(window) is None


def test_nobody_at_the_address_is_no_office() -> None:
    with (
        office("--accept=pipe,name=arcp-nobody;urp") as window,
        connected(window, "pipe,name=arcp-nobody;urp") as found,
    ):
        assert found is None


def test_a_place_is_the_unit_square_on_the_page() -> None:
    """A corner of the picture is seen where the placement has it, whatever the sheet's zoom and offset."""
    cutout, wanted = coffee(200), Placement(Point(640.3, 377.8), 0.7, 24.0)
    sheet = Sheet(Point(500, 300), Point(9_000, 4_000), 0.0378)
    place = np.array(sheet.place(cutout, wanted)).reshape(2, 3)
    height, width = cutout.shape[:2]
    matrix = wanted.matrix(width, height)
    for u, v in ((0, 0), (1, 0), (0.3, 1)):
        seen = sheet.on_screen(Point(*(place @ (u, v, 1))))
        assert (seen.x, seen.y) == pytest.approx(tuple(matrix @ (u * width, v * height, 1)), abs=1e-6)


def test_what_is_seen_elsewhere_corrects_the_sheet() -> None:
    guessed, true = Sheet(Point(0, 0), Point(0, 0), 0.02), Sheet(Point(33, 71), Point(-800, 420), 0.0416)
    wanted = Placement(Point(640.3, 377.8), 0.7)
    page = guessed.to_page(wanted.center)
    seen = Placement(true.on_screen(page), 0.7 * true.zoom / guessed.zoom)
    corrected = guessed.corrected(wanted, seen)
    for point in (Point(0, 0), Point(5_000, -300)):
        assert corrected.on_screen(point).distance(true.on_screen(point)) < 1e-6
