"""The JavaScript of a model card, as it stands there, in a real Chromium with onnxruntime-web.

The runtime comes through npm, which needs the network: slow, and not part of every run.
"""

from __future__ import annotations

import functools
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from export import pictures, running, targets
from export.exporting import Exporter, Options
from mobile_client_stub.web_assets import web_assets

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="not installed: apt-get install chromium"),
]
PAGE = """<!doctype html><title>cut</title>
<script type="importmap">{"imports": {"onnxruntime-web": "./RUNTIME"}}</script>
<script type="module">
SNIPPET
const photo = await createImageBitmap(await (await fetch("photo.jpg")).blob());
const map = await cut(photo);
const seen = new OffscreenCanvas(SIDE, SIDE).getContext("2d", { willReadFrequently: true });
seen.imageSmoothingQuality = "high";
seen.drawImage(photo, 0, 0, SIDE, SIDE);
window.done = { map: Array.from(map), rgba: Array.from(seen.getImageData(0, 0, SIDE, SIDE).data) };
</script>"""


class _Quiet(SimpleHTTPRequestHandler):
    extensions_map: ClassVar = {
        **SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def log_message(self, *given: Any) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address at which a browser finds it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, name="arcp-test-site")
    thread.start()
    yield tmp_path, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_javascript_of_the_card_cuts_as_the_native_runtime_does(site: tuple[Path, str]) -> None:
    from playwright.sync_api import sync_playwright

    folder, address = site
    done = Exporter(targets.find("lite"), None, Options()).export("onnx", "fp32", folder)
    (snippet,) = re.findall(r"```js\n(.*?)```", done.path.with_name(f"{done.path.name}.md").read_text(), re.DOTALL)
    assets = web_assets()
    for file in assets.iterdir():
        shutil.copy(file, folder)
    (runtime,) = (file.name for file in assets.iterdir() if file.name.startswith("ort.") and file.suffix == ".mjs")
    shutil.copy(pictures.SHIPPED / "coffee.jpg", folder / "photo.jpg")
    page_text = PAGE.replace("RUNTIME", runtime).replace("SNIPPET", snippet).replace("SIDE", str(done.size))
    (folder / "index.html").write_text(page_text)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            page = browser.new_page()
            wrong: list[str] = []
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.goto(f"{address}/index.html")
            page.wait_for_function("() => window.done", timeout=120_000)
            result = page.evaluate("() => window.done")
        finally:
            browser.close()
    assert not wrong
    rgba = np.array(result["rgba"], np.float32).reshape(done.size, done.size, 4)
    image = np.ascontiguousarray(rgba[..., :3].transpose(2, 0, 1)[None])
    native = running.OnnxRunner(done.path).run({"image": image})[0, 0]
    browsers = np.array(result["map"], np.float32).reshape(done.size, done.size)
    assert np.abs(browsers - native).max() <= 1e-3
    one, other = browsers > 0.5, native > 0.5
    assert 0.05 < other.mean() < 0.95
    assert (one & other).sum() / (one | other).sum() >= 0.995
