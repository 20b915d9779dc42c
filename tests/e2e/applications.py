"""How to open each application with an empty document on a virtual desktop, for tests and benchmarks."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from desktop_agent.paste.match import changed
from desktop_agent.screen import RGB, MssScreen
from desktop_agent.windows import Window
from desktop_agent.windows.x11 import X11Probe
from tests.e2e.desktop import VirtualDesktop, missing_programs

SYSTEM_PYTHON = "/usr/bin/python3"  # the one that has the distribution's GTK
OFFICE = ["soffice", "--norestore", "--nologo", "--nofirststartwizard"]
NAMESPACES = "".join(
    f' xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{full}:1.0"'
    for name, full in (("office", "office"), ("draw", "drawing"), ("text", "text"))
)
DRAWN = '<draw:page draw:name="one"/>'
FIELD = """
import gi, sys
gi.require_version("Gtk", "3.0")
from gi.repository import Gtk
window, text = Gtk.Window(title="plain text", default_width=900, default_height=700), Gtk.TextView()
text.get_buffer().set_text("what was written before")
text.get_buffer().connect("changed", lambda buffer: open(sys.argv[1], "w").write(buffer.props.text))
text.set_cursor_visible(False)
window.add(text)
window.show_all()
window.connect("destroy", Gtk.main_quit)
Gtk.main()
"""


@dataclass(frozen=True)
class Setup:
    """``zoom`` is the document's; ``hidpi`` doubles the toolkit's scale; ``second_monitor``: the window lies on the right one."""

    zoom: float = 1.0
    hidpi: bool = False
    second_monitor: bool = False
    read_only: bool = False  # LibreOffice only
    listening: bool = False  # LibreOffice only, for UNO connections

    def __str__(self) -> str:
        zoom = "" if self.zoom == 1 else f"{self.zoom:.0%}"
        return " ".join(
            filter(None, (zoom, "HiDPI" * self.hidpi, "second monitor" * self.second_monitor, "UNO" * self.listening))
        )


@dataclass(frozen=True)
class Application:
    """``window``: how its WM_CLASS begins, ``title`` its title once it is ready; ``page``: what it shows, where it is a browser.

    ``places``: it puts a picture at the point, at its text's caret, or takes none. ``rests``: seconds without a change that show
    that it has started.
    """

    program: str
    window: str
    title: str = ""
    command: Callable[[Path, Setup], list[str]] = lambda home, setup: []
    page: str | None = None
    hidpi: dict[str, str] | None = None  # the environment that doubles its scale; None where it cannot
    zoom: dict[float, list[str]] = field(default_factory=dict)  # what xdotool does once it is open
    zooms: tuple[float, ...] = (1.0, 0.5, 2.0)
    places: Literal["point", "caret", "nothing"] = "point"
    rests: float = 2.5
    listens: bool = False

    def setups(self) -> list[Setup]:
        """Every way to show its document that it has."""
        more = [Setup(zoom) for zoom in self.zooms] + [Setup(hidpi=True)] * (self.hidpi is not None)
        return [*more, Setup(second_monitor=True), *[Setup(listening=True)] * self.listens]


def _inkscape(home: Path, setup: Setup) -> list[str]:
    (home / "page.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:inkscape="http://www.inkscape.org/namespaces/inkscape" '
        'xmlns:sodipodi="http://sodipodi.sourceforge.net/DTD/sodipodi-0.dtd" width="1200" height="800" '
        f'viewBox="0 0 1200 800"><sodipodi:namedview inkscape:zoom="{setup.zoom}" inkscape:cx="600" inkscape:cy="400"/>'
        '<rect x="100" y="100" width="500" height="400" fill="#88c"/></svg>'
    )
    return ["inkscape", str(home / "page.svg")]


def _gimp(home: Path, setup: Setup) -> list[str]:
    from PIL import Image

    enlarged = max(1, 1 / setup.zoom)
    Image.new("RGB", (round(1400 * enlarged), round(900 * enlarged)), (225, 235, 225)).save(home / "page.png")
    return ["gimp", "--no-splash", "--new-instance", str(home / "page.png")]


def _krita(home: Path, setup: Setup) -> list[str]:
    (home / ".config").mkdir(exist_ok=True)
    (home / ".config/kritarc").write_text("pasteBehaviour=0\n")
    enlarged = max(1, 1 / setup.zoom)
    return ["krita", "--nosplash", "--new-image", f"RGBA,U8,{round(1200 * enlarged)},{round(800 * enlarged)}"]


def _draw(home: Path, setup: Setup) -> list[str]:
    return _office(setup, home / "drawing.fodg", "graphics", "drawing", DRAWN)


def _impress(home: Path, setup: Setup) -> list[str]:
    return _office(setup, home / "slides.fodp", "presentation", "presentation", DRAWN)


def _writer(home: Path, setup: Setup) -> list[str]:
    lines = "".join(f"<text:p>Line {number} of the text</text:p>" for number in range(1, 30))
    return _office(setup, home / "letter.fodt", "text", "text", lines)


def _office(setup: Setup, path: Path, kind: str, body: str, content: str) -> list[str]:
    """LibreOffice with a flat OpenDocument file."""
    path.write_text(
        f'<?xml version="1.0"?><office:document{NAMESPACES} office:version="1.2" '
        f'office:mimetype="application/vnd.oasis.opendocument.{kind}"><office:body><office:{body}>'
        f"{content}</office:{body}></office:body></office:document>"
    )
    listen = [f"--accept=pipe,name={path.parent.name};urp"] * setup.listening
    return [*OFFICE, *["--view"] * setup.read_only, *listen, str(path)]


def _field(home: Path, setup: Setup) -> list[str]:
    return [SYSTEM_PYTHON, "-c", FIELD, str(home / "written")]


def _wheel(larger: int, smaller: int) -> dict[float, list[str]]:
    """Turns of the mouse wheel that show a document at 200 and at 50 %."""
    turns = "mousemove 900 600 keydown ctrl sleep 0.5 click --repeat {} --delay 300 {} keyup ctrl"
    return {2.0: [turns.format(larger, 4)], 0.5: [turns.format(smaller, 5)]}


GTK, QT = {"GDK_SCALE": "2"}, {"QT_SCALE_FACTOR": "2"}
CHROMIUM_SCALE: dict[str, str] = {}  # by an option of its own
PROGRAMS = {
    "inkscape": Application("inkscape", "inkscape", command=_inkscape, hidpi=GTK),
    "gimp": Application("gimp", "gimp", command=_gimp, zoom={1.0: ["key 1"], 0.5: ["key shift+2"], 2.0: ["key 2"]}),
    "draw": Application("soffice", "libreoffice-draw", command=_draw, hidpi=GTK, zoom=_wheel(8, 4), listens=True),
    "impress": Application("soffice", "libreoffice-impress", command=_impress, hidpi=GTK, zoom=_wheel(4, 7), listens=True),
    "writer": Application("soffice", "libreoffice-writer", command=_writer, hidpi=GTK, zoom=_wheel(6, 6)),
    "krita": Application(
        "krita", "krita", command=_krita, hidpi=QT, rests=6,
        zoom={1.0: ["key 1"], 0.5: ["key 1", *["key ctrl+minus"] * 2], 2.0: ["key 1", *["key ctrl+plus"] * 2]},
    ),
    "chromium": Application("chromium", "chromium", "canvas", page="canvas", hidpi=CHROMIUM_SCALE),
    "excalidraw": Application("chromium", "chromium", "excalidraw", page="excalidraw", hidpi=CHROMIUM_SCALE),
    "tldraw": Application("chromium", "chromium", "tldraw", page="tldraw", hidpi=CHROMIUM_SCALE),
    "writing": Application("chromium", "chromium", "writing", page="writing", zooms=(1.0,), hidpi=CHROMIUM_SCALE, places="caret"),
    "board": Application(
        "chromium", "chromium", "AR copy & paste", page="board", zooms=(1.0,), hidpi=CHROMIUM_SCALE, rests=0.5
    ),
    "field": Application(SYSTEM_PYTHON, "", "plain text", command=_field, zooms=(1.0,), places="nothing"),
}  # fmt: skip


def installed(name: str) -> bool:
    if name == "field":
        check = "import gi; gi.require_version('Gtk', '3.0')"
        return (
            Path(SYSTEM_PYTHON).exists()
            and subprocess.run([SYSTEM_PYTHON, "-c", check], capture_output=True).returncode == 0
        )
    return not missing_programs([PROGRAMS[name].program])


def start(
    name: str, desktop: VirtualDesktop, setup: Setup | None = None, *, address: str | None = None, seconds: float = 120
) -> Window:
    """Open it, wait until its document window rests, and return that window. ``address``: of a browser's page."""
    application, setup = PROGRAMS[name], setup or Setup()
    command = application.command(desktop.home, setup)
    if application.page is not None:
        command = _browser(desktop.home, address or _canvas(desktop.home), setup)
    desktop.run(command, env=application.hidpi if setup.hidpi else None)
    window = _resting(application, desktop, seconds, application.rests)
    steps = application.zoom.get(setup.zoom, [])
    if setup.second_monitor:
        _move(window, desktop)
    if steps:
        X11Probe(desktop.env["DISPLAY"]).activate(window)
        for step in steps:  # a program that is still working on the last one may lose the next
            subprocess.run(["xdotool", *step.split()], env=desktop.env, check=True)
            _resting(application, desktop, seconds, 0.7)
    return _resting(application, desktop, seconds, 0.7) if steps or setup.second_monitor else window


