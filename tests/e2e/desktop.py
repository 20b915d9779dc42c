"""A private X desktop for tests and benchmarks: Xvfb, openbox and a session bus, with a throw-away home.

``with VirtualDesktop() as desktop`` starts it on a free display number; ``desktop.env`` runs applications on it,
``desktop.run`` starts one that is ended with the desktop, and every process that inherited the environment is gone
afterwards.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
import pytest

from desktop_agent.screen import ScreenSource

NEEDED = ("Xvfb", "openbox", "dbus-daemon")
MARK = "ARCP_VIRTUAL_DESKTOP"


def missing_programs(names: Sequence[str] = NEEDED) -> list[str]:
    return [name for name in names if shutil.which(name) is None]


class VirtualDesktop:
    """An X server of ``size`` pixels; ``two_monitors`` splits it in a left and a right half, ``layout`` is setxkbmap's."""

    def __init__(
        self, size: tuple[int, int] = (1920, 1080), *, two_monitors: bool = False, layout: str | None = None
    ) -> None:
        self.size = size
        self._two_monitors = two_monitors
        self._layout = layout
        self._mark = uuid.uuid4().hex
        self._processes: list[subprocess.Popen[bytes]] = []
        self.env: dict[str, str] = {}

    def __enter__(self) -> VirtualDesktop:
        self.home = Path(tempfile.mkdtemp(prefix="arcp-desktop-"))
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> None:
        runtime = self.home / "runtime"
        runtime.mkdir(mode=0o700)
        self.env = {
            name: value
            for name, value in os.environ.items()
            if name not in {"DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS", "SESSION_MANAGER"}
        } | {
            MARK: self._mark,
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(runtime),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_CACHE_HOME": str(self.home / ".cache"),
            "XDG_DATA_HOME": str(self.home / ".local/share"),
            "NO_AT_BRIDGE": "1",
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
        }
        self.env["DISPLAY"] = f":{self._start_server()}"
        self.env["DBUS_SESSION_BUS_ADDRESS"] = self._start_bus()
        if self._layout:
            subprocess.run(["setxkbmap", *self._layout.split()], env=self.env, check=True)
        self.run(["openbox", "--sm-disable"])
        wait_for(self._window_manager_runs, 10, "openbox did not start")
        if self._two_monitors:
            self._split_monitors()

    def _start_server(self) -> int:
        width, height = self.size
        readable, writable = os.pipe()
        with os.fdopen(readable, "rb") as numbers:
            try:
                command = f"Xvfb -displayfd {writable} -screen 0 {width}x{height}x24 -nolisten tcp -noreset -dpi 96"
                self.run(command.split(), pass_fds=(writable,))
            finally:
                os.close(writable)
            return int(_first_line(numbers, 20, "Xvfb did not start"))

    def _start_bus(self) -> str:
        process = self.run(
            ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=1"], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        with process.stdout as out:
            return _first_line(out, 10, "the session bus did not start").decode().strip()

    def _window_manager_runs(self) -> bool:
        from Xlib import X, display

        connection = display.Display(self.env["DISPLAY"])
        try:
            atom = connection.intern_atom("_NET_SUPPORTING_WM_CHECK")
            return connection.screen().root.get_full_property(atom, X.AnyPropertyType) is not None
        finally:
            connection.close()

    def _split_monitors(self) -> None:
        width, height = self.size
        half = width // 2
        for name, left, output in (("LEFT", 0, "screen"), ("RIGHT", half, "none")):
            geometry = f"{half}/{half * 265 // 1000}x{height}/{height * 265 // 1000}+{left}+0"
            command = ["xrandr", "--setmonitor", name, geometry, output]
            subprocess.run(command, env=self.env, check=True, stdout=subprocess.DEVNULL)

    def run(
        self,
        command: Sequence[str],
        *,
        env: dict[str, str] | None = None,
        stdout: int = subprocess.DEVNULL,
        pass_fds: Sequence[int] = (),
    ) -> subprocess.Popen[bytes]:
        """Start a program on this desktop; ``env`` adds to the desktop's own environment."""
        process = subprocess.Popen(
            command,
            env=self.env | (env or {}),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
            cwd=self.home,
        )
        self._processes.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a program started by ``run`` and its children, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        if process in self._processes:
            self._processes.remove(process)

    def close(self) -> None:
        for process in reversed(list(self._processes)):
            self.kill(process)
        for _ in range(5):  # programs that the bus started are not our children; they carry the mark
            left = list(self._marked())
            if not left:
                break
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        shutil.rmtree(self.home, ignore_errors=True)

    def _marked(self) -> Iterator[int]:
        needle = f"{MARK}={self._mark}".encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if needle in (entry / "environ").read_bytes().split(b"\0"):
                        yield int(entry.name)


def _first_line(stream: IO[bytes], seconds: float, complaint: str) -> bytes:
    ready, _, _ = select.select([stream], [], [], seconds)
    line = stream.readline() if ready else b""
    if not line.strip():
        raise RuntimeError(complaint)
    return line


def wait_for(condition: Callable[[], bool], seconds: float, complaint: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(complaint)
        time.sleep(0.05)


def wait_until_still(screen: ScreenSource, still: float, seconds: float = 90) -> None:
    """Until the first monitor has shown the same picture for ``still`` seconds."""
    deadline, last, since = time.monotonic() + seconds, screen.grab()[0].image, time.monotonic()
    while time.monotonic() - since < still:
        time.sleep(min(0.25, still / 2))
        now = screen.grab()[0].image
        if not np.array_equal(now, last):
            since = time.monotonic()
        last = now
        if time.monotonic() > deadline:
            raise TimeoutError("the screen does not come to rest")


@contextlib.contextmanager
def on_desktop(desktop: VirtualDesktop) -> Iterator[None]:
    """This process's own DISPLAY and session bus are the desktop's, so the agent's code in it finds them."""
    names = ("DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "WAYLAND_DISPLAY", "XAUTHORITY")
    before = {name: os.environ.get(name) for name in names}
    for name in names:
        os.environ.pop(name, None)
        if name in desktop.env:
            os.environ[name] = desktop.env[name]
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@pytest.fixture(scope="module")
def desktop() -> Iterator[VirtualDesktop]:
    """A 1920x1080 desktop shared by the tests of one module, which must bring their own applications and end them."""
    absent = missing_programs()
    if absent:
        pytest.skip(f"not installed: {', '.join(absent)} (apt-get install xvfb openbox dbus-x11)")
    with VirtualDesktop() as started, on_desktop(started):
        yield started
