"""Which keycode types a keysym now: the keyboard's active group (XKB protocol, section 5) and the core keyboard map."""

from __future__ import annotations

from typing import Any

from desktop_agent.errors import PasteFailed

USE_CORE_KEYBOARD = 0x100


def active_group(display: Any) -> int:
    """The layout in use, 0 for the first; 0 where the server has no XKB."""
    from Xlib.protocol import rq

    class UseExtension(rq.ReplyRequest):  # type: ignore[misc]
        _request = rq.Struct(
            rq.Card8("opcode"), rq.Opcode(0), rq.RequestLength(), rq.Card16("major"), rq.Card16("minor")
        )
        _reply = rq.Struct(
            rq.ReplyCode(), rq.Bool("supported"), rq.Card16("sequence_number"), rq.ReplyLength(), rq.Pad(24)
        )

    class GetState(rq.ReplyRequest):  # type: ignore[misc]
        _request = rq.Struct(rq.Card8("opcode"), rq.Opcode(4), rq.RequestLength(), rq.Card16("device"), rq.Pad(2))
        _reply = rq.Struct(
            rq.ReplyCode(), rq.Card8("device"), rq.Card16("sequence_number"), rq.ReplyLength(), rq.Pad(4),
            rq.Card8("group"), rq.Pad(19),
        )  # fmt: skip

    extension = display.query_extension("XKEYBOARD")
    if extension is None or not extension.present:
        return 0
    opcode = extension.major_opcode
    UseExtension(display=display.display, opcode=opcode, major=1, minor=0)
    return int(GetState(display=display.display, opcode=opcode, device=USE_CORE_KEYBOARD).group)


def find_keycode(display: Any, keysym: int, group: int) -> int | None:
    """A keycode that types ``keysym`` unshifted: in the active group, else in any (toolkits look there for shortcuts)."""
    rows = _core_map(display)
    columns = [2 * group] if group < 2 else []  # the core map shows two groups: columns 0, 1 and 2, 3
    for column in [*columns, 0, 2]:
        for code, row in rows:
            if column < len(row) and row[column] == keysym:
                return code
    return None


def unused_keycode(display: Any) -> int:
    for code, row in reversed(_core_map(display)):
        if not any(row):
            return code
    raise PasteFailed("The keyboard layout has no key for this shortcut; switch to a Latin layout.", code="layout")


def _core_map(display: Any) -> list[tuple[int, list[int]]]:
    first, last = display.display.info.min_keycode, display.display.info.max_keycode
    return list(enumerate((list(row) for row in display.get_keyboard_mapping(first, last - first + 1)), start=first))