def _resting(application: Application, desktop: VirtualDesktop, seconds: float, still: float) -> Window:
    probe, screen = X11Probe(desktop.env["DISPLAY"]), MssScreen(desktop.env["DISPLAY"])
    deadline, last, since = time.monotonic() + seconds, screen.grab()[0].image, time.monotonic()
    while True:
        time.sleep(0.25)
        now = screen.grab()[0].image
        window = next((w for w in probe.stack() if _shows(application, w)), None)
        if window is None or "starting" in window.title.lower() or _differ(now, last):
            since = time.monotonic()
        last = now
        if time.monotonic() - since > still:
            assert window is not None
            return window
        if time.monotonic() > deadline:
            raise TimeoutError(f"{application.program} does not come to rest")


def _differ(now: RGB, last: RGB) -> bool:
    """More than a blinking caret does."""
    return now.shape != last.shape or int(changed(last, now).sum()) > 100


def _shows(application: Application, window: Window) -> bool:
    return window.app_class.lower().startswith(application.window) and window.title.startswith(application.title)


def _move(window: Window, desktop: VirtualDesktop) -> None:
    """To the right monitor, as large as a part of it."""
    width, height = desktop.size
    place = f"0,{width // 2 + 60},60,{width // 2 - 160},{height - 160}"
    for change in (["-b", "remove,maximized_vert,maximized_horz"], ["-e", place]):
        subprocess.run(["wmctrl", "-i", "-r", str(window.id), *change], env=desktop.env, check=True)
        time.sleep(0.5)


def _canvas(home: Path) -> str:
    from tests.e2e.paste_pages import PAGES

    (home / "canvas.html").write_text(PAGES["canvas"])
    return f"file://{home / 'canvas.html'}"


def _browser(home: Path, address: str, setup: Setup) -> list[str]:
    scale = ["--force-device-scale-factor=2"] if setup.hidpi else []
    zoom = f"#{setup.zoom}" if setup.zoom != 1 else ""
    return [
        "chromium", "--no-sandbox", "--test-type", "--no-first-run", "--password-store=basic", "--disable-gpu", *scale,
        "--start-maximized", f"--user-data-dir={home / 'chromium'}", address + zoom,
    ]  # fmt: skip
