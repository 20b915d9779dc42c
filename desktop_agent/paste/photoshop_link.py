"""Two ways to run a script in the Photoshop of this computer: COM on Windows, its remote connection elsewhere.

Both Python packages call themselves ``photoshop``, so only one can be installed: the extra
``photoshop`` takes the right one.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Protocol

from desktop_agent.errors import PasteFailed

PASSWORD = "ARCP_PHOTOSHOP_PASSWORD"
SCRIPT_SECONDS = 20.0
ENABLE = (
    "In Photoshop: Preferences > Plug-ins > Enable Remote Connections, choose a password, restart Photoshop, and start the "
    f"agent with that password in {PASSWORD}."
)


class PhotoshopLink(Protocol):
    def run(self, script: str) -> str:
        """The script's value as text. Raises ``PasteFailed``."""
        ...

    def folder(self) -> Path:
        """What ExtendScript on the other side calls ``Folder.userData``."""
        ...


class RemotePhotoshop:
    """Photoshop's remote connection on loopback, through photoshop-connection."""

    def __init__(self, password: str, port: int = 49494) -> None:
        self._password, self._port = password, port

    def run(self, script: str) -> str:
        from photoshop import PhotoshopConnection

        try:
            with PhotoshopConnection(password=self._password, host="127.0.0.1", port=self._port) as connection:
                answer = connection.execute(script, timeout=SCRIPT_SECONDS)
        except ConnectionRefusedError as error:
            raise PasteFailed(f"Photoshop takes no remote connection. {ENABLE}", code="needs_permission") from error
        except ValueError as error:  # a status that the package reads as a wrong password
            raise PasteFailed(f"Photoshop refused the password. {ENABLE}", code="needs_permission") from error
        except Exception as error:  # a timeout of its queue, a broken connection, a failed assertion of the package
            raise PasteFailed(
                "Photoshop does not answer; a dialog may be open in it. Close it and tap again.", code="no_answer"
            ) from error
        body = answer.get("body", b"")
        return body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)

    def folder(self) -> Path:
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Application Support"
        return Path(os.environ.get("APPDATA", str(Path.home())))


class ComPhotoshop:
    """Photoshop's COM automation on Windows, through photoshop-python-api."""

    def __init__(self, application: Any = None) -> None:
        self._application = application

    def run(self, script: str) -> str:
        try:
            if self._application is None:
                from photoshop.api import Application

                self._application = Application()
            return str(self._application.doJavaScript(script))
        except Exception as error:  # comtypes.COMError, which exists on Windows alone, and the package's own
            self._application = None
            raise PasteFailed(
                "Photoshop does not answer; a dialog may be open in it. Close it and tap again.", code="no_answer"
            ) from error

    def folder(self) -> Path:
        return Path(os.environ.get("APPDATA", str(Path.home())))


def open_link() -> PhotoshopLink:
    """The one that this platform offers. Raises ``PasteFailed`` (``needs_permission`` or ``missing_package``)."""
    from importlib.util import find_spec

    if find_spec("photoshop") is None:
        raise PasteFailed(
            "Pasting into Photoshop needs a package: pip install 'ar-copy-paste[photoshop]'", code="missing_package"
        )
    if sys.platform == "win32":
        return ComPhotoshop()
    password = os.environ.get(PASSWORD) or os.environ.get("PHOTOSHOP_PASSWORD")
    if not password:
        raise PasteFailed(f"Photoshop is not connected. {ENABLE}", code="needs_permission")
    return RemotePhotoshop(password)
