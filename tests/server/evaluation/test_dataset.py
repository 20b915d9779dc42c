from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from server.errors import BadInput, UnreadableImage
from server.evaluation.dataset import open_dataset
from tests.server.evaluation.scenes import STEMS, encoded, files, scene, write, write_tar


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/{}.jpg", "masks/{}.png"),
        ("images/{}.jpg", "ground_truth_mask/{}.png"),
        ("DUTS-TE-Image/{}.jpg", "DUTS-TE-Mask/{}.png"),
        ("Imgs/{}.jpg", "GT/{}.png"),
        ("{}.jpg", "{}.mask.png"),
        ("{}.jpg", "{}.png"),
    ],
)
def test_reads_the_layouts_of_the_benchmarks(tmp_path: Path, image: str, mask: str) -> None:
    dataset = open_dataset(write(tmp_path / "set", files(image, mask)))
    assert [pair.stem for pair in dataset.pairs] == list(STEMS)
    assert (dataset.name, dataset.problems) == ("set", [])
    for index, pair in enumerate(dataset.pairs):
        photo, truth = pair.load()
        expected_photo, expected_truth = scene(index)
        assert np.abs(photo.astype(int) - expected_photo).mean() < 4
        np.testing.assert_array_equal(truth, expected_truth.astype(np.float32) / 255)


def test_reads_two_folders(tmp_path: Path) -> None:
    write(tmp_path, files("photos/{}.jpg", "truth/{}.png"))
    assert len(open_dataset(tmp_path / "photos", tmp_path / "truth").pairs) == 4


@pytest.mark.parametrize(("suffix", "kind"), [("webp", "WEBP"), ("avif", "AVIF"), ("png", "PNG")])
def test_reads_a_tar_shard(tmp_path: Path, suffix: str, kind: str) -> None:
    dataset = open_dataset(write_tar(tmp_path / "shard.tar", files(f"{{}}.{suffix}", "{}.mask.png", kind)))
    assert [pair.stem for pair in dataset.pairs] == list(STEMS)
    photo, truth = dataset.pairs[2].load()
    assert np.abs(photo.astype(int) - scene(2)[0]).mean() < 8
    np.testing.assert_array_equal(truth * 255, scene(2)[1])


def test_names_what_has_no_partner(tmp_path: Path) -> None:
    write(tmp_path, files("images/{}.jpg", "masks/{}.png"))
    (tmp_path / "masks/boat.png").rename(tmp_path / "masks/ship.png")
    dataset = open_dataset(tmp_path)
    assert [pair.stem for pair in dataset.pairs] == ["apple", "cup", "dog"]
    assert dataset.problems == [("boat.jpg", "no mask of this name"), ("ship.png", "no picture of this name")]


def test_masks_in_every_depth_come_out_in_0_to_1(tmp_path: Path) -> None:
    write(tmp_path, files("images/{}.jpg", "masks/{}.png"))
    truth = scene(0)[1]
    stored = {
        "apple": Image.fromarray(truth // 255),
        "boat": Image.fromarray(truth.astype(np.uint16) * 257),
        "cup": Image.fromarray(truth).convert("1"),
        "dog": Image.fromarray(truth).convert("RGB"),
    }
    for stem, image in stored.items():
        image.save(tmp_path / f"masks/{stem}.png")
    for pair in open_dataset(tmp_path).pairs:
        np.testing.assert_array_equal(pair.load()[1], truth / np.float32(255), err_msg=pair.stem)


def test_a_rotated_photo_meets_its_mask_upright(tmp_path: Path) -> None:
    photo, truth = scene(1)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: shown, it must turn a quarter to the right
    write(tmp_path, {"a.mask.png": encoded(truth, "PNG")})
    Image.fromarray(np.ascontiguousarray(np.rot90(photo))).save(tmp_path / "a.jpg", exif=exif, quality=95)
    image, mask = open_dataset(tmp_path).pairs[0].load()
    assert image.shape[:2] == mask.shape
    assert (image.mean(2) > 128)[mask > 0.5].mean() > 0.95


def test_a_damaged_file_and_a_mask_of_another_size_are_named(tmp_path: Path) -> None:
    names = files("images/{}.jpg", "masks/{}.png")
    names["images/apple.jpg"] = names["images/apple.jpg"][:200]
    names["masks/boat.png"] = encoded(scene(0)[1][:, :-1], "PNG")
    names["masks/cup.png"] = b"not a picture"
    apple, boat, cup, dog = open_dataset(write(tmp_path, names)).pairs
    with pytest.raises(UnreadableImage, match=r"apple\.jpg"):
        apple.load()
    with pytest.raises(UnreadableImage, match=r"boat\.png has 59 x 48 pixels, its picture 60 x 48"):
        boat.load()
    with pytest.raises(UnreadableImage, match=r"cup\.png"):
        cup.load()
    dog.load()


def test_a_limit_is_spread_evenly(tmp_path: Path) -> None:
    dataset = open_dataset(write(tmp_path, files("{}.jpg", "{}.png")))
    assert [pair.stem for pair in dataset.spread(2)] == ["apple", "cup"]
    assert [pair.stem for pair in dataset.spread(None)] == list(STEMS)
    assert [pair.stem for pair in dataset.spread(9)] == list(STEMS)


def test_what_is_no_dataset_says_how_to_make_one(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    packed = tmp_path / "shard.tar.gz"
    packed.write_bytes(gzip.compress(b"x" * 2000))
    for path, message in (
        (tmp_path / "nowhere", "There is no"),
        (empty, "no picture with a mask"),
        (packed, "uncompressed"),
    ):
        with pytest.raises(BadInput, match=message):
            open_dataset(path)
    with pytest.raises(BadInput, match="not a folder"):
        open_dataset(empty, tmp_path / "nowhere")
