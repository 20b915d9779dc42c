"""A drawn picture of a desktop, for machines without a display: wallpaper, a text window, a gallery and an open canvas."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from desktop_agent.geometry import Rect

RGB = NDArray[np.uint8]
SIZE = (1920, 1080)
CANVAS = Rect(940, 150, 900, 720)
WORDS = (  # noqa: SIM905
    "plane light harbour paper cup window garden river stone copy paste letter morning glass forest table "
    "camera quiet orange village summer pencil yellow bridge winter bottle music mountain island leaf"
).split()


def draw_desktop() -> RGB:
    """1080x1920x3 RGB, always the same; no two places look alike, so that a camera can tell where it points."""
    random = np.random.default_rng(2020)
    picture = _wallpaper(random)
    _text_window(picture, Rect(70, 80, 800, 560), random)
    _gallery_window(picture, Rect(150, 690, 720, 320), random)
    _canvas_window(picture, random)
    picture[1044:] = (28, 30, 38)
    for index in range(9):
        color = random.integers(60, 255, 3)
        picture[1052:1074, 20 + 52 * index : 52 + 52 * index] = color
    _write(picture, "14:32   21 Nov", (1740, 1068), 0.6, (230, 230, 235))
    return picture


def _wallpaper(random: np.random.Generator) -> RGB:
    import cv2

    width, height = SIZE
    coarse = random.uniform(0, 1, (7, 12, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC)
    shade = np.array([40, 70, 110], np.float32) + smooth * np.array([70, 60, 80], np.float32)
    picture = shade.clip(0, 255).astype(np.uint8)
    for _ in range(140):
        x, y = (int(v) for v in random.integers((0, 0), (width, height)))
        corners = np.array([x, y]) + random.integers(-70, 70, (3, 2))
        tint = tuple(int(v) for v in random.integers(40, 220, 3))
        cv2.fillPoly(picture, [corners.astype(np.int32)], tint, cv2.LINE_AA)
    return picture


def _frame(picture: RGB, rect: Rect, title: str, body: tuple[int, int, int]) -> None:
    picture[rect.top - 34 : rect.top, rect.left : rect.right] = (52, 56, 68)
    picture[rect.top : rect.bottom, rect.left : rect.right] = body
    _write(picture, title, (rect.left + 12, rect.top - 11), 0.6, (235, 235, 240))
    for index, color in enumerate(((214, 90, 80), (226, 180, 80), (110, 180, 100))):
        left = rect.right - 30 - 28 * index
        picture[rect.top - 24 : rect.top - 10, left : left + 14] = color


def _write(
    picture: RGB, text: str, at: tuple[int, int], size: float, color: tuple[int, int, int], thickness: int = 1
) -> None:
    import cv2

    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, color, thickness, cv2.LINE_AA)


def _text_window(picture: RGB, rect: Rect, random: np.random.Generator) -> None:
    _frame(picture, rect, "notes.txt - Editor", (250, 249, 245))
    for line in range(21):
        indent = int(random.integers(0, 3)) * 24
        words = random.choice(WORDS, int(random.integers(4, 9)))
        ink = tuple(int(v) for v in random.integers(0, 110, 3))
        position = (rect.left + 20 + indent, rect.top + 32 + 25 * line)
        _write(picture, " ".join(words), position, float(random.uniform(0.45, 0.65)), (ink[0], ink[1], ink[2]))


def _gallery_window(picture: RGB, rect: Rect, random: np.random.Generator) -> None:
    import cv2

    _frame(picture, rect, "Pictures", (34, 36, 44))
    for index in range(8):
        left = rect.left + 16 + 176 * (index % 4)
        top = rect.top + 14 + 152 * (index // 4)
        coarse = random.integers(0, 255, (9, 11, 3)).astype(np.uint8)
        picture[top : top + 138, left : left + 160] = cv2.resize(coarse, (160, 138), interpolation=cv2.INTER_LINEAR)


def _canvas_window(picture: RGB, random: np.random.Generator) -> None:
    import cv2

    frame = Rect(CANVAS.left - 44, CANVAS.top - 40, CANVAS.width + 60, CANVAS.height + 76)
    _frame(picture, frame, "collage - Drawing", (205, 207, 212))
    for index in range(17):  # tool buttons, each with its own sign
        top = frame.top + 12 + 44 * index
        picture[top : top + 32, frame.left + 5 : frame.left + 37] = random.integers(120, 250, 3)
        _write(picture, chr(65 + int(random.integers(0, 26))), (frame.left + 13, top + 24), 0.8, (30, 30, 40), 2)
    for index, word in enumerate(random.choice(WORDS, 9)):
        _write(picture, str(word), (frame.left + 60 + 96 * index, frame.top + 26), 0.55, (40, 42, 50))
    picture[CANVAS.top : CANVAS.bottom, CANVAS.left : CANVAS.right] = (255, 255, 255)
    for _ in range(26):  # a drawing that is already there
        x, y = (int(v) for v in random.integers((20, 20), (CANVAS.width - 20, CANVAS.height - 20)))
        center = (CANVAS.left + x, CANVAS.top + y)
        radius = int(random.integers(6, 46))
        center = (
            min(max(center[0], CANVAS.left + radius), CANVAS.right - radius),
            min(max(center[1], CANVAS.top + radius), CANVAS.bottom - radius),
        )
        tint = tuple(int(v) for v in random.integers(90, 240, 3))
        cv2.circle(picture, center, radius, tint, int(random.choice([-1, 2, 4])), cv2.LINE_AA)
    for index in range(5):
        text = " ".join(random.choice(WORDS, 3))
        _write(picture, text, (CANVAS.left + 40 + 90 * index, CANVAS.top + 90 + 140 * index), 0.8, (60, 62, 80), 2)
    _write(picture, "900 x 720   100 %", (frame.left + 50, frame.bottom - 12), 0.5, (60, 60, 70))
