"""Broken inputs: mutated seeds through the decoder and through every form parser, with Hypothesis.

``pytest -m slow tests/server/fuzz`` puts in 120,000 of them; the everyday run a few hundred and every seed.
"""

from __future__ import annotations

import io
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from server.app import Settings, create_app
from server.cutout import Cutout
from server.errors import ImageTooLarge, UnreadableImage
from server.images import Limits, decode, decode_rgba
from server.results import ResultStore
from tests.server.dialects.conftest import RGB, cut_red

# werkzeug leaves the file of a multipart part that breaks off to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
FOLDER = Path(__file__).parent
IMAGES = {path.name: path.read_bytes() for path in sorted((FOLDER / "images").iterdir())}
BODIES = {path.name: path.read_bytes() for path in sorted((FOLDER / "bodies").iterdir())}
LIMITS = Limits(max_bytes=100_000, max_pixels=200_000, max_side=2_000)
WORDS = [
    *(
        b"",
        b"\x00",
        b"\xff",
        b"\xff\xd8",
        b"\xff\xd9",
        b"\x7f\xff\xff\xff",
        b"\xff\xff\xff\xff",
        b"IHDR",
        b"IDAT",
        b"VP8X",
    ),
    *(
        b"\r\n",
        b"--x9",
        b"--x9--",
        b'name="',
        b"filename=",
        b"%",
        b"%00",
        b"=",
        b"&",
        b";",
        b"\xc3\x28",
        b"\xef\xbb\xbf",
    ),
    *(b"nan", b"-1", b"1e999", b"null", b"{", b'"', b"9" * 400, b"../", b"0%", b"data:,"),
]
DAILY, SLOW_IMAGES, SLOW_BODIES = 150, 70_000, 50_000


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A seed with up to five wounds: bytes changed, cut out, doubled, replaced by tokens, or another seed's part."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, max(0, len(data))))
        wound = draw(st.integers(0, 5))
        if wound == 0 and at < len(data):
            data[at] = draw(st.integers(0, 255))
        elif wound == 1:
            del data[at : at + draw(st.integers(1, 64))]
        elif wound == 2:
            data[at:at] = data[at : at + draw(st.integers(1, 64))]
        elif wound == 3:
            word = draw(st.sampled_from(WORDS))
            data[at : at + len(word)] = word
        elif wound == 4:
            other = draw(st.sampled_from(seeds))
            start = draw(st.integers(0, len(other)))
            data[at:] = other[start:]
        else:
            data[at:at] = draw(st.binary(max_size=16))
    return bytes(data)


def fuzzed(seeds: list[bytes], examples: int) -> Callable[[Callable[[bytes], None]], Callable[[], None]]:
    limits = settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    return lambda check: limits(given(mutated(seeds))(check))  # type: ignore[arg-type,return-value]


def check_image(data: bytes) -> None:
    """Pixels of a sane shape, or an error of ours with a sentence; never anything else."""
    for read, channels in ((decode, 3), (decode_rgba, 4)):
        try:
            pixels = read(data, LIMITS)
        except (UnreadableImage, ImageTooLarge):
            continue
        assert pixels.dtype == np.uint8
        assert pixels.shape[2:] == (channels,)
        assert 0 < pixels.shape[0] * pixels.shape[1] <= LIMITS.max_pixels


def cut_any(image: RGB, model: str, **options: Any) -> Cutout:
    return cut_red(image, "red", **options)


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    return create_app(Settings(cut=cut_any, fetch=None, limits=LIMITS), ResultStore("memory://fuzz")).test_client()


def check_body(client: FlaskClient, data: bytes) -> None:
    """A true status: done, or the client's own mistake in JSON; a 5xx is a bug."""
    head, _, body = data.partition(b"\n")
    words = head.decode("latin-1").split(" ", 2)
    path = "/" + words[1].lstrip("/") if len(words) > 1 else "/"
    content_type = words[2] if len(words) > 2 else "application/octet-stream"
    response = client.open(
        path.split("#")[0],
        method="POST",
        input_stream=io.BytesIO(body),
        content_length=len(body),
        headers={"Content-Type": "".join(c for c in content_type if c.isprintable())},
    )
    assert response.status_code < 500, response.data[:300]
    if response.status_code >= 400:
        assert response.is_json
    response.close()


@pytest.mark.parametrize("name", IMAGES)
def test_image_seeds(name: str) -> None:
    check_image(IMAGES[name])


@pytest.mark.parametrize("name", BODIES)
def test_body_seeds(client: FlaskClient, name: str) -> None:
    check_body(client, BODIES[name])


def test_broken_images() -> None:
    fuzzed(list(IMAGES.values()), DAILY)(check_image)()


def test_broken_bodies(client: FlaskClient) -> None:
    fuzzed(list(BODIES.values()), DAILY)(lambda data: check_body(client, data))()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_broken_images_and_bodies_in_flat_memory(client: FlaskClient) -> None:
    fuzzed(list(IMAGES.values()), 2_000)(check_image)()
    fuzzed(list(BODIES.values()), 2_000)(lambda data: check_body(client, data))()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fuzzed(list(IMAGES.values()), SLOW_IMAGES)(check_image)()
    fuzzed(list(BODIES.values()), SLOW_BODIES)(lambda data: check_body(client, data))()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 200 << 10, f"the peak of memory grew by {grown / 1024:.0f} MiB"
