"""How a process that cuts photos keeps its memory: one heap, and the pages of the last photo for the next."""

from __future__ import annotations

import ctypes
import os
import platform

HEAP = {
    "MALLOC_ARENA_MAX": (-8, 1),
    "MALLOC_MMAP_THRESHOLD_": (-3, 64 << 20),
    "MALLOC_TRIM_THRESHOLD_": (-1, 256 << 20),
}
"""glibc's mallopt: one heap for all threads, each of which would keep what its busiest moment needed; large photos are taken
from it, and up to 256 MB stay: fresh pages from the kernel cost a tenth of a 12-megapixel photo's time."""


def share_heap() -> None:
    """Keeps memory flat under many threads, and pages in hand; elsewhere than with glibc there is nothing to do.

    For programs, when they start; a library leaves its host's heap alone. The environment's own settings win.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for variable, (option, value) in HEAP.items():
            if variable not in os.environ:
                libc.mallopt(option, value)
