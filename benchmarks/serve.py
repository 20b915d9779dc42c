"""What the server costs: the path of one large photo, batching, the HTTP face; a network's runtimes; ten minutes of mixed load.

Ratios are of figures measured in the same run. ``python benchmarks/serve.py [PART...] [--json]``, parts: path, batching,
overhead (these by default), network (with ``--file`` for each file that ``python -m export basnet --format onnx --size 320
--random-weights`` wrote) and soak (``--soak-seconds``).
"""

from __future__ import annotations

import http.client
import io
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import click
import cv2
import numpy as np
from PIL import Image

import server
from server.heap import share_heap
from server.wsgi import serving
from tests.server.conftest import saved
from tests.server.engine.load import BOUNDARY, form, resident_bytes, run_load
from tests.server.engine.processes import server_process

SAMPLE = Path(__file__).resolve().parent.parent / "mobile_client_stub" / "samples" / "coffee.jpg"
PHOTOS = ("coffee.jpg", "chelsea.jpg")
STUB = "tests.server.engine.stub_server"
CONNECTIONS = 32
Figures = dict[str, float]


def cpu_seconds(function: Callable[[], Any], repeats: int = 5) -> float:
    """CPU time of the process, the least of ``repeats``: what else runs on the machine only adds."""
    function()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def photo_12mp(share: float) -> np.ndarray:
    """The sample photo at 4000 x 3000 px, moved away until it takes ``share`` of each side; its border goes on round it."""
    width, height = round(4000 * share), round(3000 * share)
    sample = cv2.cvtColor(cv2.imread(str(SAMPLE)), cv2.COLOR_BGR2RGB)
    photo = cv2.resize(sample, (width, height), interpolation=cv2.INTER_CUBIC)
    left, top = (4000 - width) // 2, (3000 - height) // 2
    return cv2.copyMakeBorder(
        photo, top, 3000 - height - top, left, 4000 - width - left, borderType=cv2.BORDER_REPLICATE
    )


def path() -> Figures:
    """A 12-megapixel JPEG -> an RGBA PNG cropped to the object, against Pillow and a full-size PNG with the same model.

    The ratio is of a large object, its box two thirds of the photo; ``..._quarter`` of one with a quarter.
    """
    share_heap()  # as the programs do
    return _path(photo_12mp(1), "") | _path(photo_12mp(0.62), "_quarter")


def _path(photo: np.ndarray, suffix: str) -> Figures:
    jpeg = saved(photo, "JPEG", quality=90)
    segmenter = server.load(server.DEFAULT_MODEL, device="cpu")
    stages = segmenter.stages()  # type: ignore[attr-defined]

    def model(image: np.ndarray) -> Any:
        return stages.infer([stages.prepare(image, None)])[0]

    def pillow() -> bytes:
        """What rembg does with its default options."""
        image = Image.open(io.BytesIO(jpeg)).convert("RGB")
        small = np.asarray(image.resize((512, 384), Image.Resampling.LANCZOS))
        mask = Image.fromarray(np.uint8(np.clip(model(small), 0, 1) * 255)).resize(image.size, Image.Resampling.LANCZOS)
        sink = io.BytesIO()
        Image.composite(image, Image.new("RGBA", image.size, 0), mask).save(sink, "PNG")
        return sink.getvalue()

    cutout = server.cut(server.decode(jpeg), segmenter)
    box = (
        (cutout.box.right - cutout.box.left) * (cutout.box.bottom - cutout.box.top) / (photo.shape[0] * photo.shape[1])
    )
    small = np.asarray(cv2.resize(photo, (512, 384), interpolation=cv2.INTER_AREA))
    print(f"  an object of {cutout.coverage:.0%} of the photo, in a box of {box:.0%}")
    seconds = {
        "pillow path": cpu_seconds(pillow, 2),
        "our path": cpu_seconds(lambda: server.encode_png(server.cut(server.decode(jpeg), segmenter).rgba)),
        "model, one look": cpu_seconds(lambda: model(small)),
        "decode": cpu_seconds(lambda: server.decode(jpeg)),
        "cut": cpu_seconds(lambda: server.cut(photo, segmenter)),
        "encode": cpu_seconds(lambda: server.encode_png(cutout.rgba)),
        "our path, mask": cpu_seconds(
            lambda: server.encode_png(server.cut(server.decode(jpeg), segmenter, colours=False).mask())
        ),
    }
    for name, value in seconds.items():
        print(f"  {name:16} {value * 1000:8.1f} ms CPU   {value / seconds['pillow path']:6.3f}")
    ratio = {name: round(value / seconds["pillow path"], 4) for name, value in seconds.items()}
    return {
        f"cpu_ratio_vs_pillow{suffix}": ratio["our path"],
        f"codec_ratio_vs_pillow{suffix}": round(ratio["decode"] + ratio["encode"], 4),
    }


