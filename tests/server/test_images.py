from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from server.errors import ImageTooLarge, UnreadableImage
from server.images import EXIF_ORIENTATION, Limits, decode, decode_rgba, encode_jpeg, encode_png, sniff
from tests.server.conftest import png_bomb, saved

RGB = NDArray[np.uint8]


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_lossless_types_come_back_exactly(coffee: RGB, kind: str, options: dict[str, object]) -> None:
    assert np.array_equal(decode(saved(coffee, kind, **options)), coffee)


def test_jpeg_equals_pillows_decoder(coffee_jpeg: bytes) -> None:
    expected = np.asarray(Image.open(io.BytesIO(coffee_jpeg)))
    assert np.abs(decode(coffee_jpeg).astype(int) - expected).max() <= 4


def test_grey_palette_alpha_and_16_bit_become_rgb(coffee: RGB) -> None:
    grey = cv2.cvtColor(coffee, cv2.COLOR_RGB2GRAY)
    assert np.array_equal(decode(saved(grey, "PNG")), np.dstack([grey] * 3))
    assert decode(saved(grey, "JPEG")).shape == coffee.shape
    sink = io.BytesIO()
    Image.fromarray(coffee).quantize(64).save(sink, "PNG")
    assert decode(sink.getvalue()).shape == coffee.shape
    deep = grey.astype(np.uint16) * 257
    assert np.array_equal(decode(saved(deep, "PNG")), np.dstack([grey] * 3))


def test_transparency_is_laid_on_white() -> None:
    half = np.zeros((4, 4, 4), np.uint8)
    half[..., 3] = 128
    assert np.abs(decode(saved(half, "PNG")).astype(int) - 127).max() <= 1
    assert decode_rgba(saved(half, "PNG"))[0, 0].tolist() == [0, 0, 0, 128]
    assert decode_rgba(saved(half[..., :3], "PNG"))[0, 0].tolist() == [0, 0, 0, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_gives_the_upright_picture(orientation: int, kind: str) -> None:
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :24], upright[:16, 24:], upright[16:, :24] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright.transpose(1, 0, 2), 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    options = {"quality": 100} if kind != "PNG" else {}
    sink = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(stored)).save(sink, kind, exif=exif, **options)
    decoded = decode(sink.getvalue())
    assert decoded.shape == upright.shape
    for y, x in ((6, 6), (6, 40), (26, 6), (26, 40)):
        assert np.abs(decoded[y, x].astype(int) - upright[y, x]).max() < 40


def test_a_foreign_colour_profile_is_converted_to_srgb() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    red = np.full((8, 8, 3), (200, 30, 30), np.uint8)
    assert np.array_equal(decode(saved(red, "PNG", icc_profile=lab.tobytes())), red)
    swapped = saved(red, "PNG", icc_profile=b"not a profile")
    assert np.array_equal(decode(swapped), red)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"hello, this is text", "not a picture"),
        (b"GIF89a" + bytes(20), "not a picture"),
        (b"\xff\xd8\xff\xe0" + bytes(10), "damaged"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "damaged"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "damaged"),
    ],
)
def test_what_is_no_picture_says_so(data: bytes, words: str) -> None:
    with pytest.raises(UnreadableImage, match=words):
        decode(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.98])
def test_a_truncated_picture_is_refused(coffee: RGB, kind: str, share: float) -> None:
    data = saved(coffee, kind)
    with pytest.raises(UnreadableImage, match=r"truncated|damaged"):
        decode(data[: int(len(data) * share)])


def test_a_jpeg_with_stray_bytes_after_its_end_is_read(coffee_jpeg: bytes) -> None:
    assert decode(coffee_jpeg + b"\x00" * 100).shape == (400, 600, 3)


def test_too_many_pixels_are_refused_before_decoding() -> None:
    with pytest.raises(ImageTooLarge, match="far too many pixels"):
        decode(png_bomb(20_000, 10_000))
    with pytest.raises(ImageTooLarge, match="15000 x 10000 pixels"):
        decode(png_bomb(15_000, 10_000))


def test_limits_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, coffee_jpeg: bytes) -> None:
    monkeypatch.setenv("ARCP_MAX_PIXELS", "1000")
    with pytest.raises(ImageTooLarge, match="megapixels"):
        decode(coffee_jpeg)
    monkeypatch.setenv("ARCP_MAX_BYTES", "1000")
    with pytest.raises(ImageTooLarge, match="MiB"):
        decode(coffee_jpeg)
    assert decode(coffee_jpeg, Limits()).shape == (400, 600, 3)


def test_encoding_keeps_pixels_and_channel_order(coffee: RGB) -> None:
    rgba = np.dstack([coffee, coffee[..., 0]])
    for image in (coffee, rgba, coffee[..., 1]):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_png(image)))), image)
    jpeg = Image.open(io.BytesIO(encode_jpeg(coffee, 95)))
    assert np.abs(np.asarray(jpeg).astype(int) - coffee).mean() < 3


def test_sniff_knows_heic() -> None:
    assert sniff(b"\x00\x00\x00\x18ftypheic" + bytes(20)) == "heif"
