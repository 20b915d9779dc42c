"""Whether this computer has the memory that an export takes, asked before anything is computed."""

from __future__ import annotations

from pathlib import Path

from export.errors import TooLittleMemory
from export.targets import Target

COPIES = 13
"""Of the weights in float32 at the peak: torch's own, the reference's in float64, those that converters and runtime make."""
LIBRARIES = 0.5e9
STATE = Path("/proc/meminfo")


def require(target: Target) -> None:
    """Raises ``TooLittleMemory`` where less is free; where that cannot be known (not on Linux) it is left to chance."""
    free, needed = available(), LIBRARIES + COPIES * 4 * target.parameters
    if free is not None and needed > free:
        raise TooLittleMemory(
            f"Exporting '{target.name}' ({target.parameters / 1e6:.0f} M parameters) takes about {needed / 1e9:.0f} GB of memory, "
            f"and {free / 1e9:.0f} GB are free: close other programs, add swap, or export it on a larger computer."
        )


def available() -> float | None:
    """Bytes that programs can still have, swap included."""
    try:
        lines = dict(line.split(":", 1) for line in STATE.read_text().splitlines())
        return 1024.0 * sum(int(lines[name].split()[0]) for name in ("MemAvailable", "SwapFree"))
    except (OSError, KeyError, ValueError):
        return None
