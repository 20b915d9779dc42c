"""Glass for pre-training: panes laid into ordinary photographs, with the optics that give real ones away.

    python -m server.training.glaze --photos BACKGROUNDS.tar -o glass-synthetic.tar --count 3000

In the spirit of S-GSD (GEM, 2024), which draws such pairs with a mask-conditioned diffusion generator; here they are computed: what
is behind passes tinted and a little blurred, the room is reflected by Fresnel's law, twice because a pane has two faces, and frames
and edges bound it. A shard for ``--data``; real pairs come after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from server.command import run
from server.errors import BadOption
from server.training.compose import Array, backgrounds_of, write_shard
from server.training.readers import Byte

SIDE = 400
INDEX = 1.5
"""Refractive index of window glass."""
FRAMED, GHOSTED = 0.6, 0.5


def glazed(photo: Byte, room: Byte, rng: np.random.Generator) -> tuple[Byte, Byte]:
    """A photograph seen partly through a pane that reflects ``room``, and the pane's mask, both uint8 at ``SIDE``."""
    behind, reflected = _resized(photo), _resized(room)
    reflected = cv2.resize(reflected[:, ::-1], behind.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    quad = _pane(behind.shape, rng)
    mask = _filled(quad, behind.shape)
    tilt = _incidence(behind.shape, rng)
    reflectance = np.clip(fresnel(tilt) * rng.uniform(1.5, 4.0), 0, 0.6)[..., None]
    tint = 1 - rng.uniform(0.02, 0.25) * rng.dirichlet(np.ones(3)).astype(np.float32)
    through = cv2.GaussianBlur(behind, (0, 0), rng.uniform(0.3, 1.2)) * tint * rng.uniform(0.8, 0.98)
    reflected = cv2.GaussianBlur(reflected, (0, 0), rng.uniform(1.0, 5.0))
    if rng.random() < GHOSTED:
        reflected = _ghosted(reflected, rng)
    pane = (1 - reflectance) * through + reflectance * reflected + _glint(behind.shape, rng)
    picture = mask[..., None] * pane + (1 - mask[..., None]) * behind
    if rng.random() < FRAMED:
        picture = _framed(picture, quad, rng)
    noisy = picture * 255 + rng.normal(0, rng.uniform(1, 4), picture.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8), np.rint(mask * 255).astype(np.uint8)


def fresnel(cosine: Array) -> Array:
    """The share of unpolarised light that a face of glass reflects, by the cosine of its angle of incidence (both faces of a pane
    together reflect about twice as much)."""
    sine2 = (1 - cosine**2) / INDEX**2
    inner = np.sqrt(1 - sine2)
    parallel = (INDEX * cosine - inner) / (INDEX * cosine + inner)
    perpendicular = (cosine - INDEX * inner) / (cosine + INDEX * inner)
    return np.asarray((parallel**2 + perpendicular**2) / 2, np.float32)


def _resized(photo: Byte) -> Array:
    factor = SIDE / max(photo.shape[:2])
    size = max(8, round(photo.shape[1] * factor)), max(8, round(photo.shape[0] * factor))
    small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
    return np.asarray(small * np.float32(1 / 255), np.float32)


def _pane(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Four corners (x, y): a rectangle of 8 to 80 % of the picture in perspective; it may leave the picture."""
    height, width = shape[:2]
    area, proportion = rng.uniform(0.08, 0.8), rng.uniform(0.4, 2.0)
    half = np.sqrt(area * height * width * np.array([proportion, 1 / proportion])) / 2
    centre = rng.uniform(0.3, 0.7, 2) * (width, height)
    corners = centre + half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    return corners + rng.normal(0, 0.08, (4, 2)) * half


def _filled(quad: NDArray[np.float64], shape: tuple[int, ...]) -> Array:
    mask = np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint(quad * 16).astype(np.int32)], 255, lineType=cv2.LINE_AA, shift=4)
    return mask * np.float32(1 / 255)


def _incidence(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """The cosine of the angle at which each pixel's ray meets a pane turned away from the camera."""
    height, width = shape[:2]
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    rays = np.dstack([(xs - width / 2) / width, (ys - height / 2) / width, np.ones((height, width), np.float32)])
    yaw, pitch = rng.uniform(-1.2, 1.2), rng.uniform(-0.5, 0.5)
    normal = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)], np.float32)
    cosine = np.abs(rays @ normal) / np.linalg.norm(rays, axis=2)
    return np.asarray(np.clip(cosine, 0.05, 1), np.float32)


def _ghosted(reflected: Array, rng: np.random.Generator) -> Array:
    """The second face's reflection beside the first's."""
    shift = np.array([[1, 0, rng.uniform(2, 8)], [0, 1, rng.uniform(-3, 3)]])
    second = cv2.warpAffine(reflected, shift, reflected.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
    return np.asarray(0.6 * reflected + 0.4 * second, np.float32)


def _glint(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """A soft streak of light, or none."""
    height, width = shape[:2]
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    angle, offset, thickness = rng.uniform(0, np.pi), rng.uniform(-0.3, 0.3) * width, rng.uniform(0.02, 0.08) * width
    distance = (xs - width / 2) * np.cos(angle) + (ys - height / 2) * np.sin(angle) - offset
    strength = max(0.0, rng.uniform(-0.15, 0.2))
    return np.asarray(strength * np.exp(-((distance / thickness) ** 2)), np.float32)[..., None]


def _framed(picture: Array, quad: NDArray[np.float64], rng: np.random.Generator) -> Array:
    colour = tuple(float(value) for value in rng.uniform(0.05, 0.95) + rng.uniform(-0.05, 0.05, 3))
    thickness = int(rng.integers(2, 12))
    drawn = np.ascontiguousarray(picture)
    outward = quad + 0.5 * thickness * np.sign(quad - quad.mean(axis=0))
    cv2.polylines(drawn, [np.rint(outward * 16).astype(np.int32)], True, colour, thickness, cv2.LINE_AA, 4)
    return drawn


@click.command()
@click.option("--photos", required=True, type=click.Path(path_type=Path), help="Pictures without masks.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The shard to write.")
@click.option("--count", default=1000, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", default=0, show_default=True)
def main(photos: Path, out: Path, count: int, seed: int) -> None:
    """Write a shard of synthetic glass."""
    pictures = [picture for _, picture in backgrounds_of(photos)]
    if len(pictures) < 2:
        raise BadOption(f"{photos} has fewer than two pictures: glass needs one behind it and one to reflect.")
    rng = np.random.default_rng(seed)

    def made() -> Iterator[tuple[str, Byte, Byte]]:
        for index in range(count):
            behind, room = rng.choice(len(pictures), 2, replace=False)
            picture, mask = glazed(pictures[behind], pictures[room], rng)
            yield f"glass_{index:06d}", picture, mask

    click.echo(f"{out}: {write_shard(made(), out)} panes in {len(pictures)} photographs")


if __name__ == "__main__":
    run(main, "python -m server.training.glaze")
