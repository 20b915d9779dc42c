"""Excalidraw and tldraw, bundled from their npm packages and served on loopback: the cut-out lands where it was pointed.

The packages are fetched once into ``$ARCP_TEST_CACHE`` (default: ~/.cache/arcp-tests), about 140 MB.
"""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from desktop_agent.board import BoardStore
from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Placement
from desktop_agent.paste.registry import open_drivers
from desktop_agent.screen import MssScreen
from desktop_agent.windows.x11 import X11Probe
from tests.e2e.chromium import CHROMIUM
from tests.e2e.chromium import browser as browser
from tests.e2e.coffee import coffee, measured
from tests.e2e.desktop import VirtualDesktop, wait_for, wait_until_still
from tests.e2e.desktop import desktop as desktop

pytestmark = [
    pytest.mark.app,
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is missing"),
    pytest.mark.skipif(shutil.which("npm") is None, reason="not installed: apt-get install npm"),
]
PACKAGES = ("@excalidraw/excalidraw@0.17.6", "react@18.2.0", "react-dom@18.2.0", "tldraw@3", "esbuild@0.25")
TLDRAW = """
import { createRoot } from 'react-dom/client'
import { createElement } from 'react'
import { Tldraw } from 'tldraw'
import 'tldraw/tldraw.css'
const style = { position: 'fixed', inset: 0 }
const app = createElement(Tldraw, { onMount: editor => { window.editor = editor; document.title = 'tldraw' } })
createRoot(document.getElementById('app')).render(createElement('div', { style }, app))
"""
PAGES = {
    "tldraw": "<!doctype html><meta charset=utf-8><link rel=stylesheet href=tldraw.css>"
    "<div id=app></div><script src=tldraw.js></script>",
    "excalidraw": """<!doctype html><meta charset=utf-8><div id=app style="position: fixed; inset: 0"></div>
<script>window.EXCALIDRAW_ASSET_PATH = '/node_modules/@excalidraw/excalidraw/dist/'</script>
<script src=node_modules/react/umd/react.production.min.js></script>
<script src=node_modules/react-dom/umd/react-dom.production.min.js></script>
<script src=node_modules/@excalidraw/excalidraw/dist/excalidraw.production.min.js></script>
<script>
const excalidrawAPI = api => { window.editor = api; document.title = 'excalidraw' }
const props = { excalidrawAPI, autoFocus: true, handleKeyboardGlobally: true }  // as excalidraw.com has it
ReactDOM.createRoot(document.getElementById('app')).render(React.createElement(ExcalidrawLib.Excalidraw, props))
</script>""",
}
ZOOM = {
    "tldraw": "zoom => editor.setCamera({ x: 300, y: 200, z: zoom })",
    "excalidraw": "zoom => editor.updateScene({ appState: { zoom: { value: zoom }, scrollX: 300, scrollY: 200 } })",
}


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of a folder with both applications."""
    folder = Path(os.environ.get("ARCP_TEST_CACHE", Path.home() / ".cache/arcp-tests")) / "web-apps"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "tldraw.js").exists():
        _build(folder)
    for name, page in PAGES.items():
        (folder / f"{name}.html").write_text(page)
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, name="arcp-test-site")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None: ...


def _build(folder: Path) -> None:
    (folder / "package.json").write_text('{"private": true}')
    (folder / "tldraw.jsx").write_text(TLDRAW)
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES]
    bundle = [
        "node_modules/.bin/esbuild", "tldraw.jsx", "--bundle", "--minify", "--outfile=tldraw.js",
        '--define:process.env.NODE_ENV="production"',
    ]  # fmt: skip
    for command in (install, bundle):
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=600)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"the npm packages cannot be fetched: {error}")


@pytest.mark.parametrize("zoom", [1.0, 0.5, 2.0])
@pytest.mark.parametrize("name", sorted(PAGES))
def test_lands_where_asked_at_every_zoom(
    desktop: VirtualDesktop, browser: Any, site: str, name: str, zoom: float
) -> None:
    screen, cutout = MssScreen(), coffee(260)
    page = browser.new_page()
    try:
        page.goto(f"{site}/{name}.html")
        page.wait_for_function("window.editor", timeout=120_000)
        page.evaluate(ZOOM[name], zoom)
        wait_for(lambda: X11Probe().stack()[0].title.startswith(name), 30, "the window did not appear")
        wait_until_still(screen, 1.5)
        window = X11Probe().stack()[0]
        with open_drivers(screen, BoardStore(desktop.home / "board")) as drivers:
            if name == "excalidraw" and zoom != 1.0:  # its Ctrl+Z does not take a pasted picture back
                with pytest.raises(PasteFailed) as failed:
                    drivers.choose(window).paste(cutout, Placement(window.rect.center, 0.4), window)
                assert failed.value.code == "wrong_size"
            for dx, dy, scale, rotation in ((-190.7, 20.4, 0.7, 0.0), (160.3, -30.8, 0.9, -25.0)):
                before = screen.grab()[0].image
                wanted = Placement(window.rect.center.shifted(dx, dy), scale, rotation)
                landing = drivers.choose(window).paste(cutout, wanted, window)
                found, _ = measured(cutout, before, screen.grab()[0].image, wanted)
                assert landing.landing_error_px is not None
                assert landing.landing_error_px <= 1
                assert found.center.distance(wanted.center) <= 1.0
                assert found.scale == pytest.approx(scale, rel=0.01)
                assert found.rotation == pytest.approx(rotation, abs=0.5)
    finally:
        page.close()
