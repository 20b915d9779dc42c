"""A model over a dataset: scores of every picture, figures of all."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from server.errors import BadInput, UnreadableImage
from server.evaluation.dataset import Dataset, Pair
from server.evaluation.scores import Figure, Scores, score, summarise
from server.evaluation.sheet import ContactSheet
from server.segmenter import Segmenter

Progress = Callable[[Iterable[Pair]], Iterable[Pair]]


@dataclass(frozen=True)
class Report:
    """What ``evaluate`` found; ``skipped`` are (file, reason)."""

    model: str
    dataset: str
    scores: list[Scores]
    figures: dict[str, Figure]
    skipped: list[tuple[str, str]]
    seconds_per_image: float

    def as_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "data": self.dataset,
            "images": len(self.scores),
            "metrics": {name: asdict(figure) for name, figure in self.figures.items()},
            "seconds_per_image": round(self.seconds_per_image, 4),
            "skipped": [{"file": name, "reason": reason} for name, reason in self.skipped],
        }

    def write_csv(self, path: Path) -> None:
        """One line a picture: its stem and every metric."""
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["image", *self.figures])
            writer.writerows(
                [item.stem, *(f"{item.values[name]:.6f}" for name in self.figures)] for item in self.scores
            )


def evaluate(
    segmenter: Segmenter,
    dataset: Dataset,
    *,
    limit: int | None = None,
    matte: bool = False,
    sheet: ContactSheet | None = None,
    progress: Progress = iter,
) -> Report:
    """Score ``segmenter`` on at most ``limit`` pictures. Files that cannot be used are skipped and reported.

    ``sheet`` collects the extremes by its metric. Raises ``BadInput`` when no picture could be scored.
    """
    scores: list[Scores] = []
    skipped = list(dataset.problems)
    seconds = 0.0
    for pair in progress(dataset.spread(limit)):
        try:
            image, truth = pair.load()
        except UnreadableImage as error:
            skipped.append((pair.image.name, error.message))
            continue
        begun = time.perf_counter()
        prediction = segmenter.predict(image)
        seconds += time.perf_counter() - begun
        scores.append(score(pair.stem, prediction, truth, matte=matte))
        if sheet is not None:
            sheet.add(pair.stem, scores[-1].values[sheet.metric], image, truth, prediction)
    if not scores:
        raise BadInput(f"Nothing in {dataset.name} could be scored; the first reason: {skipped[0][0]}: {skipped[0][1]}")
    return Report(segmenter.name, dataset.name, scores, summarise(scores), skipped, seconds / len(scores))
