"""One X connection for one piece of work; requests that fail raise here instead of being printed by Xlib."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from desktop_agent.errors import ScreenUnavailable


@contextlib.contextmanager
def connection(name: str | None = None) -> Iterator[Any]:
    """An ``Xlib.display.Display`` (default: $DISPLAY), closed afterwards. Raises ``ScreenUnavailable``."""
    display = connect(name)
    try:
        yield display
    finally:
        with contextlib.suppress(Exception):  # the server may be gone, which the work itself has reported
            display.close()


def connect(name: str | None = None) -> Any:
    import Xlib
    from Xlib import display, error

    if Xlib.__version__ < (0, 33):  # older ones cannot do without ~/.Xauthority
        raise ScreenUnavailable("python-xlib is too old: pip install 'python-xlib>=0.33'")
    try:
        return display.Display(name)
    except (error.DisplayError, error.XauthError, error.XNoAuthError, OSError) as problem:
        shown = name or os.environ.get("DISPLAY") or "(DISPLAY is not set)"
        raise ScreenUnavailable(f"The X display {shown} cannot be opened: {problem}. Log in to a desktop.") from problem
