"""Window probe, input and pasteboard of macOS against stand-ins for pyobjc, written from Apple's documentation.

Apple Developer Documentation: CGWindowListCopyWindowInfo, Quartz Event Services, NSPasteboard, NSRunningApplication.
Not yet run on macOS itself.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Point, Rect
from desktop_agent.input_macos import MacInput
from desktop_agent.paste.clipboard_macos import MacClipboard
from desktop_agent.windows.macos import MacProbe


class Quartz:
    """Core Graphics as far as the agent asks it; pointer events move ``pointer``."""

    def __init__(self) -> None:
        self.allowed, self.asked = True, False
        self.pointer = (50.0, 60.0)
        self.flags, self.button = 0, False
        self.posted: list[Any] = []
        self.windows: list[dict[str, Any]] = []

    def CGPreflightPostEventAccess(self) -> bool:
        return self.allowed

    def CGRequestPostEventAccess(self) -> bool:
        self.asked = True
        return False

    def CGEventCreate(self, _source: None) -> Any:
        return SimpleNamespace(at=self.pointer)

    def CGEventGetLocation(self, event: Any) -> Any:
        return SimpleNamespace(x=event.at[0], y=event.at[1])

    def CGEventCreateMouseEvent(self, _source: None, kind: int, at: tuple[float, float], button: int) -> Any:
        return SimpleNamespace(kind=kind, at=at, button=button)

    def CGEventCreateKeyboardEvent(self, _source: None, code: int, down: bool) -> Any:
        return SimpleNamespace(kind="key", code=code, down=down, flags=0)

    def CGEventSetFlags(self, event: Any, flags: int) -> None:
        event.flags = flags

    def CGEventPost(self, tap: int, event: Any) -> None:
        assert tap == 0
        self.posted.append(event)
        if event.kind == "key":
            self.flags = event.flags
        else:
            self.pointer = event.at

    def CGEventSourceButtonState(self, _state: int, button: int) -> bool:
        return self.button and button == 0

    def CGEventSourceFlagsState(self, _state: int) -> int:
        return self.flags

    def CGGetActiveDisplayList(self, _most: int, _displays: None, _count: None) -> tuple[int, list[int], int]:
        return 0, [1, 2], 2

    def CGDisplayBounds(self, display: int) -> Any:
        left = {1: 0.0, 2: -1440.0}[display]
        return SimpleNamespace(origin=SimpleNamespace(x=left, y=0.0), size=SimpleNamespace(width=1440.0, height=900.0))

    def CGWindowListCopyWindowInfo(self, options: int, relative: int) -> list[dict[str, Any]]:
        assert (options, relative) == (1 | 16, 0)
        return self.windows


class Item:
    """NSPasteboardItem"""

    def __init__(self, data: dict[str, bytes] | None = None) -> None:
        self.data = dict(data or {})

    @classmethod
    def alloc(cls) -> Item:
        return cls()

    def init(self) -> Item:
        return self

    def types(self) -> list[str]:
        return list(self.data)

    def dataForType_(self, kind: str) -> bytes | None:
        return self.data[kind] or None

    def setData_forType_(self, data: bytes, kind: str) -> bool:
        self.data[kind] = data
        return True


class Pasteboard:
    """NSPasteboard: the count grows with every new owner."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.count = 3

    def generalPasteboard(self) -> Pasteboard:
        return self

    def changeCount(self) -> int:
        return self.count

    def clearContents(self) -> int:
        self.items = []
        self.count += 1
        return self.count

    def writeObjects_(self, items: list[Item]) -> bool:
        self.items = list(items)
        return True

    def pasteboardItems(self) -> list[Item]:
        return self.items


class Applications:
    """NSRunningApplication: one program, which may refuse to come to the front."""

    def __init__(self) -> None:
        self.running, self.willing, self.active = {900}, True, False

    def runningApplicationWithProcessIdentifier_(self, pid: int) -> Applications | None:
        return self if pid in self.running else None

    def activateWithOptions_(self, options: int) -> bool:
        assert options == 3
        self.active = self.willing
        return self.willing

    def isActive(self) -> bool:
        return self.active


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    quartz, board, applications = Quartz(), Pasteboard(), Applications()
    data = SimpleNamespace(dataWithBytes_length_=lambda data, length: bytes(data[:length]))
    kit = SimpleNamespace(NSPasteboard=board, NSPasteboardItem=Item, NSRunningApplication=applications)
    monkeypatch.setitem(sys.modules, "Quartz", quartz)
    monkeypatch.setitem(sys.modules, "AppKit", kit)
    monkeypatch.setitem(sys.modules, "Foundation", SimpleNamespace(NSData=data))
    return SimpleNamespace(quartz=quartz, board=board, applications=applications)


