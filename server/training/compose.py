"""Composites for training: objects without a photograph of their own, laid into backgrounds so that little gives them away.

    python -m server.training.compose --cutouts CUTOUTS.tar --backgrounds BACKGROUNDS.tar -o composites.tar --count 2000

In the manner of GFM's RSSN route (Li et al., "Bridging Composite and Real", IJCV 2022, section 4): what differs between the object
and its new background in resolution, sharpness, noise and light is levelled out. The result is a shard for ``--data``.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from server.command import run
from server.errors import BadOption
from server.foreground import estimate_foreground
from server.training.readers import PICTURES, Bad, Byte, Item, read

SIDE = 448
"""Long side of a composite in px."""
AREA = (0.03, 0.5)
"""Of the picture: the object's share, drawn evenly by its square root."""
TIGHTEN = 0.15
"""Alpha below it is the old backdrop's halo."""
HARMONY = 0.55
SHADOW, BLURRED, DISTRACTED, FLIPPED = 0.5, 0.45, 0.4, 0.5
SENSOR = (1.0, 6.0)

Array = NDArray[np.float32]
Layer = tuple[Array, Array]
"""Colours HxWx3 and alpha HxW, both in [0, 1]."""


def composite(cutouts: Sequence[Item], background: Byte, rng: np.random.Generator) -> tuple[Byte, Byte]:
    """A picture and its mask, uint8: the first cut-out is the object, others are distractors at the picture's edges."""
    canvas = _background(background, rng)
    height, width = canvas.shape[:2]
    mask = np.zeros((height, width), np.float32)
    if len(cutouts) > 1 and rng.random() < DISTRACTED:
        for other in cutouts[1:]:
            canvas, _ = _laid(canvas, _layer(other, rng), _place_at_edge(canvas, rng), rng.uniform(0.02, 0.08), rng)
    area = rng.uniform(*np.sqrt(AREA)) ** 2
    centre = (rng.uniform(0.3, 0.7) * width, rng.uniform(0.35, 0.7) * height)
    layer = _harmonised(_layer(cutouts[0], rng), canvas, rng.uniform(0, HARMONY))
    canvas, mask = _laid(canvas, layer, centre, area, rng, shadow=rng.random() < SHADOW)
    return _through_a_phone(canvas, rng), np.rint(mask * 255).astype(np.uint8)


def _background(background: Byte, rng: np.random.Generator) -> Array:
    """Cropped, at ``SIDE``, now and then out of focus."""
    height, width = background.shape[:2]
    share = rng.uniform(0.6, 1.0)
    across, down = max(1, int(share * width)), max(1, int(share * height))
    left, top = int(rng.integers(0, width - across + 1)), int(rng.integers(0, height - down + 1))
    crop = background[top : top + down, left : left + across].astype(np.float32) / 255
    factor = SIDE / max(across, down)
    size = max(1, round(across * factor)), max(1, round(down * factor))
    canvas = cv2.resize(crop, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
    if rng.random() < FLIPPED:
        canvas = canvas[:, ::-1]
    if rng.random() < BLURRED:
        canvas = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(1.0, 6.0))
    return np.ascontiguousarray(np.clip(canvas, 0, 1))


def _layer(item: Item, rng: np.random.Generator) -> Layer:
    """The cut-out's own colours, the old backdrop estimated out of its rim, the halo cut, cropped to what is left."""
    alpha = np.clip((item.mask.astype(np.float32) / 255 - TIGHTEN) / (1 - TIGHTEN), 0, 1)
    colours = estimate_foreground(item.image, item.mask).astype(np.float32) / 255
    left, top, across, down = cv2.boundingRect((alpha > 0).astype(np.uint8))
    colours, alpha = colours[top : top + down, left : left + across], alpha[top : top + down, left : left + across]
    if rng.random() < FLIPPED:
        colours, alpha = colours[:, ::-1], alpha[:, ::-1]
    return np.ascontiguousarray(colours), np.ascontiguousarray(alpha)


def _place_at_edge(canvas: Array, rng: np.random.Generator) -> tuple[float, float]:
    height, width = canvas.shape[:2]
    return rng.choice([0.05, 0.95]) * width, rng.uniform(0.2, 0.9) * height


