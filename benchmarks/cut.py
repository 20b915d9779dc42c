"""The default cut-out's time and quality: ``python benchmarks/cut.py [--data FOLDER ...] [--json]``.

Time: a 12-megapixel JPEG in, a cropped RGBA PNG out, beside the same model behind Pillow and NumPy alone (decode, resize, mask,
compose and write at full size, as most tools do it), and beside ISNet where it is installed. Quality: with ``--data`` (a folder or
tar of pictures with masks, several times), of the map, of the cut-out and of its options, of ISNet and of GrabCut.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from server import cut, decode, encode_png, load
from server.cutout import Cutout
from server.errors import ModelUnavailable, NoObject
from server.evaluation.dataset import open_dataset
from server.evaluation.scores import score, summarise
from server.heap import share_heap
from server.segmenter import RGB, Mask, Segmenter

PHOTO = Path(__file__).resolve().parents[1] / "mobile_client_stub" / "samples" / "coffee.jpg"
SIZE = (4000, 3000)
SHOWN = ("weighted_f", "mae", "s_measure", "mean_e", "iou", "mba", "mq")
VARIANTS: dict[str, dict[str, Any]] = {"cut": {}, "refine": {"refine": True}, "matting": {"matting": True}}


def photo_12mp() -> bytes:
    """The sample photo enlarged to 12 megapixels with a sensor's noise, as JPEG."""
    small = decode(PHOTO.read_bytes())
    large = cv2.resize(small, SIZE, interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(0).normal(0, 4, (SIZE[1], SIZE[0], 1)).astype(np.float32)
    noisy = np.clip(large + noise, 0, 255).astype(np.uint8)
    sink = io.BytesIO()
    Image.fromarray(noisy).save(sink, "JPEG", quality=92)
    return sink.getvalue()


def through_pillow(data: bytes, segmenter: Segmenter) -> bytes:
    """The same model in the plain manner: everything at full size, through Pillow and NumPy."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    small = np.asarray(image.resize((512, 512), Image.Resampling.LANCZOS))
    mask = Image.fromarray(np.rint(segmenter.predict(small) * 255).astype(np.uint8))
    alpha = mask.resize(image.size, Image.Resampling.LANCZOS)
    sink = io.BytesIO()
    Image.composite(image.convert("RGBA"), Image.new("RGBA", image.size), alpha).save(sink, "PNG")
    return sink.getvalue()


def ours(data: bytes, segmenter: Segmenter, **options: Any) -> bytes:
    return encode_png(cut(decode(data), segmenter, **options).rgba)


def timed(function: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """(wall, CPU) seconds of one call: medians after one call to warm up."""
    function()
    wall, cpu = [], []
    for _ in range(repeats):
        wall_start, cpu_start = time.perf_counter(), time.process_time()
        function()
        wall.append(time.perf_counter() - wall_start)
        cpu.append(time.process_time() - cpu_start)
    return statistics.median(wall), statistics.median(cpu)


def times(data: bytes, repeats: int) -> dict[str, float]:
    default = load("lite")
    wall, cpu = timed(lambda: ours(data, default), repeats)
    wall_refine, cpu_refine = timed(lambda: ours(data, default, refine=True), repeats)
    _wall, cpu_pillow = timed(lambda: through_pillow(data, default), max(1, repeats // 3))
    found = {
        "wall_s": wall,
        "cpu_s": cpu,
        "wall_refine_s": wall_refine,
        "cpu_refine_s": cpu_refine,
        "cpu_pillow_s": cpu_pillow,
        "cpu_ratio_vs_pillow": cpu / cpu_pillow,
    }
    isnet = peer()
    if isnet is not None:
        small = cv2.resize(decode(data), (1024, 768), interpolation=cv2.INTER_AREA)
        _wall, cpu_model = timed(lambda: default.predict(small), repeats)
        _wall, cpu_isnet = timed(lambda: isnet.predict(small), max(1, repeats // 3))
        found |= {"cpu_model_s": cpu_model, "cpu_isnet_s": cpu_isnet, "cpu_ratio_vs_isnet": cpu_model / cpu_isnet}
    return {name: round(value, 4) for name, value in found.items()}


def peer() -> Segmenter | None:
    try:
        return load("isnet")
    except ModelUnavailable:
        return None


def cut_map(image: RGB, segmenter: Segmenter, options: dict[str, Any]) -> Mask:
    try:
        cutout: Cutout = cut(image, segmenter, **options)
    except NoObject:
        return np.zeros(image.shape[:2], np.float32)
    return np.asarray(cutout.mask(), np.float32) / 255


def quality(data: Path, limit: int | None) -> dict[str, dict[str, float]]:
    """Figures by variant; every variant sees the same pictures."""
    segmenters = {"map": load("lite"), "grabcut": load("grabcut")}
    isnet = peer()
    if isnet is not None:
        segmenters["isnet"] = isnet
    scores: dict[str, list[Any]] = {}
    for pair in open_dataset(data).spread(limit):
        image, truth = pair.load()
        maps = {name: segmenter.predict(image) for name, segmenter in segmenters.items()}
        maps |= {name: cut_map(image, segmenters["map"], options) for name, options in VARIANTS.items()}
        for name, found in maps.items():
            scores.setdefault(name, []).append(score(pair.stem, found, truth))
    return {
        name: {metric: round(summarise(values)[metric].value, 4) for metric in SHOWN} for name, values in scores.items()
    }


@click.command()
@click.option("--data", "folders", multiple=True, type=click.Path(path_type=Path), help="Pictures with masks.")
@click.option("--limit", type=click.IntRange(min=1), help="Only so many pictures of each, evenly spread.")
@click.option("--repeats", default=9, show_default=True, type=click.IntRange(min=1))
@click.option("--json", "as_json", is_flag=True, help="One JSON object as the last line.")
def main(folders: tuple[Path, ...], limit: int | None, repeats: int, as_json: bool) -> None:
    """Print time and quality of the default."""
    share_heap()  # as the programs do
    found: dict[str, Any] = times(photo_12mp(), repeats)
    found["load"] = round(os.getloadavg()[0], 1)
    click.echo("12-megapixel JPEG to cropped RGBA PNG, medians (load average at the end)")
    for name, value in found.items():
        click.echo(f"  {name:<22}{value:8.3f}")
    found["quality"] = {folder.name: quality(folder, limit) for folder in folders}
    for name, table in found["quality"].items():
        click.echo(f"\n{name:<12}" + "".join(f"{metric:>12}" for metric in SHOWN))
        for variant, figures in table.items():
            click.echo(f"{variant:<12}" + "".join(f"{figures[metric]:12.4f}" for metric in SHOWN))
    if as_json:
        click.echo(json.dumps(found))


if __name__ == "__main__":
    main()
