from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from server.errors import BadOption
from server.training.loop import Run, groups_of, train
from server.training.pack import Pack, pack
from server.training.recipe import Recipe, Schedule, load_recipe
from tests.server.training.pictures import write_folder

RECIPE = replace(
    load_recipe("lite"), batch=2, sizes=((0, 64),), decay_size=None, pretrained=False, frozen_blocks=0,
    schedule=Schedule("constant", warmup=2, decay=2),
)  # fmt: skip


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    folder = tmp_path_factory.mktemp("data")
    return pack([write_folder(folder / "duts", "image", "mask", 6)], folder / "pack", side=80, report=lambda line: None)


def run(out: Path, steps: int) -> Run:
    return Run(out, steps=steps, device="cpu", threads=1, progress=False)


def weights(path: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["averaged"]
    return state


def test_a_resumed_run_ends_where_an_unbroken_one_does(pictures: Pack, tmp_path: Path) -> None:
    recipe = replace(RECIPE, schedule=Schedule("constant"))
    whole = weights(train(recipe, pictures, run(tmp_path / "whole", 4)))
    train(recipe, pictures, run(tmp_path / "parts", 2))
    parts = weights(train(recipe, pictures, run(tmp_path / "parts", 4), resume=True))
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, rtol=0, atol=0)


def test_a_longer_run_goes_on_from_before_the_decay(pictures: Pack, tmp_path: Path) -> None:
    train(RECIPE, pictures, run(tmp_path, 4))
    assert torch.load(tmp_path / "stable.pt", weights_only=True)["step"] == 2
    train(RECIPE, pictures, run(tmp_path, 5), resume=True)
    with (tmp_path / "log.csv").open() as file:
        assert list(csv.reader(file)) == []  # rows come every 20 steps
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 5


def test_it_learns(pictures: Pack, tmp_path: Path) -> None:
    recipe = replace(RECIPE, batch=4, schedule=Schedule("constant", warmup=5))
    train(recipe, pictures, run(tmp_path, 40))
    with (tmp_path / "log.csv").open() as file:
        first, last = csv.DictReader(file)
    assert float(last["iou"]) < 0.8 * float(first["iou"])
    assert [first["step"], last["step"]] == ["20", "40"]


def test_frozen_blocks_stay(pictures: Pack, tmp_path: Path) -> None:
    torch.manual_seed(RECIPE.seed)
    from server.networks.lite import lite

    before = lite().state_dict()
    after = torch.load(train(replace(RECIPE, frozen_blocks=3), pictures, run(tmp_path, 2)), weights_only=True)[
        "network"
    ]
    frozen = ("encoder._conv_stem", "encoder._bn0", *(f"encoder._blocks.{index}." for index in range(3)))
    for key in before:
        same = torch.equal(before[key], after[key])
        assert same == key.startswith(frozen), key


def test_starting_over_in_a_used_folder_is_refused(pictures: Pack, tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="nothing to resume"):
        train(RECIPE, pictures, run(tmp_path, 1), resume=True)
    train(RECIPE, pictures, run(tmp_path, 1))
    with pytest.raises(BadOption, match="--resume"):
        train(RECIPE, pictures, run(tmp_path, 1))


def test_teacher_maps_add_their_term(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "duts", "image", "mask", 2)
    (tmp_path / "taught" / "duts").mkdir(parents=True)
    (tmp_path / "taught" / "duts" / "p000.png").write_bytes((folder / "mask" / "p000.png").read_bytes())
    packed = pack([folder], tmp_path / "pack", side=80, teacher=tmp_path / "taught", report=lambda line: None)
    assert [packed[index].shape[2] for index in range(2)] == [5, 4]
    np.testing.assert_array_equal(packed[0][..., 4], packed[0][..., 3])
    train(replace(RECIPE, batch=4), packed, run(tmp_path / "out", 20))
    with (tmp_path / "out" / "log.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["distill"]) > 0


def test_groups_follow_the_mix_and_leave_out_the_excluded() -> None:
    recipe = Recipe(
        "r", "lite", "saliency", ((0, 64),), 1, 1, mix={"a/*": 3.0, "b/*": 1.0, "c/*": 4.0}, exclude=("a/x*",)
    )
    assert groups_of(["a/1", "a/x1", "b/1", "b/2", "other/1"], recipe) == [(0.75, [0]), (0.25, [2, 3])]
    with pytest.raises(BadOption, match="mix"):
        groups_of(["other/1"], recipe)


@pytest.mark.skipif(sys.platform == "win32", reason="signals as on Unix")
@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_command_goes_on_after_resume(tmp_path: Path, processes: int) -> None:
    write_folder(tmp_path / "duts", "image", "mask", 4)
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(
        'network = "lite"\nobjective = "saliency"\nsizes = [[0, 32]]\nsteps = 100000\nbatch = 4\npretrained = false\n'
    )
    command = [sys.executable, "-m", "server.training.command", str(recipe), "--data", str(tmp_path / "duts")]
    command += ["--out", str(tmp_path / "run"), "--device", "cpu", "--threads", "1", "--processes", str(processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    log = tmp_path / "run" / "log.csv"
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as going:
        deadline = time.monotonic() + 120
        while not (log.exists() and log.stat().st_size) and going.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        going.send_signal(signal.SIGTERM)
        output, _ = going.communicate(timeout=60)
    assert going.returncode == 0, output
    step = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["step"]
    assert 20 <= step < 100000
    again = subprocess.run(
        [*command, "--resume", "--steps", str(step + 1)], env=environment, capture_output=True, text=True, timeout=120
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert torch.load(tmp_path / "run" / "last.pt", weights_only=True)["step"] == step + 1
