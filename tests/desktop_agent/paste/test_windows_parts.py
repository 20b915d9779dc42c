"""Window probe, input and clipboard of Windows against stand-ins for pywin32, written from Microsoft's documentation.

Microsoft Learn, Win32 API: GetWindow, DwmGetWindowAttribute, SetForegroundWindow, keybd_event, Clipboard Operations (ownership,
GetClipboardSequenceNumber), BITMAPV5HEADER. Not yet run on Windows itself.
"""

from __future__ import annotations

import io
import struct
import sys
import threading
from typing import Any

import numpy as np
import pytest
from PIL import Image

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Point, Rect
from desktop_agent.input_win32 import Win32Input
from desktop_agent.paste.clipboard_win32 import Win32Clipboard
from desktop_agent.paste.dib import encode_dibv5
from desktop_agent.paste.png import encode_png
from desktop_agent.windows.win32 import CLOAKED, FRAME_BOUNDS, Win32Probe
from tests.e2e.coffee import coffee


class Win32Error(Exception):
    """pywintypes.error"""


class Machine:
    """Windows (the system) as far as the agent asks it; the members are pywin32's functions, whatever module they are in."""

    error = Win32Error

    def __init__(self) -> None:
        self.windows: dict[int, dict[str, Any]] = {}
        self.order: list[int] = []
        self.front = 0
        self.foreground_locked = False
        self.attached: set[int] = set()
        self.pointer = (50, 60)
        self.down: set[int] = set()
        self.keys: list[tuple[int, bool]] = []
        self.buttons: list[int] = []
        self.jump: tuple[int, int] | None = None
        self.clipboard: dict[int, Any] = {}
        self.names = {0xC001: "HTML Format"}
        self.sequence = 7
        self.open_by: int | None = None
        self.clipboard_owner = 0
        self.destroyed: list[int] = []

    # win32gui and win32process
    def GetTopWindow(self, _parent: int) -> int:
        return self.order[0] if self.order else 0

    def GetWindow(self, handle: int, which: int) -> int:
        assert which == 2
        place = self.order.index(handle) + 1
        return self.order[place] if place < len(self.order) else 0

    def IsWindowVisible(self, handle: int) -> bool:
        return bool(self.windows[handle].get("visible", True))

    def IsIconic(self, handle: int) -> bool:
        return bool(self.windows[handle].get("iconic", False))

    def GetWindowLong(self, handle: int, index: int) -> int:
        assert index == -20
        return int(self.windows[handle].get("style", 0))

    def GetClassName(self, handle: int) -> str:
        return str(self.windows[handle].get("class", "Window"))

    def GetWindowText(self, handle: int) -> str:
        return str(self.windows[handle].get("title", ""))

    def GetWindowRect(self, handle: int) -> tuple[int, ...]:
        return tuple(self.windows[handle]["rect"])

    def GetWindowThreadProcessId(self, handle: int) -> tuple[int, int]:
        return 100 + handle, 4000 + handle

    def OpenProcess(self, access: int, _inherit: bool, pid: int) -> int:
        if access != 0x1000 or self.windows[pid - 4000].get("elevated"):
            raise Win32Error(5, "OpenProcess", "Access is denied.")
        return pid

    def GetModuleFileNameEx(self, process: int, _module: int) -> str:
        return rf"C:\Program Files\Some\{self.windows[process - 4000].get('program', 'some.exe')}"

    def GetForegroundWindow(self) -> int:
        return self.front

    def GetCurrentThreadId(self) -> int:
        return 1

    def AttachThreadInput(self, ours: int, theirs: int, attach: bool) -> None:
        assert ours == 1
        (self.attached.add if attach else self.attached.discard)(theirs)

    def SetForegroundWindow(self, handle: int) -> None:
        if self.foreground_locked or (self.front and 100 + self.front not in self.attached):
            raise Win32Error(0, "SetForegroundWindow", "No error message is available")
        self.front = handle

    # win32api
    def GetCursorPos(self) -> tuple[int, int]:
        return self.pointer

    def SetCursorPos(self, at: tuple[int, int]) -> None:
        self.pointer = at

    def GetSystemMetrics(self, index: int) -> int:
        return {76: -1920, 77: 0, 78: 3840, 79: 1080}[index]

    def GetAsyncKeyState(self, code: int) -> int:
        return -32768 if code in self.down else 0  # a SHORT: the most significant bit is its sign

    def MapVirtualKey(self, code: int, _kind: int) -> int:
        return code + 1

    def keybd_event(self, code: int, scan: int, flags: int, _extra: int) -> None:
        assert scan == code + 1
        self.keys.append((code, not flags & 2))
        (self.down.discard if flags & 2 else self.down.add)(code)

    def mouse_event(self, flags: int, *_rest: int) -> None:
        self.buttons.append(flags)

    # win32gui's messages and win32clipboard
    def CreateWindowEx(self, *arguments: Any) -> int:
        assert arguments[8] == -3, "a message-only window"
        return 77

    def DestroyWindow(self, handle: int) -> None:
        self.destroyed.append(handle)

    def PumpWaitingMessages(self) -> int:
        return 0

    def RegisterClipboardFormat(self, name: str) -> int:
        for number, known in self.names.items():
            if known == name:
                return number
        number = max(self.names) + 1
        self.names[number] = name
        return number

    def OpenClipboard(self, handle: int) -> None:
        assert threading.current_thread().name == "arcp-clipboard"
        if self.open_by is not None:
            raise Win32Error(5, "OpenClipboard", "Access is denied.")
        self.open_by = handle

    def CloseClipboard(self) -> None:
        self.open_by = None

    def EmptyClipboard(self) -> None:
        assert self.open_by is not None
        self.clipboard, self.clipboard_owner = {}, self.open_by
        self.sequence += 1

    def SetClipboardData(self, number: int, data: Any) -> None:
        assert self.open_by
        assert self.clipboard_owner == self.open_by, "with no owner SetClipboardData fails"
        self.clipboard[number] = data
        self.sequence += 1

    def EnumClipboardFormats(self, after: int) -> int:
        numbers = list(self.clipboard)
        place = 0 if after == 0 else numbers.index(after) + 1
        return numbers[place] if place < len(numbers) else 0

    def GetClipboardData(self, number: int) -> Any:
        return self.clipboard[number]

    def GetClipboardSequenceNumber(self) -> int:
        return self.sequence

    def dwm(self, handle: int, attribute: int) -> tuple[int, ...] | None:
        if attribute == CLOAKED:
            return (2,) if self.windows[handle].get("cloaked") else (0,)
        assert attribute == FRAME_BOUNDS
        left, top, right, bottom = self.windows[handle]["rect"]
        return (left + 7, top, right - 7, bottom - 7)  # without the invisible resize border


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    for name in ("win32api", "win32gui", "win32process", "win32clipboard", "pywintypes"):
        monkeypatch.setitem(sys.modules, name, made)
    return made


