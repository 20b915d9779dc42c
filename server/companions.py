"""Models that help another one, where their weights are installed: at the boundary, for mattes, for glass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Any

from server.errors import ModelUnavailable

REFINERS = ("meticulousnet-h", "mobile-meticulousnet-h", "lite0-meticulousnet-h")
MATTERS = tuple(
    f"gfm-{backbone}-{mode}" for backbone in ("r34-2b", "d121", "r34", "r101") for mode in ("tt", "rim", "bt", "ft")
)
GLAZIERS = ("gem-base", "gem-tiny", "pgsnet")


def installed(names: tuple[str, ...]) -> str | None:
    """The first of ``names`` whose weights and runtime are there."""
    from server.weights import store

    if find_spec("torch") is None:
        return None
    return next((name for name in names if store.find(name)), None)


def require(names: tuple[str, ...], option: str) -> str:
    """Raises ``ModelUnavailable`` where none is installed, with the way to get one."""
    name = installed(names)
    if name is None:
        raise ModelUnavailable(
            f"{option} needs one of {', '.join(names)}: 'python -m server weights import FILE --model {names[0]}' installs it."
        )
    return name


def companion(name: str) -> Any:
    """The loaded model, on the device that is there; within ``lent_by`` that lender's."""
    from server import registry

    return (_lender.get() or registry.load)(name)


_lender: ContextVar[Callable[[str], Any] | None] = ContextVar("arcp_companions", default=None)


@contextmanager
def lent_by(lender: Callable[[str], Any]) -> Iterator[None]:
    """Within it this thread gets companions from ``lender`` (name -> model): who owns the device keeps owning it."""
    token = _lender.set(lender)
    try:
        yield
    finally:
        _lender.reset(token)
