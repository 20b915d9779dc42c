"""An office that listens for UNO connections (``soffice --accept=...``): found by its process's arguments, asked through a worker
process, since LibreOffice's ``uno`` module belongs to the Python of the distribution or of the office itself."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from desktop_agent.errors import PasteFailed
from desktop_agent.windows import Window

WORKER = Path(__file__).with_name("uno_worker.py")
CONNECT_SECONDS, ANSWER_SECONDS = 4.0, 10.0
SYSTEM_PYTHON = "/usr/bin/python3"


def address_of(window: Window) -> str | None:
    """Where the window's office listens, as ``socket,host=localhost,port=2002;urp``; None where it does not."""
    try:
        arguments = Path(f"/proc/{window.pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return None
    for argument in arguments:
        option, _, value = argument.partition("=")
        if option in ("-accept", "--accept") and value:
            connection, _, protocol = value.strip('"').partition(";")
            return f"{connection};{protocol.split(';')[0] or 'urp'}"
    return None


class UnoOffice:
    """Raises ``PasteFailed`` with the office's own reason, or ``no_answer``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._answers: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, name="arcp-uno")
        self._reader.start()

    def ready(self) -> bool:
        """It has a ``uno`` module and is connected."""
        try:
            return self._answers.get(timeout=CONNECT_SECONDS).strip() == "{}"
        except queue.Empty:
            return False

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._answers.get(timeout=ANSWER_SECONDS) or "{}")
        except (OSError, queue.Empty, ValueError):
            raise PasteFailed("LibreOffice does not answer; a dialog may be open in it.", code="no_answer") from None
        if "error" in answer:
            raise PasteFailed(answer["error"], code=answer["code"])
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")


@contextlib.contextmanager
def connected(window: Window, address: str) -> Iterator[UnoOffice | None]:
    """The office, or None where no Python here has ``uno`` or it is not reached."""
    office = next((found for python in _pythons(window) if (found := _start(python, address)) is not None), None)
    try:
        yield office
    finally:
        if office is not None:
            office.close()


def _start(python: str, address: str) -> UnoOffice | None:
    command = [python, "-I", str(WORKER), address]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
    office = UnoOffice(process)
    if office.ready():
        return office
    office.close()
    return None


def _pythons(window: Window) -> list[str]:
    """The office's own interpreter, where it has one, and the distribution's."""
    with contextlib.suppress(OSError):
        own = Path(os.readlink(f"/proc/{window.pid}/exe")).with_name("python")
        return [path for path in (str(own), SYSTEM_PYTHON) if Path(path).exists()]
    return []
