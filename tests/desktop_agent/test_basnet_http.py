"""The agent with a basnet-http: one that answers as its README says, ours in the same dialect, a dead and a foreign one."""

from __future__ import annotations

import io
import socket

import numpy as np
import pytest
from flask import Flask, Response, jsonify, request
from PIL import Image

from desktop_agent.basnet_http import BasnetHttpSegmentation, open_server
from desktop_agent.errors import AgentError, SegmentationFailed
from desktop_agent.segmentation import RemoteSegmentation
from server.app import Settings, create_app
from server.wsgi import serving
from tests.server.conftest import saved
from tests.server.dialects.conftest import BOX, cut_red, picture


def basnet_http() -> Flask:
    """Its contract: 'data' in; the picture at most 1024 pixels large; a grey PNG of that size out."""
    app = Flask("basnet-http")

    @app.post("/")
    def run() -> Response | tuple[Response, int]:
        if "data" not in request.files:
            return jsonify({"error": "missing file param `data`"}), 400
        image = Image.open(request.files["data"].stream)
        image.thumbnail((1024, 1024))
        pixels = np.asarray(image.convert("RGB")).astype(int)
        mask = np.where(pixels[..., 0] - pixels[..., 1] > 80, 255, 0).astype(np.uint8)
        return Response(saved(mask, "PNG"), mimetype="image/png")

    return app


def test_a_large_photo_is_cut_by_its_mask() -> None:
    photo = saved(picture().repeat(5, 0).repeat(5, 1), "JPEG", quality=95)
    with serving(basnet_http(), "127.0.0.1", 0) as (host, port):
        segmentation = open_server(f"basnet+http://{host}:{port}/", None)
        result = segmentation.cut(photo, tap=(500.0, 450.0), model=None, mode="object")
        segmentation.close()
    assert (result.model, result.server) == ("basnet-http", f"http://{host}:{port}")
    assert result.photo_size == (1500, 1000)
    assert np.abs(np.subtract(result.box, [5 * edge for edge in BOX])).max() <= 6
    rgba = np.asarray(Image.open(io.BytesIO(result.png)))
    middle = rgba[rgba.shape[0] // 2, rgba.shape[1] // 2].astype(int)
    assert middle[3] == 255
    assert np.abs(middle[:3] - (220, 30, 40)).max() < 12


def test_our_own_server_in_the_same_dialect() -> None:
    empty = saved(np.full((60, 80, 3), 90, np.uint8), "PNG")
    with serving(create_app(Settings(model="red", cut=cut_red, fetch=None)), "127.0.0.1", 0) as (host, port):
        segmentation = BasnetHttpSegmentation(f"http://{host}:{port}")
        box = segmentation.cut(saved(picture(), "PNG"), tap=None, model=None, mode="object").box
        assert np.abs(np.subtract(box, BOX)).max() <= 2
        with pytest.raises(AgentError) as nothing:
            segmentation.cut(empty, tap=None, model=None, mode="object")
        segmentation.close()
    assert nothing.value.code == "no_object"


def test_one_that_is_not_there_or_is_something_else() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        dead = BasnetHttpSegmentation(f"http://127.0.0.1:{probe.getsockname()[1]}")
        with pytest.raises(SegmentationFailed) as unreachable:
            dead.cut(saved(picture(), "PNG"), tap=None, model=None, mode="object")
        dead.close()
    assert unreachable.value.code == "server_unreachable"
    with serving(Flask("foreign"), "127.0.0.1", 0) as (host, port):
        foreign = BasnetHttpSegmentation(f"http://{host}:{port}")
        with pytest.raises(SegmentationFailed) as refused:
            foreign.cut(saved(picture(), "PNG"), tap=None, model=None, mode="object")
        foreign.close()
    assert refused.value.code == "server_foreign"


def test_other_addresses_are_our_own_servers() -> None:
    ours = open_server("https://gpu.example:8000", "key")
    assert isinstance(ours, RemoteSegmentation)
    ours.close()
