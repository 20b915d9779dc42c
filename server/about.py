"""The installed version."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def installed_version() -> str:
    """As packaged; 'unknown' where it runs from files alone. Looked up once: reading the metadata costs more than a request."""
    try:
        return version("ar-copy-paste")
    except PackageNotFoundError:
        return "unknown"
