"""What the display shows and the screenshot does not: a mouse pointer, another minute on the clock, a notification."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

RGB = NDArray[np.uint8]

ARROW = np.array([(0, 0), (0, 16), (4, 13), (7, 19), (9, 18), (7, 12), (12, 12)], np.float64)


def draw_cursor(display: RGB, rng: np.random.Generator) -> None:
    height, width = display.shape[:2]
    size = max(1.0, width / 1600) * float(rng.uniform(0.8, 1.8))
    corner = np.array([rng.uniform(0, width), rng.uniform(0, height)])
    outline = np.round(ARROW * size + corner).astype(np.int32)
    cv2.fillPoly(display, [outline], (0, 0, 0))
    cv2.polylines(display, [outline], True, (255, 255, 255), 1, cv2.LINE_AA)


def draw_clock(display: RGB, rng: np.random.Generator) -> None:
    height, width = display.shape[:2]
    scale = width / 2600
    text = f"{rng.integers(0, 24):02d}:{rng.integers(0, 60):02d}"
    box_w, box_h = round(110 * scale), round(34 * scale)
    left = width - box_w - round(rng.uniform(0, 0.05) * width)
    top = 0 if rng.random() < 0.5 else height - box_h
    background = tuple(int(v) for v in display[min(height - 1, top), max(0, left)])
    cv2.rectangle(display, (left, top), (left + box_w, top + box_h), background, -1)
    ink = (255, 255, 255) if sum(background) < 380 else (0, 0, 0)
    cv2.putText(
        display, text, (left + 4, top + round(25 * scale)), cv2.FONT_HERSHEY_SIMPLEX, scale, ink, 1, cv2.LINE_AA
    )


def draw_popup(display: RGB, rng: np.random.Generator) -> None:
    height, width = display.shape[:2]
    box_w, box_h = round(width * rng.uniform(0.12, 0.25)), round(height * rng.uniform(0.08, 0.2))
    left = round(rng.uniform(0, max(1, width - box_w)))
    top = round(rng.choice([0.03, rng.uniform(0, 1), 0.8]) * max(1, height - box_h))
    ground, ink = (int(v) for v in rng.permutation([int(rng.integers(0, 90)), int(rng.integers(170, 256))]))
    cv2.rectangle(display, (left, top), (left + box_w, top + box_h), (ground,) * 3, -1)
    cv2.rectangle(display, (left, top), (left + box_w, top + box_h), (ink,) * 3, 1)
    scale = width / 3200
    for line in range(3):
        words = "".join(chr(int(c)) for c in rng.integers(97, 123, int(rng.integers(6, 22))))
        baseline = top + round(box_h * (line + 1) / 4)
        cv2.putText(display, words, (left + 8, baseline), cv2.FONT_HERSHEY_SIMPLEX, scale, (ink,) * 3, 1, cv2.LINE_AA)
