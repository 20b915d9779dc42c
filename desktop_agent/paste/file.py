"""The ``file`` driver: pointing at the bare desktop or at a file manager saves the cut-out as a PNG in a folder."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Placement
from desktop_agent.paste.driver import RGBA, Landing
from desktop_agent.paste.png import encode_png
from desktop_agent.windows import Window

FILE_MANAGERS = (
    "org.gnome.nautilus", "nautilus", "nemo", "caja", "thunar", "pcmanfm", "dolphin", "org.kde.dolphin", "explorer",
    "finder",
)  # fmt: skip
FOLDER = "ARCP_FOLDER"


class FileDriver:
    """Saves into ``folder`` (default: $ARCP_FOLDER, else "AR copy & paste" among the user's pictures)."""

    name = "file"

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def can_handle(self, window: Window | None) -> bool:
        return window is None or window.app_class.lower().removesuffix(".exe") in FILE_MANAGERS

    def paste(self, cutout: RGBA, placement: Placement, window: Window | None) -> Landing:
        """The whole cut-out, neither scaled nor turned; never over a file that is there. Raises ``PasteFailed``."""
        folder = self._folder or _default_folder()
        stem = time.strftime("cut-out %Y-%m-%d %H.%M.%S")
        names = (f"{stem}.png" if copy == 1 else f"{stem} ({copy}).png" for copy in itertools.count(1))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name in names:
                try:
                    with (folder / name).open("xb") as file:
                        file.write(encode_png(cutout))
                except FileExistsError:
                    continue
                return Landing(self.name, f"the folder {folder} as {name}")
        except OSError as error:
            raise PasteFailed(
                f"The cut-out could not be saved in {folder}: {error.strerror or error}. "
                f"Make the folder writable, or name another one in {FOLDER}.",
                code="not_saved",
            ) from error
        raise AssertionError("names never end")


def _default_folder() -> Path:
    from platformdirs import user_pictures_dir

    named = os.environ.get(FOLDER)
    return Path(named).expanduser() if named else Path(user_pictures_dir()) / "AR copy & paste"
