"""How soon a paired phone can be used after its page was opened, on a mid-range phone's profile.

Chromium with the processor four times slower and a Wi-Fi of 30 ms and 10 Mbit/s (the profile that Lighthouse calls mobile has the
same processor; its slow 4G is there as ``--slow``), nothing cached: from the navigation to the shutter button, with the camera's
picture behind it. The main thread's time on that processor is measured apart: the time on the clock depends on what else runs here.
``python benchmarks/page.py [--rounds N] [--slow] [--json]``; needs Chromium and playwright.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from desktop_agent.runtime import Options
from tests.e2e.phone import state
from tests.e2e.story import SAMPLES, Story, played

SLOWER = 4
WIFI, SLOW_4G = (30, 10e6), (150, 1.6e6)
"""Milliseconds of latency, bits a second."""


def opened(story: Story, network: tuple[float, float]) -> dict[str, float]:
    """Open the page once with nothing cached: seconds, processor seconds of the main thread, bytes and requests."""
    page = story.page
    page.goto("about:blank")
    devtools = page.context.new_cdp_session(page)
    devtools.send("Network.enable")
    devtools.send("Network.setCacheDisabled", {"cacheDisabled": True})
    latency, bits = network
    rate = {"latency": latency, "downloadThroughput": bits / 8, "uploadThroughput": bits / 8, "offline": False}
    devtools.send("Network.emulateNetworkConditions", rate)
    devtools.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
    began = time.monotonic()
    page.goto(str(story.running.lan_url), wait_until="commit")
    state(page, "camera")
    page.wait_for_selector("#shutter")
    seconds = time.monotonic() - began
    metrics = {m["name"]: m["value"] for m in devtools.send("Performance.getMetrics")["metrics"]}
    entries = page.evaluate(
        "() => ['navigation', 'resource'].flatMap((kind) => performance.getEntriesByType(kind)).map((e) => e.encodedBodySize)"
    )
    devtools.send("Emulation.setCPUThrottlingRate", {"rate": 1})
    devtools.detach()
    return {
        "seconds": seconds,
        "main_thread_cpu_s": metrics["TaskDuration"],
        "bytes": float(sum(entries)),
        "requests": float(len(entries)),
    }


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 100))
@click.option("--slow", is_flag=True, help="Lighthouse's slow 4G instead of a Wi-Fi.")
@click.option("--json", "as_json", is_flag=True)
def main(rounds: int, slow: bool, as_json: bool) -> None:
    """From opening the page to the shutter button."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ARCP_HOME"] = folder
        with played(Path(folder), Options(screen=str(SAMPLES / "desktop.png"), port=0)) as story:
            story.pair()
            runs = [opened(story, SLOW_4G if slow else WIFI) for _ in range(rounds)]
    figures = {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}
    print(
        f"first interaction after {figures['seconds']:.2f} s (median of {rounds}; best {min(r['seconds'] for r in runs):.2f} s)"
    )
    print(f"main thread: {figures['main_thread_cpu_s']:.2f} s of the slowed processor")
    print(f"{figures['requests']:.0f} requests, {figures['bytes'] / 1024:.0f} KiB; load {os.getloadavg()[0]:.1f}")
    if as_json:
        print(json.dumps({"first_interaction_s": figures.pop("seconds"), **figures, "rounds": rounds}))


if __name__ == "__main__":
    main()
