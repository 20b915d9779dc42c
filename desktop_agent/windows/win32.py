"""Windows on Windows: the Z order, without what is hidden, minimised or cloaked; rectangles in physical pixels.

Microsoft Learn, Win32 API: ``GetTopWindow``, ``GetWindow`` (GW_HWNDNEXT), ``DwmGetWindowAttribute`` (DWMWA_CLOAKED,
DWMWA_EXTENDED_FRAME_BOUNDS: the window without its invisible resize border), ``SetForegroundWindow`` (and its restrictions).
"""

from __future__ import annotations

import ntpath
import time
from collections.abc import Callable, Iterator
from typing import Any

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Rect
from desktop_agent.windows import Window

NEXT = 2  # GW_HWNDNEXT
EXTENDED_STYLE, TOOL_WINDOW = -20, 0x80  # GWL_EXSTYLE, WS_EX_TOOLWINDOW
SHELL = {"Progman", "WorkerW", "Shell_TrayWnd", "Shell_SecondaryTrayWnd"}
FRAME_BOUNDS, CLOAKED = 9, 14
QUERY_LIMITED = 0x1000  # PROCESS_QUERY_LIMITED_INFORMATION
ACTIVATION_SECONDS = 2.0

DwmAttribute = Callable[[int, int], tuple[int, ...] | None]


class Win32Probe:
    """``dwm`` reads one attribute of a window as whole numbers (None: not given), by default from dwmapi.dll."""

    def __init__(self, dwm: DwmAttribute | None = None) -> None:
        self._dwm = dwm or _dwm_attribute

    def stack(self) -> list[Window]:
        return [window for handle in _z_order() if (window := self._describe(handle)) is not None]

    def activate(self, window: Window) -> None:
        """Raises ``PasteFailed`` where Windows keeps the foreground to another program."""
        import win32api
        import win32gui
        import win32process

        front = win32gui.GetForegroundWindow()
        theirs = win32process.GetWindowThreadProcessId(front)[0] if front else 0
        ours = win32api.GetCurrentThreadId()
        attached = bool(theirs) and theirs != ours and _quietly(win32process.AttachThreadInput, ours, theirs, True)
        try:  # while attached to the foreground's input, this thread may give the foreground away
            _quietly(win32gui.SetForegroundWindow, window.id)
        finally:
            if attached:
                _quietly(win32process.AttachThreadInput, ours, theirs, False)
        deadline = time.monotonic() + ACTIVATION_SECONDS
        while win32gui.GetForegroundWindow() != window.id:
            if time.monotonic() > deadline:
                raise PasteFailed(
                    f"“{window.title}” does not take the focus; click its title bar, close what covers it, and tap again. "
                    "A program that runs as administrator needs an agent that does, too.",
                    code="not_activated",
                )
            time.sleep(0.01)

    def _describe(self, handle: int) -> Window | None:
        import win32gui
        import win32process

        if not win32gui.IsWindowVisible(handle) or win32gui.IsIconic(handle) or self._is_cloaked(handle):
            return None
        if win32gui.GetWindowLong(handle, EXTENDED_STYLE) & TOOL_WINDOW or win32gui.GetClassName(handle) in SHELL:
            return None
        left, top, right, bottom = self._dwm(handle, FRAME_BOUNDS) or win32gui.GetWindowRect(handle)
        if right <= left or bottom <= top:
            return None
        _, pid = win32process.GetWindowThreadProcessId(handle)
        return Window(
            handle, win32gui.GetWindowText(handle), _program(pid), win32gui.GetClassName(handle),
            Rect(left, top, right - left, bottom - top), pid,
        )  # fmt: skip

    def _is_cloaked(self, handle: int) -> bool:
        """On another virtual desktop, or a suspended app: visible by its flags, but not to be seen."""
        return (self._dwm(handle, CLOAKED) or (0,))[0] != 0


def _z_order() -> Iterator[int]:
    import pywintypes
    import win32gui

    handle = win32gui.GetTopWindow(0)
    while handle:
        yield handle
        try:
            handle = win32gui.GetWindow(handle, NEXT)
        except pywintypes.error:  # it was closed meanwhile
            return


def _program(pid: int) -> str:
    """The executable's file name; empty where Windows does not tell."""
    import pywintypes
    import win32api
    import win32process

    try:
        process = win32api.OpenProcess(QUERY_LIMITED, False, pid)
        return ntpath.basename(str(win32process.GetModuleFileNameEx(process, 0)))
    except pywintypes.error:
        return ""


def _quietly(call: Callable[..., Any], *arguments: Any) -> bool:
    import pywintypes

    try:
        call(*arguments)
    except pywintypes.error:
        return False
    return True


def _dwm_attribute(handle: int, attribute: int) -> tuple[int, ...] | None:
    import ctypes

    values = (ctypes.c_int32 * (4 if attribute == FRAME_BOUNDS else 1))()
    library: Any = ctypes.windll.dwmapi  # type: ignore[attr-defined]
    failed = library.DwmGetWindowAttribute(
        ctypes.c_void_p(handle), attribute, ctypes.byref(values), ctypes.sizeof(values)
    )
    return None if failed else tuple(values)
