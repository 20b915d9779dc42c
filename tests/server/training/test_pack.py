from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from server.errors import BadOption
from server.training.command import train_command
from server.training.pack import Pack, pack
from tests.server.training.pictures import ellipse, png, write_folder, write_shard


def test_items_come_back_at_training_size(tmp_path: Path) -> None:
    picture, mask = ellipse(0, 200, 100)
    shard = write_shard(tmp_path / "s.tar", {"big.png": png(picture), "big.mask.png": png(mask)})
    folder = write_folder(tmp_path / "small", "image", "mask", 2)
    packed = pack([shard, folder], tmp_path / "pack", side=100, report=lambda line: None)
    assert packed.names == ["s/big", "small/p000", "small/p001"]
    assert [packed[index].shape for index in range(3)] == [(50, 100, 4), (64, 96, 4), (64, 96, 4)]
    np.testing.assert_array_equal(packed[2][..., 3], ellipse(1)[1])
    assert abs(float(packed[0][..., 3].mean()) - float(mask.mean())) < 1


def test_unusable_and_excluded_items_stay_out_and_are_named(tmp_path: Path) -> None:
    picture, mask = ellipse(0)
    members = {f"{name}.png": png(picture) for name in ("good", "test_1", "torn")}
    members |= {"good.mask.png": png(mask), "test_1.mask.png": png(mask), "torn.mask.png": png(mask)[:60]}
    members["cut.png"] = png(np.dstack([picture, mask]))
    lines: list[str] = []
    shard = write_shard(tmp_path / "s.tar", members)
    packed = pack([shard], tmp_path / "pack", side=100, exclude=["s/test_*"], report=lines.append)
    assert packed.names == ["s/good"]
    assert [line.split(" ", 2)[:2] for line in lines[:-1]] == [["skipped:", "s/cut"], ["skipped:", "s/torn"]]
    assert lines[-1] == "1 items packed, 2 skipped"


def test_a_pack_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    pack([write_folder(tmp_path / "set", "image", "mask", 2)], tmp_path / "pack", side=64, report=lambda line: None)
    with (tmp_path / "pack" / "pixels.u8").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(BadOption, match="delete it"):
        Pack(tmp_path / "pack")


def test_nothing_to_train_on(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "s.tar", {"a.png": png(ellipse(0)[0])})
    with pytest.raises(BadOption, match="Nothing in --data"):
        pack([shard], tmp_path / "pack", side=64, report=lambda line: None)


def test_the_command_trains_packs_once_and_reports_what_it_skipped(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "duts", "image", "mask", 3)
    (folder / "image" / "p001.jpg").write_bytes(b"no picture")
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(
        'network = "lite"\nobjective = "saliency"\nsizes = [[0, 32]]\nsteps = 2\nbatch = 2\npretrained = false\n'
    )
    arguments = [str(recipe), "--data", str(folder), "--out", str(tmp_path / "run"), "--device", "cpu"]
    first = CliRunner().invoke(train_command, arguments)
    assert first.exit_code == 0, first.output
    assert "skipped: duts/p001 cannot be read" in first.output
    assert (tmp_path / "run" / "last.pt").exists()
    again = CliRunner().invoke(train_command, [*arguments, "--resume", "--epochs", "3"])
    assert again.exit_code == 0, again.output
    assert "Packing" not in again.output
    refused = CliRunner().invoke(train_command, arguments)
    assert refused.exit_code == 1
    assert "--resume" in refused.output


def test_the_command_explains_a_wrong_recipe() -> None:
    result = CliRunner().invoke(train_command, ["no-such", "--data", "."])
    assert result.exit_code == 1
    assert "There is no recipe 'no-such'" in result.output
    assert "mobile-meticulousnet-l" in result.output