def test_windows_are_listed_as_they_are_seen(machine: Machine) -> None:
    box = (93, 100, 907, 607)
    machine.windows = {
        1: {"title": "a.psd", "program": "Photoshop.exe", "rect": box},
        2: {"title": "on another desktop", "cloaked": True, "rect": box},
        3: {"title": "minimised", "iconic": True, "rect": box},
        4: {"title": "palette", "style": 0x80, "rect": box},
        5: {"class": "Shell_TrayWnd", "rect": box},
        6: {"title": "hidden", "visible": False, "rect": box},
        7: {"title": "as administrator", "elevated": True, "rect": box},
    }
    machine.order = list(machine.windows)
    photoshop, elevated = Win32Probe(machine.dwm).stack()
    assert (photoshop.title, photoshop.app_class, photoshop.pid) == ("a.psd", "Photoshop.exe", 4001)
    assert photoshop.rect == Rect(100, 100, 800, 500)
    assert (elevated.title, elevated.app_class) == ("as administrator", "")


def test_activation_gets_around_the_foreground_lock_or_says_so(machine: Machine) -> None:
    machine.windows = {number: {"title": f"{number}", "rect": (0, 0, 90, 90)} for number in (1, 2)}
    machine.order, machine.front = [1, 2], 1
    probe = Win32Probe(machine.dwm)
    second = probe.stack()[1]
    probe.activate(second)
    assert machine.front == 2
    assert machine.attached == set()
    machine.front, machine.foreground_locked = 1, True
    with pytest.raises(PasteFailed) as failed:
        probe.activate(second)
    assert failed.value.code == "not_activated"


