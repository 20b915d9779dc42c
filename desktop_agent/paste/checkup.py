"""The doctor's look at what pasting needs on this platform: each missing piece with the command or the setting that helps."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec

from desktop_agent.doctor import Finding
from desktop_agent.errors import AgentError

PRIVACY = "System Settings > Privacy & Security"


def examine() -> list[Finding]:
    if sys.platform == "win32":
        return [_windows(), _photoshop()]
    if sys.platform == "darwin":
        return [*_macos(), _photoshop()]
    if os.environ.get("WAYLAND_DISPLAY"):
        return [*_wayland(), _bus()]
    return [_xlib(), _display(), _gdbus(), _bus(), _xclip()]


def _xlib() -> Finding:
    if find_spec("Xlib") is None:
        return Finding("python-xlib", False, "not installed", "pip install 'python-xlib>=0.33'")
    import Xlib

    version = ".".join(map(str, Xlib.__version__))
    if tuple(Xlib.__version__) < (0, 33):
        fix = "pip uninstall python3-xlib && pip install --force-reinstall 'python-xlib>=0.33'"
        return Finding("python-xlib", False, f"{version} is too old (the python3-xlib fork shadows it)", fix)
    return Finding("python-xlib", True, version)


def _display() -> Finding:
    """Pointer and keys need XTEST, finding windows a window manager that keeps the EWMH lists."""
    from desktop_agent.x11 import connection

    name = "display"
    if find_spec("Xlib") is None:
        return Finding(name, False, "cannot be asked without python-xlib", "pip install 'python-xlib>=0.33'")
    try:
        with connection() as display:
            if not display.query_extension("XTEST"):
                fix = "Start the X server with its XTEST extension (Xvnc and Xvfb have it unless '-extension XTEST' is given)."
                return Finding(name, False, f"{display.get_display_name()} has no XTEST extension", fix)
            root, stacking = display.screen().root, display.intern_atom("_NET_CLIENT_LIST_STACKING")
            if root.get_full_property(stacking, 0) is None:
                fix = "Start a window manager, for example: sudo apt install openbox && openbox &"
                detail = f"{display.get_display_name()} has no window manager that lists windows"
                return Finding(name, False, detail, fix, optional=True)
            return Finding(name, True, f"{display.get_display_name()} with XTEST and a window manager")
    except AgentError as error:
        return Finding(
            name, False, error.message, "Start the agent inside a desktop session, or with --screen virtual."
        )


def _gdbus() -> Finding:
    if shutil.which("gdbus"):
        return Finding("gdbus", True, "Inkscape and GIMP can be asked", optional=True)
    fix = "sudo apt install libglib2.0-bin   (dnf install glib2, pacman -S glib2)"
    return Finding("gdbus", False, "missing: no pasting into Inkscape and GIMP", fix, optional=True)


def _bus() -> Finding:
    if os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return Finding("session bus", True, "runs", optional=True)
    fix = "sudo apt install dbus-x11, then start the agent and the editors in one session: dbus-run-session -- bash"
    return Finding("session bus", False, "none: Inkscape and GIMP cannot be asked", fix, optional=True)


def _xclip() -> Finding:
    if shutil.which("xclip"):
        return Finding("clipboard", True, "what was on it outlives the agent (xclip)", optional=True)
    fix = "sudo apt install xclip   (or dnf, pacman)"
    detail = "xclip is missing: what was on it before a paste is lost when the agent ends"
    return Finding("clipboard", False, detail, fix, optional=True)


def _wayland() -> list[Finding]:
    from desktop_agent.portal import Portal

    if find_spec("dbus_fast") is None:
        return [Finding("portal", False, "dbus-fast is not installed", "pip install 'dbus-fast>=2.24'")]
    findings: list[Finding] = []
    try:
        portal = Portal()
    except AgentError as error:
        fix = "sudo apt install xdg-desktop-portal xdg-desktop-portal-gnome   (or -kde, -wlr), then log in again"
        return [Finding("portal", False, error.message, fix)]
    try:
        for interface, needed in (("Screenshot", "screenshots"), ("RemoteDesktop", "pointer and keys")):
            try:
                portal.version(interface)
                findings.append(
                    Finding(f"portal {interface}", True, f"{needed}: the desktop asks you at the first paste")
                )
            except AgentError:
                fix = "Use GNOME or KDE Plasma, or log in with an X11 session."
                findings.append(Finding(f"portal {interface}", False, f"this desktop offers no {needed}", fix))
    finally:
        portal.close()
    if shutil.which("wl-copy"):
        return [*findings, Finding("clipboard", True, "wl-copy", optional=True)]
    detail = "wl-copy is missing; the portal's clipboard is used where the desktop has one"
    return [*findings, Finding("clipboard", False, detail, "sudo apt install wl-clipboard", optional=True)]


def _macos() -> list[Finding]:
    if find_spec("Quartz") is None:
        return [Finding("pyobjc", False, "not installed", "pip install pyobjc-framework-Quartz")]
    import Quartz

    return [
        _allowed("screen recording", bool(Quartz.CGPreflightScreenCaptureAccess()), "Screen & System Audio Recording"),
        _allowed("pointer and keys", bool(Quartz.CGPreflightPostEventAccess()), "Accessibility"),
    ]


def _allowed(name: str, allowed: bool, setting: str) -> Finding:
    if allowed:
        return Finding(name, True, "allowed")
    fix = f"{PRIVACY} > {setting}: switch it on for the program that starts the agent (Terminal), and start it again."
    return Finding(name, False, "needs your permission", fix)


def _windows() -> Finding:
    if find_spec("win32clipboard") is None:
        return Finding("pywin32", False, "not installed", "pip install pywin32")
    return Finding("pywin32", True, "windows, pointer, keys and clipboard")


def _photoshop() -> Finding:
    from desktop_agent.errors import PasteFailed
    from desktop_agent.paste.photoshop_link import open_link

    try:
        open_link()
    except PasteFailed as error:
        return Finding("Photoshop", False, "not connected", error.message, optional=True)
    return Finding("Photoshop", True, "can be asked when it runs", optional=True)
