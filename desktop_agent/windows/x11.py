"""Windows on X11: the window manager's stacking list (EWMH) and WM_CLASS (ICCCM 4.1.2.5)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from desktop_agent.errors import PasteFailed
from desktop_agent.geometry import Rect
from desktop_agent.windows import Window
from desktop_agent.x11 import connection

ACTIVATION_SECONDS = 2.0
NOT_A_TARGET = ("_NET_WM_WINDOW_TYPE_DESKTOP", "_NET_WM_WINDOW_TYPE_DOCK")
PAGER = 2  # EWMH source indication: the request comes from the user, not from the application itself


class X11Probe:
    """Asks the X server ``display`` (default: $DISPLAY); each call has its own connection, so any thread may call."""

    def __init__(self, display: str | None = None) -> None:
        self._name = display

    def stack(self) -> list[Window]:
        with connection(self._name) as display:
            windows = [_describe(display, window) for window in _client_list(display)]
        return [window for window in windows if window is not None]

    def activate(self, window: Window) -> None:
        from Xlib import X
        from Xlib.protocol import event

        with connection(self._name) as display:
            root = display.screen().root
            target = display.create_resource_object("window", window.id)
            active = display.intern_atom("_NET_ACTIVE_WINDOW")
            if root.get_full_property(display.intern_atom("_NET_CLIENT_LIST_STACKING"), X.AnyPropertyType) is None:
                _focus_without_manager(display, target)
                return
            message = event.ClientMessage(window=target, client_type=active, data=(32, [PAGER, X.CurrentTime, 0, 0, 0]))
            root.send_event(message, event_mask=X.SubstructureRedirectMask | X.SubstructureNotifyMask)
            display.flush()
            deadline = time.monotonic() + ACTIVATION_SECONDS
            while _property(root, active) != [window.id]:
                if all(client.id != window.id for client in _client_list(display)):
                    raise PasteFailed(
                        f"“{window.title}” was closed. Open the document again and tap again.", code="application_gone"
                    )
                if time.monotonic() > deadline:
                    raise PasteFailed(
                        f"“{window.title}” does not take the focus; a dialog may be in the way. "
                        "Close what covers it and tap again.",
                        code="not_activated",
                    )
                time.sleep(0.01)


def _client_list(display: Any) -> Iterator[Any]:
    """Top-level windows, topmost first; without a window manager the mapped children of the root."""
    from Xlib import X

    root = display.screen().root
    stacking = root.get_full_property(display.intern_atom("_NET_CLIENT_LIST_STACKING"), X.AnyPropertyType)
    if stacking is None:
        yield from reversed(root.query_tree().children)
        return
    for identifier in reversed(stacking.value):
        yield display.create_resource_object("window", identifier)


def _describe(display: Any, window: Any) -> Window | None:
    """None where the window is hidden, no target for a paste, or gone by now."""
    from Xlib import X, error

    try:
        kinds = _property(window, display.intern_atom("_NET_WM_WINDOW_TYPE"))
        states = _property(window, display.intern_atom("_NET_WM_STATE"))
        names = window.get_wm_class()
        if (
            window.get_attributes().map_state != X.IsViewable
            or display.intern_atom("_NET_WM_STATE_HIDDEN") in states
            or any(display.intern_atom(kind) in kinds for kind in NOT_A_TARGET)
            or names is None
        ):
            return None
        pid = _property(window, display.intern_atom("_NET_WM_PID"))
        rect = _frame_rect(display, window)
        return Window(window.id, _title(display, window), names[1], names[0], rect, pid[0] if pid else None)
    except (error.BadWindow, error.BadDrawable):
        return None


def _frame_rect(display: Any, window: Any) -> Rect:
    """The window with the manager's frame, without the shadow that GTK draws inside its own windows."""
    geometry = window.get_geometry()
    corner = window.translate_coords(display.screen().root, 0, 0)  # the negative of the root's position of (0, 0)
    left, top, width, height = -corner.x, -corner.y, geometry.width, geometry.height
    for name, sign in (("_NET_FRAME_EXTENTS", 1), ("_GTK_FRAME_EXTENTS", -1)):
        sides = _property(window, display.intern_atom(name))
        if len(sides) == 4:
            left, top = left - sign * sides[0], top - sign * sides[2]
            width, height = width + sign * (sides[0] + sides[1]), height + sign * (sides[2] + sides[3])
    return Rect(left, top, width, height)


def _title(display: Any, window: Any) -> str:
    for name in ("_NET_WM_NAME", "WM_NAME"):
        found = window.get_full_property(display.intern_atom(name), 0)
        if found is not None and found.value:
            value = found.value
            return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return ""


def _property(window: Any, atom: int) -> list[int]:
    from Xlib import X

    found = window.get_full_property(atom, X.AnyPropertyType)
    return [] if found is None or isinstance(found.value, (bytes, str)) else list(found.value)


def _focus_without_manager(display: Any, window: Any) -> None:
    from Xlib import X, error

    with contextlib.suppress(error.BadWindow, error.BadMatch):
        window.configure(stack_mode=X.Above)
        window.set_input_focus(X.RevertToParent, X.CurrentTime)
        display.sync()
