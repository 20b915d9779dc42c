"""Pages that stand for the kinds of page a cut-out is pasted into, and a server for them on loopback.

Excalidraw and tldraw are bundled from their npm packages, which are fetched once into ``$ARCP_TEST_CACHE`` (default:
~/.cache/arcp-tests), about 140 MB. Every page takes its document's zoom from its address: ``canvas.html#2``.
"""

from __future__ import annotations

import functools
import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PACKAGES = ("@excalidraw/excalidraw@0.17.6", "react@18.2.0", "react-dom@18.2.0", "tldraw@3", "esbuild@0.25")
TLDRAW = """
import { createRoot } from 'react-dom/client'
import { createElement } from 'react'
import { Tldraw } from 'tldraw'
import 'tldraw/tldraw.css'
const style = { position: 'fixed', inset: 0 }
const onMount = editor => {
  window.editor = editor
  editor.setCamera({ x: 300, y: 200, z: +location.hash.slice(1) || 1 })
  document.title = 'tldraw'
}
createRoot(document.getElementById('app')).render(createElement('div', { style }, createElement(Tldraw, { onMount })))
"""
PAGES = {
    "canvas": """<!doctype html><title>canvas</title><body style="margin:0"><canvas id=c></canvas><script>
const zoom = +location.hash.slice(1) || 1
let x = 0, y = 0, kept = null
const canvas = document.getElementById('c'), drawing = canvas.getContext('2d')
const width = canvas.width = screen.width * devicePixelRatio, height = canvas.height = screen.height * devicePixelRatio
canvas.style.width = width / devicePixelRatio + 'px'
document.body.style.overflow = 'hidden'
drawing.fillStyle = '#eef'; drawing.fillRect(0, 0, width, height)
drawing.fillStyle = '#9c9'; drawing.fillRect(300, 200, 300, 300)
addEventListener('mousemove', event => { x = event.clientX * devicePixelRatio; y = event.clientY * devicePixelRatio })
addEventListener('keydown', event => {
  if (kept && event.ctrlKey && event.code === 'KeyZ') { drawing.putImageData(kept, 0, 0); kept = null }
})
document.addEventListener('paste', async event => {
  for (const item of event.clipboardData.items) if (item.type === 'image/png') {
    const picture = await createImageBitmap(item.getAsFile())
    const [w, h] = [zoom * picture.width, zoom * picture.height]
    kept = drawing.getImageData(0, 0, width, height)
    drawing.drawImage(picture, x - w / 2, y - h / 2, w, h)
  }
})
</script>""",
    "writing": """<!doctype html><title>writing</title>
<style>body { margin: 0; font: 20px sans-serif } div { padding: 40px; min-height: 600px; caret-color: transparent }</style>
<div contenteditable autofocus>first line<br>second line</div>""",
    "tldraw": "<!doctype html><meta charset=utf-8><link rel=stylesheet href=tldraw.css>"
    "<div id=app></div><script src=tldraw.js></script>",
    "excalidraw": """<!doctype html><meta charset=utf-8><div id=app style="position: fixed; inset: 0"></div>
<script>window.EXCALIDRAW_ASSET_PATH = '/node_modules/@excalidraw/excalidraw/dist/'</script>
<script src=node_modules/react/umd/react.production.min.js></script>
<script src=node_modules/react-dom/umd/react-dom.production.min.js></script>
<script src=node_modules/@excalidraw/excalidraw/dist/excalidraw.production.min.js></script>
<script>
const value = +location.hash.slice(1) || 1
const excalidrawAPI = api => {
  window.editor = api
  setTimeout(() => {
    api.updateScene({ appState: { zoom: { value }, scrollX: 300, scrollY: 200 } })
    document.title = 'excalidraw'
  }, 500)
}
const props = { excalidrawAPI, autoFocus: true, handleKeyboardGlobally: true }  // as excalidraw.com has it
ReactDOM.createRoot(document.getElementById('app')).render(React.createElement(ExcalidrawLib.Excalidraw, props))
</script>""",
}
BUNDLED = {"tldraw", "excalidraw"}


class PagesUnavailable(Exception):
    """The npm packages cannot be fetched."""


@contextmanager
def site(*, bundled: bool = False) -> Iterator[str]:
    """The address of a folder with the pages; with ``bundled`` also of those made from npm packages.

    Raises ``PagesUnavailable``.
    """
    folder = Path(os.environ.get("ARCP_TEST_CACHE", Path.home() / ".cache/arcp-tests")) / "web-apps"
    folder.mkdir(parents=True, exist_ok=True)
    if bundled:
        _build(folder)
    for name, page in PAGES.items():
        (folder / f"{name}.html").write_text(page)
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, name="arcp-test-site")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None: ...


def _build(folder: Path) -> None:
    source = folder / "tldraw.jsx"
    if (folder / "tldraw.js").exists() and source.exists() and source.read_text() == TLDRAW:
        return
    (folder / "package.json").write_text('{"private": true}')
    source.write_text(TLDRAW)
    commands = [] if (folder / "node_modules/.bin/esbuild").exists() else [
        ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES]
    ]  # fmt: skip
    bundle = [
        "node_modules/.bin/esbuild", "tldraw.jsx", "--bundle", "--minify", "--outfile=tldraw.js",
        '--define:process.env.NODE_ENV="production"',
    ]  # fmt: skip
    for command in (*commands, bundle):
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=600)
        except (OSError, subprocess.SubprocessError) as error:
            source.unlink()
            raise PagesUnavailable(f"the npm packages cannot be fetched: {error}") from error
