"""Results that are kept for a while: unguessable names that carry their end, in any folder that fsspec reaches."""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import fsspec

from server.home import home

NAME = re.compile(r"([0-9]{10,12})-[A-Za-z0-9_-]{43}\.png")
SWEEP_SECONDS = 30.0


class ResultStore:
    """``url`` is a folder (path, ``s3://bucket/folder``, ``memory://x``, ...); files end ``seconds`` after they were put."""

    def __init__(
        self, url: str | None = None, seconds: float = 24 * 3600, clock: Callable[[], float] = time.time
    ) -> None:
        self._url, self._seconds, self._clock = url, seconds, clock
        self._opened: tuple[Any, str] | None = None
        self._lock = threading.Lock()

    def put(self, data: bytes) -> str:
        """Keep a PNG; its name holds 256 random bits and the time at which it ends."""
        files, folder = self._folder()
        name = f"{int(self._clock() + self._seconds)}-{secrets.token_urlsafe(32)}.png"
        files.pipe_file(f"{folder}/{name}", data)
        return name

    def get(self, name: str) -> bytes | None:
        """None where there is none of that name any more."""
        match = NAME.fullmatch(name)
        if match is None or int(match[1]) <= self._clock():
            return None
        files, folder = self._folder()
        try:
            data: bytes = files.cat_file(f"{folder}/{name}")
        except FileNotFoundError:
            return None
        return data

    def sweep(self) -> int:
        """Delete what has ended, also of earlier runs; returns how many. Files of other names are left alone."""
        files, folder = self._folder()
        files.invalidate_cache()
        ended = 0
        for path in files.ls(folder, detail=False):
            match = NAME.fullmatch(str(path).rsplit("/", 1)[-1])
            if match is not None and int(match[1]) <= self._clock():
                with contextlib.suppress(FileNotFoundError):  # another process was faster
                    files.rm_file(path)
                    ended += 1
        return ended

    @contextlib.contextmanager
    def sweeping(self, every: float = SWEEP_SECONDS) -> Iterator[None]:
        """Sweep now and then, until the end of the block."""
        stop = threading.Event()

        def run() -> None:
            while True:
                try:
                    self.sweep()
                except Exception as error:  # a store that is away comes back
                    logging.getLogger("server").warning("stored results could not be swept: %s", error)
                if stop.wait(every):
                    return

        thread = threading.Thread(target=run, name="arcp-results")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _folder(self) -> tuple[Any, str]:
        with self._lock:
            if self._opened is None:
                files, folder = fsspec.core.url_to_fs(self._url or str(home() / "results"))
                files.makedirs(folder, exist_ok=True)
                self._opened = files, str(folder).rstrip("/")
            return self._opened
