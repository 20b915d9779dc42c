"""How to open each application with an empty document on a virtual desktop, for tests and benchmarks."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from desktop_agent.screen import MssScreen
from desktop_agent.windows import Window
from desktop_agent.windows.x11 import X11Probe
from tests.e2e.desktop import VirtualDesktop, missing_programs

CANVAS = """<!doctype html><title>canvas</title><body style="margin:0"><canvas id=c width=1880 height=860></canvas>
<script>
let x = 0, y = 0
const canvas = document.getElementById('c'), drawing = canvas.getContext('2d')
drawing.fillStyle = '#eef'; drawing.fillRect(0, 0, 1880, 860)
drawing.fillStyle = '#9c9'; drawing.fillRect(300, 200, 300, 300)
addEventListener('mousemove', event => { x = event.clientX; y = event.clientY })
document.addEventListener('paste', async event => {
  for (const item of event.clipboardData.items) if (item.type === 'image/png') {
    const picture = await createImageBitmap(item.getAsFile())
    drawing.drawImage(picture, x - picture.width / 2, y - picture.height / 2)
  }
})
</script>"""
SLIDE = (
    '<?xml version="1.0"?><office:document xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0" office:version="1.2" '
    'office:mimetype="application/vnd.oasis.opendocument.presentation"><office:body><office:presentation>'
    '<draw:page draw:name="one"/></office:presentation></office:body></office:document>'
)
DRAWING = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="1200" height="800" viewBox="0 0 1200 800">'
    '<rect x="100" y="100" width="500" height="400" fill="#88c"/></svg>'
)
PROGRAMS = {
    "inkscape": "inkscape", "gimp": "gimp", "draw": "soffice", "impress": "soffice", "krita": "krita",
    "chromium": "chromium",
}  # fmt: skip
CLASSES = {
    "inkscape": "inkscape", "gimp": "gimp", "draw": "libreoffice-draw", "impress": "libreoffice-impress",
    "krita": "krita", "chromium": "chromium",
}  # fmt: skip


def installed(application: str) -> bool:
    return not missing_programs([PROGRAMS[application]])


def start(application: str, desktop: VirtualDesktop, seconds: float = 120) -> Window:
    """Open it, wait until its document window rests, and return that window."""
    desktop.run(_command(application, desktop.home))
    probe, screen = X11Probe(desktop.env["DISPLAY"]), MssScreen(desktop.env["DISPLAY"])
    deadline, last, since = time.monotonic() + seconds, screen.grab()[0].image, time.monotonic()
    while True:
        time.sleep(0.25)
        now = screen.grab()[0].image
        window = next((w for w in probe.stack() if w.app_class.lower().startswith(CLASSES[application])), None)
        if window is None or "starting" in window.title.lower() or not np.array_equal(now, last):
            since = time.monotonic()
        last = now
        if time.monotonic() - since > 2.5:
            assert window is not None
            return window
        if time.monotonic() > deadline:
            raise TimeoutError(f"{application} does not come to rest")


def _command(application: str, home: Path) -> list[str]:
    office = ["soffice", "--norestore", "--nologo", "--nofirststartwizard"]
    if application == "inkscape":
        (home / "page.svg").write_text(DRAWING)
        return ["inkscape", str(home / "page.svg")]
    if application == "draw":
        return [*office, "--draw"]
    if application == "impress":
        (home / "slides.fodp").write_text(SLIDE)
        return [*office, str(home / "slides.fodp")]
    if application == "gimp":
        from PIL import Image

        Image.new("RGB", (1400, 900), (225, 235, 225)).save(home / "page.png")
        return ["gimp", "--no-splash", "--new-instance", str(home / "page.png")]
    if application == "krita":
        (home / ".config").mkdir(exist_ok=True)
        (home / ".config/kritarc").write_text("pasteBehaviour=0\n")
        return ["krita", "--nosplash", "--new-image", "RGBA,U8,1200,800"]
    (home / "canvas.html").write_text(CANVAS)
    return [
        "chromium", "--no-sandbox", "--no-first-run", "--password-store=basic", "--disable-gpu", "--start-maximized",
        f"--user-data-dir={home / 'chromium'}", f"file://{home / 'canvas.html'}",
    ]  # fmt: skip
