"""``python -m tests.server.engine.stub_server``: the real server around a model whose time on the device the caller decides.

Its mask is what is red in the picture, so that every answer tells whose it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import click
import numpy as np

from server.app import Settings, create_app
from server.engine import Engine, EngineOptions, service
from server.segmenter import RGB, Mask, Stages, Tap


class RedModel:
    """``fixed_s`` seconds a batch and ``each_s`` for every picture but its first."""

    name = "grabcut"

    def __init__(self, fixed_s: float, each_s: float) -> None:
        self.fixed_s, self.each_s = fixed_s, each_s

    def predict(self, image: RGB, tap: Tap | None = None) -> Mask:
        return self._infer([image])[0]

    def stages(self) -> Stages:
        return Stages(lambda image, tap: image, self._infer, lambda mask, image: mask)

    def _infer(self, images: Sequence[RGB]) -> list[Any]:
        time.sleep(self.fixed_s + self.each_s * (len(images) - 1))
        return [((image[..., 0] > 128) & (image[..., 1] < 100)).astype(np.float32) for image in images]


@click.command()
@click.option("--port", default=0)
@click.option("--fixed-ms", default=5.0)
@click.option("--each-ms", default=1.0)
@click.option("--max-batch", default=16)
@click.option("--queue", default=64)
def main(port: int, fixed_ms: float, each_ms: float, max_batch: int, queue: int) -> None:
    logging.getLogger("server.access").disabled = True
    options = EngineOptions(queue=queue, max_batch=max_batch, workers=1)
    engine = Engine("grabcut", options=options, open_model=lambda name: RedModel(fixed_ms / 1000, each_ms / 1000))
    settings = Settings(model="grabcut", cut=engine.cut, ready=engine.ready, metrics=engine.metrics.registry)
    service.serve(
        create_app(settings), engine, "127.0.0.1", port, lambda h, p: click.echo(f"Serving at http://{h}:{p}")
    )


if __name__ == "__main__":
    main()
