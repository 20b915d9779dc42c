"""A server that cuts by colour: its answers are known to the pixel, and no model has to be loaded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from numpy.typing import NDArray

from server.app import Settings, create_app
from server.cutout import Cutout, cut
from server.errors import FetchFailed, UnknownModel
from server.segmenter import Mask, Tap
from tests.server.conftest import saved

RGB = NDArray[np.uint8]
SIZE = (300, 200)
BOX = (60, 50, 160, 130)
"""left, top, right, bottom of the red object."""
ADDRESS = "https://pictures.example/object.png"


class RedObjects:
    """Whatever is much more red than green is an object."""

    name = "red"

    def predict(self, image: RGB, tap: Tap | None = None) -> Mask:
        return np.asarray((image[..., 0].astype(int) - image[..., 1] > 80), np.float32)


def cut_red(image: RGB, model: str, **options: Any) -> Cutout:
    if model != "red":
        raise UnknownModel(f"There is no model '{model}': this test has only 'red'.")
    return cut(image, RedObjects(), **options)


def picture() -> RGB:
    image = np.full((SIZE[1], SIZE[0], 3), (40, 120, 60), np.uint8)
    left, top, right, bottom = BOX
    image[top:bottom, left:right] = (220, 30, 40)
    return image


@pytest.fixture(scope="session")
def object_png() -> bytes:
    return saved(picture(), "PNG")


@pytest.fixture
def settings(object_png: bytes) -> Settings:
    def fetch(url: str) -> bytes:
        if url != ADDRESS:
            raise FetchFailed("There is no such host in this test: give another address.")
        return object_png

    return Settings(model="red", cut=cut_red, fetch=fetch)


@pytest.fixture
def client(settings: Settings) -> FlaskClient:
    return create_app(settings).test_client()