def _harmonised(layer: Layer, canvas: Array, strength: float) -> Layer:
    """Lab mean and deviation of the object drawn towards the background's (Reinhard et al., 2001)."""
    colours, alpha = layer
    solid = alpha > 0.5
    if not solid.any():
        return layer
    lab, around = cv2.cvtColor(colours, cv2.COLOR_RGB2LAB), cv2.cvtColor(canvas, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    mean, deviation = lab[solid].mean(0), lab[solid].std(0) + 1e-3
    ratio = np.clip(around.std(0) / deviation, 0.7, 1.4) ** strength
    shift = strength * np.array([0.5, 1.0, 1.0]) * (around.mean(0) - mean)
    moved = ((lab - mean) * ratio + mean + shift).astype(np.float32)
    return np.clip(cv2.cvtColor(moved, cv2.COLOR_LAB2RGB), 0, 1), alpha


def _laid(
    canvas: Array,
    layer: Layer,
    centre: tuple[float, float],
    area: float,
    rng: np.random.Generator,
    shadow: bool = False,
) -> tuple[Array, Array]:
    """The layer over the canvas with its centre there and that share of it; the new canvas and the layer's alpha on it."""
    colours, alpha = layer
    height, width = canvas.shape[:2]
    scale = np.sqrt(area * height * width / max(float(alpha.sum()), 1.0))
    scale = min(scale, 0.95 * width / alpha.shape[1], 0.95 * height / alpha.shape[0])
    angle = np.deg2rad(rng.uniform(-12, 12))
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    middle = np.array([alpha.shape[1], alpha.shape[0]]) / 2
    matrix = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0]])
    matrix[:, 2] = np.array(centre) - matrix[:, :2] @ middle
    if scale < 1:  # sampling alone would alias
        sigma = 0.5 * (1 / scale - 1)
        premultiplied = (
            cv2.GaussianBlur(colours * alpha[..., None], (0, 0), sigma) if sigma > 0.2 else colours * alpha[..., None]
        )
        alpha = cv2.GaussianBlur(alpha, (0, 0), sigma) if sigma > 0.2 else alpha
    else:
        premultiplied = colours * alpha[..., None]
    paint = cv2.warpAffine(premultiplied, matrix, (width, height))
    cover = cv2.warpAffine(alpha, matrix, (width, height))
    paint, cover = _as_sharp_as(paint, cover, canvas)
    if shadow:
        canvas = canvas * (1 - _contact_shadow(cover, rng))[..., None]
    return np.asarray(paint + (1 - cover[..., None]) * canvas, np.float32), cover


def _as_sharp_as(paint: Array, cover: Array, canvas: Array) -> Layer:
    """An object sharper than its sharp background would stand out by that; one before a blurred background may."""
    inside = cover > 0.9
    if np.count_nonzero(inside) < 64:
        return paint, cover
    ours = cv2.Laplacian(cv2.cvtColor(paint, cv2.COLOR_RGB2GRAY), cv2.CV_32F)[inside].std()
    theirs = cv2.Laplacian(cv2.cvtColor(canvas, cv2.COLOR_RGB2GRAY), cv2.CV_32F).std()
    if ours <= theirs or theirs < 0.02:
        return paint, cover
    sigma = min(1.2, 0.4 * float(ours / theirs))
    return cv2.GaussianBlur(paint, (0, 0), sigma), cv2.GaussianBlur(cover, (0, 0), 0.5 * sigma)


def _contact_shadow(cover: Array, rng: np.random.Generator) -> Array:
    """Dark where the object stands: its lower part pressed flat, pushed aside and blurred."""
    _left, top, across, down = cv2.boundingRect((cover > 0.5).astype(np.uint8))
    if not across:
        return np.zeros_like(cover)
    foot = top + down
    flat = rng.uniform(0.15, 0.4)
    matrix = np.array([[1.0, rng.uniform(-0.4, 0.4), 0.0], [0.0, flat, foot * (1 - flat)]])
    matrix[0, 2] = -matrix[0, 1] * foot
    pressed = cv2.warpAffine(cover, matrix, cover.shape[::-1])
    blurred = cv2.GaussianBlur(pressed, (0, 0), rng.uniform(0.02, 0.06) * max(across, 16))
    return np.asarray(rng.uniform(0.25, 0.6) * blurred, np.float32)