def info(number: int, **more: Any) -> dict[str, Any]:
    bounds = {"X": 100.0, "Y": 50.0, "Width": 800.0, "Height": 600.0}
    fields = {
        "kCGWindowNumber": number,
        "kCGWindowOwnerPID": 900,
        "kCGWindowOwnerName": "Pixelmator",
        "kCGWindowLayer": 0,
    }
    return fields | {"kCGWindowBounds": bounds} | more


def test_normal_windows_are_listed_front_to_back(mac: SimpleNamespace) -> None:
    menu_bar, invisible = info(1, kCGWindowLayer=25), info(2, kCGWindowAlpha=0)
    mac.quartz.windows = [menu_bar, invisible, info(3, kCGWindowName="a.pxd"), info(4)]
    first, second = MacProbe().stack()
    assert (first.id, first.title, first.app_class, first.rect) == (3, "a.pxd", "Pixelmator", Rect(100, 50, 800, 600))
    assert (second.id, second.title) == (4, "Pixelmator"), "without Screen Recording there is no title"


def test_activation_waits_for_the_application_or_says_why_not(mac: SimpleNamespace) -> None:
    mac.quartz.windows = [info(3), info(4, kCGWindowOwnerPID=901)]
    here, gone = MacProbe().stack()
    MacProbe().activate(here)
    with pytest.raises(PasteFailed) as failed:
        MacProbe().activate(gone)
    assert failed.value.code == "application_gone"
    mac.applications.willing = mac.applications.active = False
    with pytest.raises(PasteFailed) as failed:
        MacProbe().activate(here)
    assert failed.value.code == "not_activated"


def test_without_permission_the_person_is_asked_and_told_where(mac: SimpleNamespace) -> None:
    mac.quartz.allowed = False
    with pytest.raises(PasteFailed) as failed, MacInput().session():
        pass
    assert failed.value.code == "needs_permission"
    assert "Accessibility" in failed.value.message
    assert mac.quartz.asked


def test_control_is_command_and_the_pointer_returns(mac: SimpleNamespace) -> None:
    with MacInput().session() as session:
        session.move(Point(-200.5, 300.5))
        session.chord("Control_L", "v")
    keys = [(event.code, event.down, event.flags) for event in mac.quartz.posted if event.kind == "key"]
    command = 1 << 20
    assert keys == [(0x37, True, command), (0x09, True, command), (0x09, False, command), (0x37, False, 0)]
    assert [event.at for event in mac.quartz.posted if event.kind == 5] == [(-200.5, 300.5), (50.5, 60.5)]


def test_a_drag_says_that_it_drags(mac: SimpleNamespace) -> None:
    with MacInput().session() as session:
        session.drag(Point(100.5, 100.5), Point(160.5, 130.5))
    kinds = [event.kind for event in mac.quartz.posted]
    assert kinds == [5, 1, *[6] * 15, 2, 5]
    assert mac.quartz.posted[-2].at == (160.5, 130.5)


def test_a_held_shift_is_let_go_and_a_corner_stops(mac: SimpleNamespace) -> None:
    mac.quartz.flags = 1 << 17
    with MacInput().session() as session:
        assert [(event.code, event.down) for event in mac.quartz.posted] == [(0x38, False)]
        session.move(Point(500.5, 500.5))
        mac.quartz.pointer = (1439.9, 0.0)
        with pytest.raises(PasteFailed) as stopped:
            session.click()
    assert stopped.value.code == "aborted"


def test_the_picture_is_offered_as_png_and_the_old_items_return(mac: SimpleNamespace) -> None:
    mac.board.items = [Item({"public.utf8-plain-text": b"before", "public.html": b"<b>before</b>"}), Item({"x": b""})]
    with MacClipboard().offering({"image/png": b"png"}) as offer:
        assert [item.data for item in mac.board.items] == [{"public.png": b"png"}]
        assert offer.taken("image/png", 0)
    assert [item.data for item in mac.board.items] == [
        {"public.utf8-plain-text": b"before", "public.html": b"<b>before</b>"}
    ]


def test_a_thief_keeps_the_pasteboard(mac: SimpleNamespace) -> None:
    with MacClipboard().offering({"image/png": b"png"}) as offer:
        mac.board.clearContents()
        mac.board.items = [Item({"public.utf8-plain-text": b"theirs"})]
        assert offer.stolen
    assert mac.board.items[0].data == {"public.utf8-plain-text": b"theirs"}
