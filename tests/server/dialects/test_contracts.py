"""Requests as each service's public documentation shows them, and the answers that its clients expect."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image

from tests.server.dialects.conftest import ADDRESS

FOLDER = Path(__file__).parent / "pairs"
PAIRS = [
    pytest.param(pair, id=f"{path.stem}: {pair['name']}")
    for path in sorted(FOLDER.glob("*.json"))
    for pair in json.loads(path.read_text())["pairs"]
]


@pytest.mark.parametrize("pair", PAIRS)
def test_request_and_response(client: FlaskClient, object_png: bytes, pair: dict[str, Any]) -> None:
    request, expected = pair["request"], pair["response"]
    fill = {"$base64": base64.b64encode(object_png).decode(), "$url": ADDRESS}

    def filled(values: dict[str, Any]) -> dict[str, Any]:
        return {name: fill.get(value, value) for name, value in values.items()}

    options: dict[str, Any] = {"headers": request.get("headers"), "query_string": filled(request.get("query", {}))}
    if "json" in request:
        options["json"] = filled(request["json"])
    elif request["method"] == "POST":
        files = {name: (io.BytesIO(object_png), "photo.png") for name in request.get("files", {})}
        options["data"] = {**filled(request.get("form", {})), **files}
    response = client.open(request["path"], method=request["method"], **options)

    assert response.status_code == expected["status"], response.data[:300]
    assert response.mimetype == expected["type"]
    for name, value in expected.get("headers", {}).items():
        assert name in response.headers
        assert value in {"*", response.headers[name]}, (name, response.headers[name])
    for name in expected.get("no_headers", []):
        assert name not in response.headers
    if "image" in expected:
        picture = Image.open(io.BytesIO(response.data))
        assert {"mode": picture.mode, "size": list(picture.size)}.items() >= expected["image"].items()
    if "zip" in expected:
        assert zipfile.ZipFile(io.BytesIO(response.data)).namelist() == expected["zip"]
    if "text" in expected:
        assert response.text == expected["text"]
    if "json" in expected:
        compare(response.get_json(), expected["json"])


def compare(found: Any, expected: Any) -> None:
    """Everything that is expected is there; '*' stands for any text that is not empty."""
    if isinstance(expected, dict):
        assert isinstance(found, dict)
        for key, value in expected.items():
            compare(found[key], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            compare(one, other)
    elif expected == "*":
        assert isinstance(found, str)
        assert found
    else:
        assert found == expected
