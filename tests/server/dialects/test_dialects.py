"""What the pixels of each dialect's answers are, beyond their form."""

from __future__ import annotations

import base64
import io
import zipfile

import numpy as np
import pytest
from flask.testing import FlaskClient
from numpy.typing import NDArray
from PIL import Image

from server.app import Settings, create_app
from server.wsgi import serving
from tests.server.conftest import saved
from tests.server.dialects.conftest import BOX, SIZE, picture

LEFT, TOP, RIGHT, BOTTOM = BOX
RED = (220, 30, 40)


def removebg(client: FlaskClient, png: bytes, **form: str) -> NDArray[np.uint8]:
    response = client.post("/v1.0/removebg", data={"image_file": (io.BytesIO(png), "a.png"), "size": "auto", **form})
    assert response.status_code == 200, response.data
    return opened(response.data)


def opened(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_size_is_a_bound_on_the_megapixels(client: FlaskClient) -> None:
    large = saved(np.asarray(Image.fromarray(picture()).resize((1500, 1000))), "PNG")
    assert removebg(client, large, size="preview").shape[:2] == (408, 612)
    assert removebg(client, large, size="medium").shape[:2] == (1000, 1500)
    assert removebg(client, large, size="full").shape[:2] == (1000, 1500)


def test_scale_and_position_put_the_object_where_they_say(client: FlaskClient, object_png: bytes) -> None:
    half = removebg(client, object_png, scale="50%")
    ys, xs = np.nonzero(half[..., 3] > 128)
    assert (xs.max() + 1 - xs.min(), ys.max() + 1 - ys.min()) == (125, 100)  # 100 x 80 grown until 100 high
    assert abs(xs.min() - (SIZE[0] - 1 - xs.max())) <= 1
    corner = removebg(client, object_png, position="100% 0%")
    assert corner[0, SIZE[0] - 1].tolist() == [*RED, 255]
    assert corner[BOTTOM - TOP, SIZE[0] - 1, 3] == 0


def test_region_of_interest_hides_the_rest(client: FlaskClient, object_png: bytes) -> None:
    half = removebg(client, object_png, roi="0px 0px 110px 100%")
    assert half[100, 100].tolist() == [*RED, 255]
    assert not half[:, 110:, 3].any()


def test_margins_stop_at_half_the_object(client: FlaskClient, object_png: bytes) -> None:
    assert removebg(client, object_png, crop="true", crop_margin="400px").shape[:2] == (160, 200)
    four = removebg(client, object_png, crop="true", crop_margin="1px 2px 3px 4px")
    assert four.shape[:2] == (84, 106)
    assert four[1, 4, 3] == 255
    assert not four[0].any()


def test_backgrounds_show_through_where_nothing_is(client: FlaskClient, object_png: bytes) -> None:
    green = removebg(client, object_png, bg_color="00ff00", format="png")
    assert green[0, 0].tolist() == [0, 255, 0, 255]
    assert green[100, 100].tolist() == [*RED, 255]
    half = removebg(client, object_png, bg_color="00ff0080", format="png")
    assert half[0, 0].tolist() == [0, 255, 0, 128]
    blue = saved(np.full((30, 30, 3), (0, 0, 255), np.uint8), "PNG")
    response = client.post(
        "/v1.0/removebg",
        data={
            "image_file": (io.BytesIO(object_png), "a.png"),
            "bg_image_file": (io.BytesIO(blue), "b.png"),
            "format": "png",
        },
    )
    assert opened(response.data)[0, 0].tolist() == [0, 0, 255, 255]
    assert opened(response.data).shape[:2] == (SIZE[1], SIZE[0])


def test_the_zip_composes_to_the_png(client: FlaskClient, object_png: bytes) -> None:
    response = client.post("/v1.0/removebg", data={"image_file": (io.BytesIO(object_png), "a.png"), "format": "zip"})
    archive = zipfile.ZipFile(io.BytesIO(response.data))
    alpha, color = opened(archive.read("alpha.png")), opened(archive.read("color.jpg"))
    assert alpha.shape == color.shape[:2] == (SIZE[1], SIZE[0])
    assert alpha[TOP, LEFT] == 255
    assert alpha[TOP - 1, LEFT] == 0
    assert np.abs(color[100, 100].astype(int) - RED).max() < 12


@pytest.mark.parametrize(
    "form", [{"add_shadow": "true"}, {"shadow_type": "drop"}, {"scale": "5%"}, {"position": "left"}]
)
def test_what_is_not_done_is_refused_not_ignored(client: FlaskClient, object_png: bytes, form: dict[str, str]) -> None:
    response = client.post("/v1.0/removebg", data={"image_file": (io.BytesIO(object_png), "a.png"), **form})
    assert response.status_code == 400


def test_a_whole_photo_fits_into_a_base64_field(client: FlaskClient) -> None:
    noise = np.random.default_rng(0).integers(0, 60, (900, 900, 3), np.uint8)
    noise[300:600, 300:600] = RED
    photo = saved(noise, "PNG")
    assert len(photo) > 1 << 20
    text = base64.b64encode(photo).decode()
    assert client.post("/v1.0/removebg", data={"image_file_b64": text}).status_code == 200
    assert client.post("/remove", data={"image_base64": text, "output_format": "base64"}).status_code == 200


def test_objectcut_removes_the_background_or_the_object(client: FlaskClient, object_png: bytes) -> None:
    def removed(**form: str) -> NDArray[np.uint8]:
        data = {"image_base64": base64.urlsafe_b64encode(object_png).decode(), "output_format": "base64", **form}
        answer = client.post("/remove", data=data).get_json()
        return opened(base64.b64decode(answer["response"]["image_base64"]))

    kept = removed()
    assert kept[100, 100].tolist() == [*RED, 255]
    assert kept[0, 0].tolist() == [0, 0, 0, 0]
    hole = removed(to_remove="foreground")
    assert hole[100, 100].tolist() == [0, 0, 0, 0]
    assert hole[0, 0].tolist() == [40, 120, 60, 255]
    assert removed(color_removal="white")[0, 0].tolist() == [255, 255, 255, 255]


def test_a_stored_result_is_at_its_address_until_it_ends(client: FlaskClient, object_png: bytes) -> None:
    answer = client.post("/remove", data={"image_base64": base64.b64encode(object_png).decode()}).get_json()
    url = answer["response"]["image_url"]
    assert opened(client.get(url).data).shape == (SIZE[1], SIZE[0], 4)
    assert client.get(url[:-5] + ".png").status_code == 404
    assert client.get("/results/..%2f..%2fserver-keys.json").status_code == 404


@pytest.mark.parametrize("orientation", range(1, 9))
def test_basnet_masks_lie_as_the_file_stores_its_pixels(client: FlaskClient, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    sink = io.BytesIO()
    Image.fromarray(picture()).save(sink, "JPEG", quality=95, exif=exif)
    mask = opened(client.post("/", data={"data": (io.BytesIO(sink.getvalue()), "photo.jpg")}).data)
    assert mask.shape == (SIZE[1], SIZE[0])
    assert mask[90, 110] == 255
    assert mask[90, 200] == 0


def test_rembg_background_and_mask(client: FlaskClient, object_png: bytes) -> None:
    def post(**form: str) -> NDArray[np.uint8]:
        response = client.post("/api/remove", data={"file": (io.BytesIO(object_png), "a.png"), **form})
        return opened(response.data)

    assert post(bgc="1,2,3,255")[0, 0].tolist() == [1, 2, 3, 255]
    assert post(bgc="1,2,3,0")[0, 0, 3] == 0
    assert set(np.unique(post(om="true", ppm="true"))) == {0, 255}


def test_nothing_of_the_input_but_pixels_comes_out(client: FlaskClient) -> None:
    exif = Image.Exif()
    exif[0x010E] = "SECRET-DESCRIPTION"
    exif.get_ifd(0x8825)[1] = "N"
    sink = io.BytesIO()
    Image.fromarray(picture()).save(sink, "JPEG", exif=exif, comment=b"SECRET-COMMENT")
    photo = sink.getvalue()
    assert b"SECRET" in photo
    for form in ("png", "jpg", "webp", "zip"):
        data = client.post("/v1.0/removebg", data={"image_file": (io.BytesIO(photo), "a.jpg"), "format": form}).data
        assert b"SECRET" not in data
        assert b"Exif" not in data
    for path, name in (("/v1/cut", "image"), ("/api/remove", "file"), ("/", "data")):
        data = client.post(path, data={name: (io.BytesIO(photo), "SECRET.jpg")}).data
        assert data.startswith(b"\x89PNG")
        assert b"SECRET" not in data
        chunks = [kind for kind in (b"tEXt", b"iTXt", b"zTXt", b"eXIf", b"iCCP") if kind in data]
        assert not chunks


def test_a_client_from_the_package_index_works(
    settings: Settings, object_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """remove-bg-api asks for the balance first, then sends files, base64 and addresses."""
    import remove_bg_api

    with serving(create_app(settings), "127.0.0.1", 0) as (host, port):
        monkeypatch.setattr(remove_bg_api, "API_URL", f"http://{host}:{port}/v1.0")
        theirs = remove_bg_api.RemoveBg("any key")
        from_file = theirs.remove_bg_bytes(object_png)
        from_base64 = theirs.remove_bg_base64(base64.b64encode(object_png).decode(), size="full")
        with pytest.raises(remove_bg_api.Errors.ApiErrorCode400):
            theirs.remove_bg_bytes(b"no picture")
    assert opened(from_file).shape == opened(from_base64).shape == (SIZE[1], SIZE[0], 4)


def test_the_2020_desktop_server_gets_a_mask_for_its_composite(settings: Settings, object_png: bytes) -> None:
    """It posts the upload as 'data' under a foreign host name and composites the photo through the mask that comes back."""
    import requests

    with serving(create_app(settings), "127.0.0.1", 0) as (host, port):
        answer = requests.post(
            f"http://{host}:{port}",
            headers={"Host": "basnet-http.default.example.com"},
            files={"data": object_png},
            timeout=30,
        )
        answer.close()
    photo = Image.open(io.BytesIO(object_png))
    mask = Image.open(io.BytesIO(answer.content)).convert("L")
    composite = Image.composite(photo, Image.new("RGBA", photo.size, 0), mask)
    assert composite.getpixel((100, 100))[:3] == RED
    assert composite.getpixel((0, 0))[3] == 0
