"""Broken inputs: mutated seeds through the decoder and through every form parser, with Hypothesis.

``pytest -m slow tests/server/fuzz`` puts in 140,000 of them; the everyday run a few hundred and every seed.
"""

from __future__ import annotations

import io
import random
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, note, settings
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
DAILY, SLOW_IMAGES, SLOW_BODIES = 500, 80_000, 60_000
HANDFUL = 10


def mutated(seeds: list[bytes], number: int) -> bytes:
    """A seed with up to five wounds: bytes changed, cut out, doubled, replaced by tokens, or another seed's part.

    Drawn from one number: Hypothesis' own draws for every wound would take most of the time.
    """
    chance = random.Random(number)
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(0, 5)):
        at = chance.randint(0, len(data))
        wound = chance.randint(0, 5)
        if wound == 0 and at < len(data):
            data[at] = chance.randint(0, 255)
        elif wound == 1:
            del data[at : at + chance.randint(1, 64)]
        elif wound == 2:
            data[at:at] = data[at : at + chance.randint(1, 64)]
        elif wound == 3:
            word = chance.choice(WORDS)
            data[at : at + len(word)] = word
        elif wound == 4:
            other = chance.choice(seeds)
            data[at:] = other[chance.randint(0, len(other)) :]
        else:
            data[at:at] = chance.randbytes(chance.randint(0, 16))
    return bytes(data)


def fuzz(seeds: list[bytes], inputs: int, check: Callable[[bytes], None]) -> None:
    """``check`` on so many broken inputs, a handful for each of Hypothesis' examples."""

    @settings(
        max_examples=inputs // HANDFUL,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(number=st.integers(0, 2**64 - 1))
    def holds(number: int) -> None:
        for offset in range(HANDFUL):
            data = mutated(seeds, number * HANDFUL + offset)
            try:
                check(data)
            except BaseException:
                note(f"keep this as a seed: {data!r}")
                raise

    holds()


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
    fuzz(list(IMAGES.values()), DAILY, check_image)


def test_broken_bodies(client: FlaskClient) -> None:
    fuzz(list(BODIES.values()), DAILY, lambda data: check_body(client, data))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_broken_images_and_bodies_in_flat_memory(client: FlaskClient) -> None:
    fuzz(list(IMAGES.values()), 2_000, check_image)
    fuzz(list(BODIES.values()), 2_000, lambda data: check_body(client, data))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fuzz(list(IMAGES.values()), SLOW_IMAGES, check_image)
    fuzz(list(BODIES.values()), SLOW_BODIES, lambda data: check_body(client, data))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 200 << 10, f"the peak of memory grew by {grown / 1024:.0f} MiB"