def _through_a_phone(canvas: Array, rng: np.random.Generator) -> Byte:
    """One camera for all of it: white balance, exposure, one sensor's noise, sharpening, JPEG."""
    picture = canvas * rng.uniform(0.93, 1.07, 3).astype(np.float32)
    picture = np.clip(picture, 0, 1) ** np.float32(rng.uniform(0.8, 1.25))
    noise = rng.normal(0, rng.uniform(*SENSOR) / 255, picture.shape).astype(np.float32)
    picture += noise * np.sqrt(0.3 + picture)
    picture += rng.uniform(0, 0.5) * (picture - cv2.GaussianBlur(picture, (0, 0), 1.0))
    sink = BytesIO()
    Image.fromarray(np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)).save(
        sink, "JPEG", quality=int(rng.integers(60, 96))
    )
    return np.asarray(Image.open(sink))


def backgrounds_of(source: Path) -> Iterator[tuple[str, Byte]]:
    """Pictures without masks, from a tar shard or a folder. Raises ``BadOption`` where it is neither."""
    if source.is_dir():
        for path in sorted(path for path in source.rglob("*") if path.suffix.lower() in PICTURES):
            yield path.stem, np.asarray(Image.open(path).convert("RGB"))
        return
    try:
        with tarfile.open(source) as shard:
            for member in shard:
                if member.isfile() and Path(member.name).suffix.lower() in PICTURES:
                    file = shard.extractfile(member)
                    assert file is not None  # a regular file always opens
                    yield Path(member.name).stem, np.asarray(Image.open(file).convert("RGB"))
    except (OSError, tarfile.TarError) as error:
        raise BadOption(f"{source} is neither a folder nor a readable tar of pictures ({error}).") from error


def write_shard(items: Iterator[tuple[str, Byte, Byte]], out: Path) -> int:
    """(name, picture, mask) -> a shard that ``--data`` takes; how many there were."""
    count = 0
    with tarfile.open(out, "w") as shard:
        for name, picture, mask in items:
            for suffix, pixels, kind in ((".webp", picture, "WEBP"), (".mask.png", mask, "PNG")):
                sink = BytesIO()
                Image.fromarray(pixels).save(sink, kind, **({"quality": 92} if kind == "WEBP" else {}))
                member = tarfile.TarInfo(name + suffix)
                member.size = sink.tell()
                sink.seek(0)
                shard.addfile(member, sink)
            count += 1
    return count


def is_empty(picture: Byte, model: str) -> bool:
    """Whether the model sees no object there: another object in a background would be labelled as none."""
    from server import NoObject, cut, load

    try:
        cut(picture, load(model))
    except NoObject:
        return True
    return False


@click.command()
@click.option(
    "--cutouts", "sources", multiple=True, required=True, type=click.Path(path_type=Path), help="RGBA cut-outs."
)
@click.option("--backgrounds", required=True, type=click.Path(path_type=Path), help="Pictures without masks.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The shard to write.")
@click.option("--count", default=1000, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", default=0, show_default=True)
@click.option("--empty-by", metavar="MODEL", help="Use only backgrounds in which this model sees no object.")
def main(sources: tuple[Path, ...], backgrounds: Path, out: Path, count: int, seed: int, empty_by: str | None) -> None:
    """Write a shard of composites."""
    cutouts = []
    for item in (item for source in sources for item in read(source)):
        if isinstance(item, Bad):
            click.echo(f"skipped {item.name}: {item.reason}", err=True)
        else:
            cutouts.append(item)
    grounds = [picture for _, picture in backgrounds_of(backgrounds) if not empty_by or is_empty(picture, empty_by)]
    if not cutouts or not grounds:
        raise BadOption("Composites need at least one cut-out and one background: check --cutouts and --backgrounds.")
    rng = np.random.default_rng(seed)

    def made() -> Iterator[tuple[str, Byte, Byte]]:
        for index in range(count):
            chosen = [cutouts[number] for number in rng.integers(0, len(cutouts), 1 + int(rng.integers(0, 3)))]
            picture, mask = composite(chosen, grounds[int(rng.integers(0, len(grounds)))], rng)
            yield f"composite_{index:06d}", picture, mask

    click.echo(f"{out}: {write_shard(made(), out)} composites of {len(cutouts)} cut-outs on {len(grounds)} backgrounds")


if __name__ == "__main__":
    run(main, "python -m server.training.compose")