def batching() -> Figures:
    """32 connections on a model of 20 ms and 4 ms for every further picture of a batch: batches of 16 against one at a time."""
    results = {}
    body = form({"output": "mask"}, saved(np.full((48, 64, 3), (230, 10, 20), np.uint8), "PNG"))
    for largest in (1, 16):
        with server_process(
            "--fixed-ms", "20", "--each-ms", "4", "--max-batch", str(largest), module=STUB
        ) as process:  # fmt: skip
            results[largest] = _closed_loop(process.url, body, seconds=12)
    rate = {largest: len(times) / 12 for largest, times in results.items()}
    p95 = {largest: float(np.quantile(times, 0.95)) for largest, times in results.items()}
    for largest in results:
        print(f"  batches up to {largest:2}: {rate[largest]:6.1f} pictures/s, p95 {p95[largest] * 1000:6.0f} ms")
    return {"batching_throughput": round(rate[16] / rate[1], 2), "batching_p95": round(p95[16] / p95[1], 3)}


def _closed_loop(url: str, body: bytes, seconds: float) -> list[float]:
    """Seconds of every request of 32 clients that send the next picture when they have the last one's answer."""
    host, port = url.removeprefix("http://").split(":")
    times: list[float] = []
    end = time.monotonic() + 2 + seconds

    def client() -> None:
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        while (now := time.monotonic()) < end:
            start = time.perf_counter()
            connection.request("POST", "/v1/cut", body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise SystemExit(f"the server answered {answer.status}")
            if now > end - seconds:
                times.append(time.perf_counter() - start)
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def overhead() -> Figures:
    """CPU of the server a request that does nothing: an empty WSGI application, and ours at its health address."""
    from server.app import Settings, create_app

    def empty(environ: dict[str, Any], start: Any) -> list[bytes]:
        start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return [b"ok"]

    figures = {}
    for name, app in (("http_ms", empty), ("app_ms", create_app(Settings(model="grabcut")))):
        with serving(app, "127.0.0.1", 0) as address:
            figures[name] = round(_server_cpu_ms(*address), 3)
        print(f"  {name.removesuffix('_ms'):5} {figures[name]:.3f} ms CPU a request")
    return figures


def _server_cpu_ms(host: str, port: int, requests: int = 2000) -> float:
    """A child process asks, so that this process's CPU time is the server's."""
    start = resource.getrusage(resource.RUSAGE_SELF)
    child = os.fork()
    if child == 0:
        connection = http.client.HTTPConnection(host, port)
        for _ in range(requests):
            connection.request("GET", "/v2/health/live")
            connection.getresponse().read()
        os._exit(0)
    os.waitpid(child, 0)
    end = resource.getrusage(resource.RUSAGE_SELF)
    return (end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime) / requests * 1000


def soak(seconds: float) -> Figures:
    """Mixed load, one request in a hundred hostile, against a clean run before it."""
    with server_process(module=STUB) as process:
        run_load(process.url, min(30.0, seconds), clients=4, hostile=0.05)
        clean = run_load(process.url, max(5.0, seconds / 5), clients=4, hostile=0)
        before = resident_bytes(process.process.pid)
        mixed = run_load(process.url, seconds, clients=4, hostile=0.01)
        growth = resident_bytes(process.process.pid) / before - 1
    failed = sum(
        count
        for (_, status), count in mixed.statuses.items()
        if isinstance(status, int) and status >= 500 and status != 503
    )
    attacks = sum(count for (kind, _), count in mixed.statuses.items() if kind != "good")
    ratio = mixed.percentile(0.95) / clean.percentile(0.95)
    print(
        f"  {len(mixed.seconds)} pictures and {attacks} attacks in {seconds:.0f} s: {len(mixed.wrong)} answers lost or mixed up,"
    )
    print(
        f"  {failed} failures, memory {growth:+.1%}, p95 {mixed.percentile(0.95) * 1000:.0f} ms, {ratio:.2f} of the clean run's"
    )
    return {
        "soak_pictures": len(mixed.seconds), "soak_attacks": attacks, "soak_wrong": len(mixed.wrong), "soak_failed": failed,
        "soak_memory_growth": round(growth, 4), "soak_p95_ratio": round(ratio, 2), "soak_seconds": seconds,
    }  # fmt: skip


def network(files: tuple[Path, ...]) -> Figures:
    """BASNet at 320 on the CPU, one thread, with the weights that the export makes up: torch as it comes, against exported files.

    CPU time, and how far the files' maps of photographs are from torch's.
    """
    import torch

    from export.networks import made_up
    from server.predictors.base import normalise
    from server.segmenters.runtime import open_onnx

    torch.set_num_threads(1)
    eager = made_up("basnet")
    photos = [cv2.cvtColor(cv2.imread(str(SAMPLE.with_name(name))), cv2.COLOR_BGR2RGB) for name in PHOTOS]
    small = [cv2.resize(photo, (320, 320), interpolation=cv2.INTER_AREA).astype(np.float32) for photo in photos]

    def in_torch(image: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return eager(torch.from_numpy(normalise(image / np.float32(255))[None]))[0].numpy()

    runs: dict[str, Callable[[np.ndarray], np.ndarray]] = {"torch_eager": in_torch}
    for file in files:
        run, _ = open_onnx(file, "cpu")
        runs[file.stem] = lambda image, run=run: run(np.ascontiguousarray(image.transpose(2, 0, 1)[None]))
    seconds, maps = {}, {}
    for name, run in runs.items():
        seconds[name] = cpu_seconds(lambda run=run: run(small[0]), 3)
        maps[name] = [run(image) for image in small]
    figures: Figures = {}
    for name, value in seconds.items():
        pairs = list(zip(maps[name], maps["torch_eager"], strict=True))
        apart = float(np.mean([np.abs(ours - theirs).mean() for ours, theirs in pairs]))
        agreement = float(np.mean([_iou(ours > 0.5, theirs > 0.5) for ours, theirs in pairs]))
        ratio = value / seconds["torch_eager"]
        print(f"  {name:18} {value * 1000:6.0f} ms CPU   {ratio:5.2f}   maps {apart:.4f} apart, IoU {agreement:.3f}")
        figures |= {f"basnet_{name}": round(ratio, 3), f"basnet_{name}_apart": round(apart, 4)}
    return figures


def _iou(ours: np.ndarray, theirs: np.ndarray) -> float:
    return np.count_nonzero(ours & theirs) / max(1, np.count_nonzero(ours | theirs))


PARTS: dict[str, Callable[[], Figures]] = {"path": path, "batching": batching, "overhead": overhead}


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice([*PARTS, "network", "soak"]))
@click.option(
    "--file",
    "files",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="An exported BASNet, for 'network'.",
)
@click.option("--soak-seconds", default=600.0, show_default=True, type=click.FloatRange(1))
@click.option("--json", "as_json", is_flag=True)
def main(parts: tuple[str, ...], files: tuple[Path, ...], soak_seconds: float, as_json: bool) -> None:
    """Measure the server on this machine."""
    cv2.setNumThreads(1)
    figures: dict[str, Any] = {"load": round(os.getloadavg()[0], 2)}
    for part in parts or tuple(PARTS):
        print(part)
        if part == "soak":
            figures |= soak(soak_seconds)
        elif part == "network":
            figures |= network(files)
        else:
            figures |= PARTS[part]()
    if as_json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
