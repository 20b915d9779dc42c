"""Inviting a phone: the address with the one-time token and the certificate's fingerprint, as a QR code."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TextIO

from desktop_agent.access import Access
from desktop_agent.devices import short_code
from desktop_agent.lan import LanFace


@dataclass(frozen=True)
class Invitation:
    """``url`` is what the phone scans; everything secret is in its fragment, which no request line carries.

    ``code`` appears on both screens after pairing; ``seconds`` are left.
    """

    url: str
    code: str
    seconds: float

    def svg(self) -> str:
        """The QR code as an inline SVG element, dark on white with a quiet zone."""
        import segno

        out = io.BytesIO()
        segno.make(self.url, error="m").save(
            out, kind="svg", border=4, xmldecl=False, svgns=True, dark="#000", light="#fff", omitsize=True
        )
        return out.getvalue().decode()

    def print(self, out: TextIO) -> None:
        """The QR code in half-block characters."""
        import segno

        segno.make(self.url, error="m").terminal(out=out, compact=True)


class Inviter:
    """Opens the pairing window and knows the address that goes with it."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._loopback_url = ""
        self._lan: LanFace | None = None

    def serve(self, loopback_url: str, lan: LanFace | None) -> None:
        """Say where the agent listens, before anybody is invited."""
        self._loopback_url, self._lan = loopback_url, lan

    def invite(self) -> Invitation:
        """A new one-time token; the listener for phones is open when this returns. Raises ``AgentError`` where it cannot be."""
        self._access.pairing.open()
        if self._lan is not None:
            self._lan.refresh()
        current = self.current()
        if current is None:
            raise RuntimeError("a window that was opened just now is open")
        return current

    def current(self) -> Invitation | None:
        """The invitation that can be accepted now."""
        token, seconds = self._access.pairing.token, self._access.pairing.seconds_left
        if token is None:
            return None
        phones = self._lan.url if self._lan is not None else None
        if phones is None or self._lan is None or self._lan.certificate is None:
            return Invitation(f"{self._loopback_url}/#{token}", short_code(token), seconds)
        return Invitation(f"{phones}/#{token}.{self._lan.certificate.fingerprint}", short_code(token), seconds)
