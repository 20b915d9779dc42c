"""``python -m desktop_agent locate``: results, units, exit codes, batch and explanation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from desktop_agent.locate.command import locate
from mobile_client_stub.camera import Conditions, Pose, Shot, SimulatedCamera

KEYS = {"status", "x", "y", "scale", "rotation", "confidence", "reason", "message", "stage", "elapsed_ms"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, desk: np.ndarray) -> tuple[Path, Path, Shot]:
    folder = tmp_path_factory.mktemp("pair")
    shot = SimulatedCamera(8).shoot(desk, (910.25, 402.75), conditions=Conditions(Pose(coverage=0.6, yaw=8)))
    view, screen = folder / "view.jpg", folder / "screen.png"
    view.write_bytes(shot.jpeg)
    Image.fromarray(desk).save(screen)
    return view, screen, shot


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(locate, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_pixel_centres_leave_as_integers(pair: tuple[Path, Path, Shot]) -> None:
    view, screen, shot = pair
    code, output = run(view, screen, "--json")
    answer = json.loads(output)
    assert code == 0
    assert set(answer) == KEYS
    assert answer["status"] == "located"
    assert answer["reason"] is None
    assert answer["x"] == pytest.approx(shot.point[0] - 0.5, abs=0.2)
    assert answer["y"] == pytest.approx(shot.point[1] - 0.5, abs=0.2)
    assert answer["scale"] == pytest.approx(shot.scale, rel=0.005)


def test_a_refusal_has_null_numbers_and_exit_code_3(pair: tuple[Path, Path, Shot], tmp_path: Path) -> None:
    view = tmp_path / "grey.png"
    Image.new("RGB", (400, 300), (120, 120, 120)).save(view)
    code, output = run(view, pair[1], "--json")
    answer = json.loads(output)
    assert code == 3
    assert set(answer) == KEYS
    assert answer["status"] == "refused"
    assert answer["reason"] == "too_few_features"
    assert all(answer[name] is None for name in ("x", "y", "scale", "rotation", "confidence"))
    assert answer["message"].endswith(".")


@pytest.mark.parametrize("content", [b"", b"no picture", b"\xff\xd8\xff\xe0 truncated"])
def test_what_is_no_picture_is_refused(content: bytes, pair: tuple[Path, Path, Shot], tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(content)
    missing = tmp_path / "missing.jpg"
    for arguments, named in (((broken, pair[1]), broken), ((pair[0], broken), broken), ((missing, pair[1]), missing)):
        code, output = run(*arguments, "--json", "--explain", tmp_path / "why.png")
        answer = json.loads(output)
        assert code == 3
        assert answer["reason"] == "unreadable_image"
        assert answer["message"].startswith(f"{named} ")
    assert not (tmp_path / "why.png").exists()


def test_a_sentence_for_people(pair: tuple[Path, Path, Shot], tmp_path: Path) -> None:
    assert run(pair[0], pair[1])[1].startswith("Pixel 90")
    code, output = run(tmp_path / "missing.jpg", pair[1])
    assert code == 3
    assert output.startswith("Refused (unreadable_image)")
    assert "No such file" in output


def test_a_batch_is_answered_in_order(pair: tuple[Path, Path, Shot], tmp_path: Path) -> None:
    view, screen, _ = pair
    good = json.dumps({"view": str(view), "screen": str(screen)})
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(
        f'{good}\n{{"view": "missing.jpg", "screen": "{screen}"}}\nnot json\n[1]\n\n{good}\n', encoding="utf-8"
    )
    code, output = run("--batch", pairs)
    answers = [json.loads(line) for line in output.splitlines()]
    assert code == 0
    assert [answer["status"] for answer in answers] == ["located", "refused", "refused", "refused", "located"]
    assert answers[0]["view"] == str(view)
    assert answers[0]["x"] == answers[4]["x"]


def test_the_explanation_shows_both_pictures(pair: tuple[Path, Path, Shot], tmp_path: Path) -> None:
    drawn = tmp_path / "why.png"
    assert run(pair[0], pair[1], "--explain", drawn)[0] == 0
    picture = np.asarray(Image.open(drawn))
    assert picture.shape[0] > 700
    assert picture.shape[1] > 1500
    assert picture.std() > 20


def test_wrong_use_is_explained(pair: tuple[Path, Path, Shot], tmp_path: Path) -> None:
    assert run()[0] == 2
    assert run(pair[0])[0] == 2
    assert run("--batch", tmp_path / "missing.jsonl")[0] == 1
