"""xdg-desktop-portal through dbus-fast: what Wayland lets a program do, each with the person's permission.

Request pattern, and the RemoteDesktop, ScreenCast, Screenshot and Clipboard interfaces: the portal's documentation
(flatpak.github.io/xdg-desktop-portal, "API Reference"). One thread runs the bus; the methods here may be called from any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from desktop_agent.errors import PasteFailed, ScreenUnavailable

NAME, PATH = "org.freedesktop.portal.Desktop", "/org/freedesktop/portal/desktop"
INTERFACE = "org.freedesktop.portal."
CALL_SECONDS, PERSON_SECONDS = 20.0, 120.0
GRANTED, CANCELLED = 0, 1
T = TypeVar("T")


class Portal:
    """A connection to the portal on the session bus. Raises ``ScreenUnavailable`` where there is none."""

    def __init__(self, address: str | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="arcp-portal", daemon=True)
        self._thread.start()
        self._waiting: dict[str, asyncio.Future[tuple[int, dict[str, Any]]]] = {}
        self._handlers: dict[str, Callable[[list[Any]], None]] = {}
        try:
            self._bus = self._run(self._connect(address or os.environ.get("DBUS_SESSION_BUS_ADDRESS")), CALL_SECONDS)
        except Exception as error:
            self._stop()
            raise ScreenUnavailable(
                f"The desktop portal cannot be reached ({error}): sudo apt install xdg-desktop-portal and your desktop's part "
                "of it (xdg-desktop-portal-gnome, -kde or -wlr), then log in again."
            ) from error

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._run(self._disconnect(), 5)
        self._stop()

    def call(self, interface: str, member: str, signature: str, *body: Any) -> tuple[list[Any], list[int]]:
        """One method; its answer and the file descriptors with it. Raises ``PasteFailed``."""
        return self._run(self._call(INTERFACE + interface, member, signature, list(body)), CALL_SECONDS)

    def version(self, interface: str) -> int:
        """Of one of the portal's interfaces. Raises ``PasteFailed`` where the desktop does not have it."""
        work = self._call("org.freedesktop.DBus.Properties", "Get", "ss", [INTERFACE + interface, "version"])
        return int(self._run(work, CALL_SECONDS)[0][0])

    def request(
        self, interface: str, member: str, signature: str, *body: Any, options: dict[str, Any], what: str
    ) -> dict[str, Any]:
        """A method whose result comes later, perhaps after a dialog; ``options`` go last. Raises ``PasteFailed``
        (``needs_permission``) naming ``what`` the person did not allow."""
        code, results = self._run(
            self._request(INTERFACE + interface, member, signature, list(body), options), PERSON_SECONDS
        )
        if code == GRANTED:
            return results
        ending = "was not allowed" if code == CANCELLED else "could not be started"
        raise PasteFailed(
            f"{what} {ending}: allow it when the desktop asks, and let it remember that.", code="needs_permission"
        )

    def on(self, member: str, handler: Callable[[list[Any]], None]) -> None:
        """Call ``handler`` with the body of every signal of this name, in the bus's thread."""
        self._handlers[member] = handler

    def later(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """From a signal's handler: go on in the bus's thread without holding it up."""
        task = self._loop.create_task(work())
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def call_inside(self, interface: str, member: str, signature: str, *body: Any) -> tuple[list[Any], list[int]]:
        """``call``, for work given to ``later``."""
        return await self._call(INTERFACE + interface, member, signature, list(body))

    def _run(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        done = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return done.result(seconds)
        except TimeoutError:
            done.cancel()
            raise PasteFailed(
                "The desktop did not answer; look for a question of it on the screen.", code="no_answer"
            ) from None

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _connect(self, address: str | None) -> Any:
        from dbus_fast import Message
        from dbus_fast.aio import MessageBus

        bus = await MessageBus(bus_address=address, negotiate_unix_fd=True).connect()
        bus.add_message_handler(self._signal)
        rule = f"type='signal',sender='{NAME}'"
        await bus.call(
            Message(
                destination="org.freedesktop.DBus", path="/org/freedesktop/DBus", interface="org.freedesktop.DBus",
                member="AddMatch", signature="s", body=[rule],
            )
        )  # fmt: skip
        return bus

    async def _disconnect(self) -> None:
        self._bus.disconnect()
        await self._bus.wait_for_disconnect()
        await self._loop.shutdown_default_executor()

    def _signal(self, message: Any) -> None:
        from dbus_fast import MessageType

        if message.message_type is not MessageType.SIGNAL:
            return
        if message.member == "Response" and message.path in self._waiting:
            code, results = message.body
            waiting = self._waiting.pop(message.path)
            if not waiting.done():
                waiting.set_result((code, {key: plain(value) for key, value in results.items()}))
        elif message.member in self._handlers:
            self._handlers[message.member]([plain(part) for part in message.body])

    async def _call(self, interface: str, member: str, signature: str, body: list[Any]) -> tuple[list[Any], list[int]]:
        from dbus_fast import Message, MessageType

        message = Message(
            destination=NAME, path=PATH, interface=interface, member=member, signature=signature, body=body
        )
        answer = await self._bus.call(message)
        if answer.message_type is MessageType.ERROR:
            text = str(answer.body[0]) if answer.body else str(answer.error_name)
            raise PasteFailed(f"The desktop does not offer {interface}.{member}: {text}", code="needs_permission")
        return [plain(part) for part in answer.body], list(answer.unix_fds)

    async def _request(
        self, interface: str, member: str, signature: str, body: list[Any], options: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        from dbus_fast import Variant

        token = f"arcp{secrets.token_hex(8)}"
        sender = self._bus.unique_name[1:].replace(".", "_")
        path = f"{PATH}/request/{sender}/{token}"
        waiting: asyncio.Future[tuple[int, dict[str, Any]]] = self._loop.create_future()
        self._waiting[path] = waiting
        try:
            await self._call(interface, member, signature, [*body, {**options, "handle_token": Variant("s", token)}])
            return await waiting
        finally:
            self._waiting.pop(path, None)


def plain(value: Any) -> Any:
    """Without dbus-fast's variants."""
    from dbus_fast import Variant

    if isinstance(value, Variant):
        return plain(value.value)
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value
