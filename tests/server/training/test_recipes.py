from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from server.errors import BadOption
from server.networks.catalogue import NETWORKS
from server.training.loop import Run, train
from server.training.objectives import OBJECTIVES
from server.training.pack import Pack, pack
from server.training.recipe import Schedule, load_recipe, recipe_names
from tests.server.training.pictures import write_folder

FAST = ["basnet", "pgsnet", "mobile-meticulousnet-l", "mobile-meticulousnet-h", "lite0-meticulousnet-h", "gem-tiny"]
FAST += ["gfm-r34-tt", "gfm-d121-rim", "lite"]
SIDES = {"gem-tiny": 160, "gem-base": 384}


def test_every_network_has_a_recipe() -> None:
    for name in NETWORKS:
        recipe = load_recipe(name)
        assert recipe.network == name
        assert recipe.objective in OBJECTIVES
    assert "basnet-camouflage" in recipe_names()


def test_no_recipe_trains_on_the_test_sets() -> None:
    assert "scenes-saliency/pascals_*" in load_recipe("lite").exclude


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    folder = tmp_path_factory.mktemp("data")
    return pack([write_folder(folder / "duts", "image", "mask", 2)], folder / "pack", side=96, report=lambda line: None)


def one_epoch(name: str, pictures: Pack, out: Path) -> None:
    side = SIDES.get(name, 64)
    recipe = replace(load_recipe(name), batch=2, sizes=((0, side),), scales=(), decay_size=None, pretrained=False)
    last = train(recipe, pictures, Run(out, steps=1, device="cpu", threads=1, progress=False))
    state = torch.load(last, weights_only=True, mmap=True)
    assert state["step"] == 1
    assert state["recipe"]["network"] == name
    fresh = NETWORKS[name].build().state_dict()
    assert set(state["averaged"]) == set(fresh)
    assert all(torch.isfinite(value).all() for value in state["network"].values())


@pytest.mark.parametrize("name", FAST)
def test_one_tiny_epoch(name: str, pictures: Pack, tmp_path: Path) -> None:
    one_epoch(name, pictures, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(NETWORKS) - set(FAST)))
def test_one_tiny_epoch_of_the_large_ones(name: str, pictures: Pack, tmp_path: Path) -> None:
    one_epoch(name, pictures, tmp_path)


def test_wrong_recipes(tmp_path: Path) -> None:
    for text, says in (("size = [", "not valid"), ('network = "lite"\nspeed = 3', "unknown keys speed")):
        (tmp_path / "r.toml").write_text(text)
        with pytest.raises(BadOption, match=says):
            load_recipe(str(tmp_path / "r.toml"))
    with pytest.raises(BadOption, match="There is no recipe 'lit'"):
        load_recipe("lit")
    with pytest.raises(BadOption, match="several networks"):
        load_recipe("gfm")


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule("constant", warmup=10, decay=20), {0: 0.1, 4: 0.5, 9: 1.0, 79: 1.0, 80: 1.0, 90: 0.5, 99: 0.05}),
        (Schedule("cosine"), {0: 1.0, 50: 0.5, 100: 0.0}),
        (Schedule("poly"), {0: 1.0, 50: 0.5**0.9, 100: 0.0}),
        (Schedule("steps", drops=(0.5, 0.75)), {0: 1.0, 49: 1.0, 50: 0.1, 75: 0.01}),
    ],
    ids=lambda value: value.kind if isinstance(value, Schedule) else "",
)
def test_learning_rates(schedule: Schedule, expected: dict[int, float]) -> None:
    assert {step: schedule.factor(step, 100) for step in expected} == pytest.approx(expected)


def test_sizes_grow_and_end_large() -> None:
    recipe = replace(
        load_recipe("lite"), sizes=((0, 160), (40, 192)), decay_size=256, schedule=Schedule("constant", decay=10)
    )
    assert [recipe.size(step, 100) for step in (0, 39, 40, 89, 90, 99)] == [160, 160, 192, 192, 256, 256]
    drawn = {load_recipe("pgsnet").size(step, 100) for step in range(100)}
    assert drawn == {224, 256, 288, 320, 352}