def test_keys_go_by_virtual_codes_and_the_pointer_returns(machine: Machine) -> None:
    with Win32Input().session() as session:
        session.move(Point(-500.5, 300.5))
        assert machine.pointer == (-501, 300)
        session.chord("Control_L", "v")
        session.click()
        session.drag(Point(10.5, 20.5), Point(40.5, 20.5))
        assert machine.pointer == (40, 20)
    assert machine.keys == [(0x11, True), (0x56, True), (0x56, False), (0x11, False)]
    assert machine.buttons == [2, 4, 2, 4]
    assert machine.pointer == (50, 60)


def test_a_corner_stops_and_held_keys_are_let_go(machine: Machine) -> None:
    machine.down = {0x10}
    with Win32Input().session() as session:
        assert machine.keys == [(0x10, False)]
        session.move(Point(100.5, 100.5))
        machine.pointer = (-1920, 1079)
        with pytest.raises(PasteFailed) as stopped:
            session.chord("Control_L", "v")
    assert stopped.value.code == "aborted"
    assert machine.pointer == (-1920, 1079), "the person has the pointer"
    machine.down = {0x01}
    with pytest.raises(PasteFailed) as held, Win32Input().session():
        pass
    assert held.value.code == "button_held"


def test_a_picture_is_offered_in_both_formats_and_the_old_content_returns(machine: Machine) -> None:
    machine.clipboard = {13: "text", 1: "text", 2: 99, 0xC001: b"<b>text</b>"}
    cutout, clipboard = coffee(60), Win32Clipboard()
    png = encode_png(cutout)
    try:
        with clipboard.offering({"image/png": png}) as offer:
            assert machine.clipboard == {machine.RegisterClipboardFormat("PNG"): png, 17: encode_dibv5(cutout)}
            assert offer.taken("image/png", 0)
        assert machine.clipboard == {13: "text", 0xC001: b"<b>text</b>"}
    finally:
        clipboard.close()
    assert machine.destroyed == [77]


def test_theft_and_a_clipboard_that_stays_open_are_told(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("desktop_agent.paste.clipboard_win32.OPEN_SECONDS", 0.1)
    machine.clipboard = {13: "before"}
    clipboard = Win32Clipboard()
    try:
        with clipboard.offering({"image/png": encode_png(coffee(30))}) as offer:
            machine.clipboard, machine.sequence = {13: "theirs"}, machine.sequence + 1
            assert offer.stolen
            assert not offer.taken("image/png", 0)
        assert machine.clipboard == {13: "theirs"}
        machine.open_by = 5
        with pytest.raises(PasteFailed) as failed, clipboard.offering({"image/png": encode_png(coffee(30))}):
            pass
        assert failed.value.code == "clipboard"
    finally:
        clipboard.close()


def test_the_bitmap_keeps_every_pixel_and_its_alpha() -> None:
    cutout = coffee(41)
    bitmap = encode_dibv5(cutout)
    size = 14 + len(bitmap)
    file = b"BM" + struct.pack("<IHHI", size, 0, 0, 14 + 124) + bitmap  # as a .bmp, which Pillow reads by its masks
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(file)).convert("RGBA")), cutout)


def test_a_key_that_is_not_known_is_a_mistake_of_ours(machine: Machine) -> None:
    with Win32Input().session() as session, pytest.raises(ValueError, match="no such key"):
        session.chord("Hyper_L")
    assert machine.keys == []
