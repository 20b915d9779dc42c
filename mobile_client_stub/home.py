"""Where per-user data lives: ``ARCP_HOME``, by default the platform's user data folder (the same rule as the agent's)."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def home() -> Path:
    """The user's data folder; it need not exist."""
    return Path(os.environ.get("ARCP_HOME") or platformdirs.user_data_dir("ar-copy-paste", appauthor=False))
