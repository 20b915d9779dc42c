from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from server.errors import BadOption
from server.training.readers import Bad, Item, read
from tests.server.training.pictures import ellipse, png, write_folder, write_shard


@pytest.mark.parametrize(
    ("images", "masks", "suffix"),
    [
        ("DUTS-TR-Image", "DUTS-TR-Mask", ""),
        ("images", "ground_truth_mask", ""),
        ("train/original", "train/mask", ""),
        ("train/image", "train/mask", ""),
        ("train/easy/images", "train/easy/masks", "_mask"),
        ("Imgs", "GT", ""),
    ],
    ids=["DUTS", "ECSSD", "AM-2k", "GSD-S and GDD", "Trans10K", "COD10K"],
)
def test_benchmark_layouts(tmp_path: Path, images: str, masks: str, suffix: str) -> None:
    items = list(read(write_folder(tmp_path / "set", images, masks, 3, suffix)))
    assert [item.name.rpartition("/")[2] for item in items] == ["p000", "p001", "p002"]
    for seed, item in enumerate(items):
        assert isinstance(item, Item)
        assert item.name.startswith("set/")
        np.testing.assert_array_equal(item.mask, ellipse(seed)[1])
        assert not item.cutout


def test_two_parts_of_one_benchmark_are_told_apart(tmp_path: Path) -> None:
    for part in ("easy", "hard"):
        write_folder(tmp_path / "trans" / "train" / part, "images", "masks", 1, "_mask")
    names = [item.name for item in read(tmp_path / "trans")]
    assert len(set(names)) == 2


def test_shard_of_photographs_and_of_cutouts(tmp_path: Path) -> None:
    picture, mask = ellipse(1)
    shard = write_shard(
        tmp_path / "mixed.tar",
        {"a.png": png(picture), "a.mask.png": png(mask), "cut.png": png(np.dstack([picture, mask]))},
    )
    photograph, cutout = read(shard)
    assert isinstance(photograph, Item)
    assert isinstance(cutout, Item)
    assert (photograph.name, photograph.cutout, cutout.name, cutout.cutout) == ("mixed/a", False, "mixed/cut", True)
    np.testing.assert_array_equal(photograph.image, picture)
    np.testing.assert_array_equal(cutout.mask, mask)


def test_what_cannot_be_used_is_named_with_its_reason(tmp_path: Path) -> None:
    picture, mask = ellipse(1)
    shard = write_shard(
        tmp_path / "bad.tar",
        {
            "broken.png": png(picture)[:200],
            "broken.mask.png": png(mask),
            "empty.png": png(picture),
            "empty.mask.png": png(np.zeros_like(mask)),
            "good.png": png(picture),
            "good.mask.png": png(mask),
            "lonely.png": png(picture),
            "other.png": png(picture),
            "other.mask.png": png(mask[:-1]),
        },
    )
    found = {item.name: item.reason if isinstance(item, Bad) else "" for item in read(shard)}
    assert list(found) == ["bad/broken", "bad/empty", "bad/good", "bad/lonely", "bad/other"]
    assert found["bad/broken"].startswith("cannot be read")
    assert found["bad/empty"] == "has an empty mask"
    assert found["bad/good"] == ""
    assert found["bad/lonely"] == "has no mask beside it"
    assert found["bad/other"] == "is 96x64 but its mask is 96x63"
    kept = [item.name for item in read(shard, empty=True) if isinstance(item, Item)]
    assert kept == ["bad/empty", "bad/good"]


def test_masks_of_zero_and_one_are_spread(tmp_path: Path) -> None:
    write_folder(tmp_path / "set", "image", "mask", 1)
    Image.fromarray((ellipse(0)[1] > 0).astype(np.uint8)).save(tmp_path / "set" / "mask" / "p000.png")
    (item,) = read(tmp_path / "set")
    assert isinstance(item, Item)
    np.testing.assert_array_equal(item.mask, ellipse(0)[1])


def test_a_source_of_the_wrong_kind(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.zip").write_bytes(b"PK")
    (tmp_path / "torn.tar").write_bytes(b"nothing of a tar" * 100)
    for name, says in (("folder", "no folder pair"), ("file.zip", "neither"), ("torn.tar", "not a readable tar")):
        with pytest.raises(BadOption, match=says):
            list(read(tmp_path / name))
