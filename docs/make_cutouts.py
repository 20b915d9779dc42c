"""Draws ``docs/models/lite-cutouts.jpg``: photographs that scikit-image and scikit-learn bring, and what the default makes of them.

python docs/make_cutouts.py [docs/models/lite-cutouts.jpg]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_sample_image

from server import NoObject, cut, load

HEIGHT, GAP, CAPTION = 230, 10, 30
PAPER, INK, MAGENTA = (250, 250, 248), (40, 44, 48), (255, 0, 255)


def photographs() -> list[tuple[str, np.ndarray]]:
    names = ["coffee", "chelsea", "rocket", "astronaut"]
    pictures = [(name, getattr(skimage.data, name)()) for name in names]
    motorcycle = Path(skimage.data.__file__).parent / "motorcycle_left.png"
    pictures.append(("motorcycle", np.asarray(Image.open(motorcycle).convert("RGB"))))
    pictures += [(name, load_sample_image(f"{name}.jpg")) for name in ("flower", "china")]
    return [(name, np.ascontiguousarray(picture)) for name, picture in pictures]


def on_magenta(photo: np.ndarray) -> Image.Image:
    """The cut-out in its place; all magenta where there is no object."""
    sheet = Image.new("RGB", photo.shape[1::-1], MAGENTA)
    try:
        cutout = Image.fromarray(cut(photo, load("lite")).full())
    except NoObject:
        return sheet
    sheet.paste(cutout, mask=cutout.getchannel("A"))
    return sheet


def main(target: Path) -> None:
    columns = [(name, [fitted(Image.fromarray(photo)), fitted(on_magenta(photo))]) for name, photo in photographs()]
    width = sum(pair[0].width for _, pair in columns) + GAP * (len(columns) + 1)
    sheet = Image.new("RGB", (width, 2 * HEIGHT + CAPTION + 3 * GAP), PAPER)
    draw, x = ImageDraw.Draw(sheet), GAP
    for name, pair in columns:
        for row, picture in enumerate(pair):
            sheet.paste(picture, (x, GAP + row * (HEIGHT + GAP)))
        draw.text((x, 2 * (HEIGHT + GAP) + GAP), name, INK, font=ImageFont.load_default(18))
        x += pair[0].width + GAP
    sheet.save(target, quality=86, optimize=True)


def fitted(picture: Image.Image) -> Image.Image:
    return picture.resize((round(picture.width * HEIGHT / picture.height), HEIGHT), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main(Path(*(sys.argv[1:2] or ["docs/models/lite-cutouts.jpg"])))
