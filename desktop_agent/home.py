"""Where per-user data lives: ``ARCP_HOME``, by default the platform's user data folder (the same rule as the server's)."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def home() -> Path:
    """The user's data folder (clips, keys, tokens, the board); created with mode 0700 on first use."""
    path = Path(os.environ.get("ARCP_HOME") or platformdirs.user_data_dir("ar-copy-paste", appauthor=False))
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path
