"""The command line on many pictures: folders, arriving files, raw frames."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from server import folder
from server.errors import BadInput, BadOption
from server.folder import cut_folder, watch_folder
from server.job import Job, parse_size, write
from tests.server.conftest import saved
from tests.server.dialects.conftest import SIZE, RedObjects, picture

EMPTY = np.full((20, 30, 3), 90, np.uint8)


def job(**changes: Any) -> Job:
    options: dict[str, Any] = {
        "segmenter": RedObjects(), "options": {}, "crop": False, "only_mask": False, "bgcolor": None, "as_json": True,
        "to_stdout": False,
    }  # fmt: skip
    return Job(**(options | changes))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    source = tmp_path / "in"
    source.mkdir()
    (source / "cup.png").write_bytes(saved(picture(), "PNG"))
    (source / "cup.jpg").write_bytes(saved(picture(), "JPEG", quality=95))
    (source / "vase.JPG").write_bytes(saved(picture(), "JPEG"))
    (source / "empty.png").write_bytes(saved(EMPTY, "PNG"))
    (source / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (source / "notes.txt").write_text("no picture")
    (source / "below.png").mkdir()
    return source


@pytest.mark.parametrize(
    ("name", "options", "form", "mode"),
    [
        ("cup.webp", {}, "WEBP", "RGBA"), ("cup.jpg", {}, "JPEG", "RGB"), ("cup.JPEG", {"only_mask": True}, "JPEG", "L"),
        ("cup.webp", {"bgcolor": (0, 0, 255)}, "WEBP", "RGB"), ("cup", {}, "PNG", "RGBA"),
    ],
)  # fmt: skip
def test_the_files_name_says_its_form(
    name: str, options: dict[str, Any], form: str, mode: str, pictures: Path, tmp_path: Path
) -> None:
    assert job(**options).single(str(pictures / "cup.png"), str(tmp_path / name)) == 0
    with Image.open(tmp_path / name) as written:
        assert (written.format, written.mode, written.size) == (form, mode, SIZE)
        corner = written.getpixel((0, 0))
    expected = {"RGBA": (0, 0, 0, 0), "L": 0}.get(mode, (0, 0, 255) if "bgcolor" in options else (255, 255, 255))
    assert np.abs(np.subtract(corner, expected)).max() <= 2


def test_a_file_into_a_folder_keeps_its_name(pictures: Path, tmp_path: Path) -> None:
    assert job().single(str(pictures / "cup.jpg"), str(tmp_path)) == 0
    assert (tmp_path / "cup.png").is_file()
    with pytest.raises(BadOption, match="name the file"):
        job().single("-", str(tmp_path))
    with pytest.raises(BadOption, match="would replace"):
        job().single(str(pictures / "cup.png"), str(pictures))


def test_a_folder_skips_and_reports_failures_and_mixes_no_names(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cut_folder(job(), pictures, tmp_path / "out") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {Path(line["image"]).name: line["status"] for line in lines} == {
        "broken.jpg": "failed", "cup.jpg": "ok", "cup.png": "ok", "empty.png": "no_object", "vase.JPG": "ok",
    }  # fmt: skip
    assert sorted(os.listdir(tmp_path / "out")) == ["cup.jpg.png", "cup.png.png", "vase.png"]


def test_a_terminal_sees_a_bar_and_then_the_failures(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert cut_folder(job(as_json=False), pictures, tmp_path / "out") == 0
    shown = terminal.getvalue()
    assert "5/5" in shown
    after = shown[shown.rindex("5/5") :].splitlines()
    assert sum("broken.jpg: " in line for line in after) == 1
    assert sum("empty.png: No object" in line for line in after) == 1
    assert after[-1] == "3 of 5 pictures cut."


def test_a_folder_where_all_fails_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(BadInput, match="no pictures"):
        cut_folder(job(), tmp_path / "in", tmp_path / "out")
    (tmp_path / "in" / "a.png").write_bytes(saved(EMPTY, "PNG"))
    assert cut_folder(job(), tmp_path / "in", tmp_path / "out") == 1


def test_results_never_replace_the_pictures(pictures: Path) -> None:
    before = (pictures / "cup.png").read_bytes()
    with pytest.raises(BadOption, match="another folder"):
        cut_folder(job(), pictures, pictures / ".." / "in")
    with pytest.raises(BadOption, match="folder as output"):
        cut_folder(job(), pictures, pictures / "notes.txt")
    assert (pictures / "cup.png").read_bytes() == before


def test_watching_takes_what_is_there_what_comes_and_what_changes_but_nothing_half_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    photo = saved(picture(), "PNG")
    (source / "first.png").write_bytes(photo)
    steps = iter(
        [
            lambda: None,  # seen for the first time: may still grow
            lambda: (source / "second.png").write_bytes(photo[: len(photo) // 2]),
            lambda: (source / "second.png").write_bytes(photo),
            lambda: None,
            lambda: (source / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n"),
            lambda: None,
            lambda: os.utime(source / "first.png", ns=(1, 1)),  # saved again
            lambda: None,
        ]
    )

    def wait(seconds: float) -> None:
        step = next(steps, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    assert watch_folder(job(), source, out, wait) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(Path(line["image"]).stem, line["status"]) for line in lines] == [
        ("first", "ok"), ("second", "ok"), ("broken", "failed"), ("first", "ok"),
    ]  # fmt: skip
    assert sorted(os.listdir(out)) == ["first.png", "second.png"]


def server(*arguments: str, data: bytes) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "server", "cut", *arguments, "--model", "grabcut"]
    return subprocess.run(command, input=data, capture_output=True, timeout=120, check=False)


def test_raw_frames_in_raw_frames_out_none_lost(coffee: NDArray[np.uint8]) -> None:
    small = np.ascontiguousarray(coffee[::4, ::4])
    grey = np.full_like(small, 90)
    done = server(
        "-", "-o", "-", "--frames", "150x100", "--json", data=small.tobytes() + grey.tobytes() + small.tobytes()
    )
    assert done.returncode == 0, done.stderr
    frames = np.frombuffer(done.stdout, np.uint8).reshape(3, 100, 150, 4)
    assert frames[0, ..., 3].max() == 255
    assert not frames[1].any()
    assert np.array_equal(frames[0], frames[2])
    statuses = [json.loads(line)["status"] for line in done.stderr.splitlines()]
    assert statuses == ["ok", "no_object", "ok"]


def test_frames_become_numbered_files(tmp_path: Path) -> None:
    raw = tmp_path / "video.rgb"
    raw.write_bytes(picture().tobytes() * 2)
    assert job(bgcolor=(1, 2, 3)).frames(str(raw), str(tmp_path / "out" / "%03d.png"), SIZE) == 0
    assert sorted(os.listdir(tmp_path / "out")) == ["001.png", "002.png"]
    frame = np.asarray(Image.open(tmp_path / "out" / "002.png"))
    assert frame[0, 0].tolist() == [1, 2, 3]
    assert frame[100, 100].tolist() == [220, 30, 40]


def test_frames_say_what_is_wrong(tmp_path: Path) -> None:
    raw = tmp_path / "video.rgb"
    raw.write_bytes(picture().tobytes()[:-1])
    with pytest.raises(BadInput, match="cut short"):
        job().frames(str(raw), str(tmp_path / "%d.png"), SIZE)
    with pytest.raises(BadOption, match="pattern with a number"):
        job().frames(str(raw), str(tmp_path / "one.png"), SIZE)
    raw.write_bytes(b"")
    with pytest.raises(BadInput, match="no frame"):
        job().frames(str(raw), str(tmp_path / "%d.png"), SIZE)
    for text in ("1280", "0x5", "axb", "99999x99999", "-1x5"):
        with pytest.raises(BadOption):
            parse_size(text)
    assert parse_size("1280X720") == (1280, 720)


def test_a_vanished_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        folder.pictures(tmp_path / "nowhere")


def test_other_types_in_a_folder_are_named_and_left_alone(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "film.GIF").write_bytes(saved(picture(), "GIF"))
    (pictures / "scan.tiff").write_bytes(saved(picture(), "TIFF"))
    assert cut_folder(job(as_json=False), pictures, tmp_path / "out") == 0
    assert "2 of other types (.gif, .tiff) left alone" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_one_line_and_an_empty_one_makes_none(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be made a folder"):
        cut_folder(job(), pictures, pictures / "notes.txt" / "out")
    with pytest.raises(BadOption, match="folder as output"):
        cut_folder(job(), pictures, tmp_path / "out.png")
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(BadInput, match="cannot be written"):
        write(tmp_path / "taken.png", b"cup")
    assert not (tmp_path / "taken.png.part").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="no pictures"):
        cut_folder(job(), tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_picture_is_never_lost_nor_written_as_what_it_is_not(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cup = pictures / "cup.png"
    before = cup.read_bytes()
    with pytest.raises(BadOption, match="would replace"):
        job().single(str(cup), str(cup))
    with pytest.raises(BadOption, match=r"name a \.png"):
        job().single(str(cup), str(tmp_path / "cup.gif"))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with pytest.raises(BadOption, match="pipe it on"):
        job(to_stdout=True).single(str(cup), "-")
    assert cup.read_bytes() == before
    assert job().single(str(cup), f"{tmp_path / 'new'}/") == 0
    assert (tmp_path / "new" / "cup.png").is_file()
    capsys.readouterr()
    assert job().single(str(pictures / "broken.jpg"), str(tmp_path / "x.png")) == 1
    assert json.loads(capsys.readouterr().out)["status"] == "failed"
