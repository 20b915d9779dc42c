"""The doctor's look at each hop between phone, computer and segmentation server: what is cut, and what helps."""

from __future__ import annotations

import json
import re
import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

from desktop_agent.doctor import Finding
from desktop_agent.found import FoundServer
from desktop_agent.home import home
from desktop_agent.pinned import shown_fingerprint
from desktop_agent.runtime import find_running
from desktop_agent.tls import local_addresses

SECONDS = 3
TUNNEL = re.compile(r"^(tun|tap|wg|ppp|utun|tailscale|zt|nordlynx|proton)")
ISOLATION = (
    "If a phone in the same Wi-Fi still does not reach it, the Wi-Fi keeps its clients apart (guest and hotel networks do): "
    "open a hotspot on the phone and join it with this computer, or connect an Android phone by USB, run "
    "'adb reverse tcp:{port} tcp:{port}' and open there what 'python -m desktop_agent pair --usb' shows."
)


def examine() -> list[Finding]:
    """Phone to agent and agent to server; without a running agent only what can be known."""
    return [*_phones(), _tunnel(), *_server()]


def _phones() -> list[Finding]:
    running = find_running()
    if running is None:
        return [
            Finding("agent", False, "not running", "python -m desktop_agent", optional=True),
        ]
    port = urlsplit(running[0]).port or 0
    answers = _answers("127.0.0.1", port)
    verb, fix = ("runs", "") if answers else ("does not answer", "Start it again: python -m desktop_agent")
    findings = [Finding("agent", answers, f"{verb} at {running[0]}", fix)]
    for address in local_addresses()[:1]:
        name = "phone -> agent"
        if _answers(address, port + 1):
            findings.append(
                Finding(
                    name, True, f"https://{address}:{port + 1} answers. {ISOLATION.format(port=port)}", optional=True
                )
            )
        else:
            fix = (
                "Without a paired phone it listens for three minutes only: run 'python -m desktop_agent pair'. "
                f"With one, a firewall is in the way: {_firewall(port + 1)}"
            )
            findings.append(Finding(name, False, f"nothing answers at {address}:{port + 1}", fix, optional=True))
    return findings


def _firewall(port: int) -> str:
    if sys.platform == "win32":
        return "allow Python in the private network (Windows Security, Firewall, Allow an app)."
    if sys.platform == "darwin":
        return "allow Python (System Settings, Network, Firewall, Options)."
    return f"sudo ufw allow {port}/tcp   (or: sudo firewall-cmd --add-port={port}/tcp)"


def _tunnel() -> Finding:
    """A VPN takes the default route: the phone then scans an address that it cannot reach."""
    interface = _default_interface(Path("/proc/net/route"))
    if interface is not None and TUNNEL.match(interface):
        fix = "Switch the VPN off, or allow the local network in its settings."
        return Finding("VPN", False, f"the default route goes through {interface}", fix, optional=True)
    return Finding("VPN", True, "none in the way", optional=True)


def _default_interface(table: Path) -> str | None:
    """The interface of the IPv4 default route by Linux's routing table; None where that is not known."""
    try:
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return None
    defaults = [(int(row[6]), row[0]) for row in rows if len(row) > 7 and row[1] == "00000000"]
    return min(defaults)[1] if defaults else None


def _server() -> list[Finding]:
    try:
        fields = json.loads((home() / "server.json").read_text())
        server = FoundServer(**fields) if fields else None
    except (OSError, ValueError, TypeError):
        server = None
    if server is None:
        return []
    parts = urlsplit(server.url)
    name, fix = (
        "agent -> server",
        "Start the server, or forget it in the agent's window: photos are cut here meanwhile.",
    )
    try:
        shown = shown_fingerprint(parts.hostname or "", parts.port or 443)
    except OSError as error:
        return [Finding(name, False, f"{server.url} does not answer ({error})", fix, optional=True)]
    if shown != server.fingerprint:
        fix = "If you renewed its certificate, confirm it again in the agent's window; if not, somebody else answers there."
        return [
            Finding(name, False, f"{server.url} shows another certificate than the confirmed one", fix, optional=True)
        ]
    return [Finding(name, True, f"{server.url} answers with the confirmed certificate", optional=True)]


def _answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=SECONDS):
            return True
    except OSError:
        return False
