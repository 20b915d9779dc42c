"""Draws ``docs/story.jpg`` from the pictures that ``make demo`` leaves: python docs/make_story.py [demo/out] [docs/story.jpg]"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

HEIGHT, GAP, CAPTION = 400, 14, 44
PAPER, INK = (250, 250, 248), (40, 44, 48)


def main(source: Path, target: Path) -> None:
    panels = [
        ("1  photograph the cup, tap it", Image.open(source / "photo.png").convert("RGB")),
        ("2  it is cut out", on_checks(Image.open(source / "cutout.png").convert("RGBA"))),
        ("3  point at the screen, tap", Image.open(source / "view.png").convert("RGB")),
        ("4  it is in the document", Image.open(source / "pasted.png").convert("RGB")),
    ]
    shown = [(text, fitted(picture)) for text, picture in panels]
    width = sum(picture.width for _, picture in shown) + GAP * (len(shown) + 1)
    sheet = Image.new("RGB", (width, HEIGHT + CAPTION + 2 * GAP), PAPER)
    draw, x = ImageDraw.Draw(sheet), GAP
    for text, picture in shown:
        sheet.paste(picture, (x, GAP))
        draw.text((x, HEIGHT + GAP + 12), text, INK, font=ImageFont.load_default(20))
        x += picture.width + GAP
    sheet.save(target, quality=88, optimize=True)


def fitted(picture: Image.Image) -> Image.Image:
    return picture.resize((round(picture.width * HEIGHT / picture.height), HEIGHT), Image.Resampling.LANCZOS)


def on_checks(cutout: Image.Image, side: int = 16) -> Image.Image:
    """The usual checkerboard shows what is transparent."""
    board = Image.new("RGB", cutout.size, (255, 255, 255))
    draw = ImageDraw.Draw(board)
    for y in range(0, cutout.height, side):
        for x in range((y // side % 2) * side, cutout.width, 2 * side):
            draw.rectangle((x, y, x + side - 1, y + side - 1), (224, 224, 224))
    board.paste(cutout, mask=cutout.getchannel("A"))
    return board


if __name__ == "__main__":
    arguments = [Path(argument) for argument in sys.argv[1:]]
    main(*(arguments + [Path("demo/out"), Path("docs/story.jpg")][len(arguments) :]))
