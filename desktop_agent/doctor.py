"""What is there and what is missing for the agent's work, each with the command that helps."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Any

from desktop_agent.errors import AgentError


@dataclass(frozen=True)
class Finding:
    """One check. ``fix`` says what to do; ``optional`` ones do not make the doctor fail."""

    name: str
    ok: bool
    detail: str
    fix: str = ""
    optional: bool = False

    def public(self) -> dict[str, Any]:
        return asdict(self)


def examine() -> list[Finding]:
    """All checks that make sense on this platform."""
    from desktop_agent import hops
    from desktop_agent.paste import checkup

    return [_python(), _segmentation(), _screen(), *checkup.examine(), _network(), *hops.examine()]


def _python() -> Finding:
    import cv2

    return Finding("python", True, f"Python {sys.version.split()[0]}, OpenCV {cv2.__version__}")


def _segmentation() -> Finding:
    import server

    try:
        server.load(server.DEFAULT_MODEL)
    except server.ServerError as error:
        return Finding("cut-out model", False, error.message)
    return Finding("cut-out model", True, f"'{server.DEFAULT_MODEL}' loads")


def _screen() -> Finding:
    from desktop_agent.screen import open_screen

    try:
        screenshots = open_screen("auto").grab()
    except AgentError as error:
        return Finding(
            "screen", False, error.message, "Start the agent inside a desktop session, or with --screen virtual."
        )
    sizes = ", ".join(f"{shot.monitor.rect.width} x {shot.monitor.rect.height}" for shot in screenshots)
    return Finding("screen", True, f"{len(screenshots)} monitor(s): {sizes}")


def _network() -> Finding:
    from desktop_agent.tls import local_addresses

    addresses = local_addresses()
    if addresses:
        return Finding("network", True, f"phones reach this computer at {addresses[0]}", optional=True)
    return Finding(
        "network", False, "no network address", "Connect to the Wi-Fi of the phone, or open a hotspot.", optional=True
    )
