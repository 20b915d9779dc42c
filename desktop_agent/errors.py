"""The agent's exceptions.

    AgentError                  anything the agent reports; ``title``, ``code`` and ``status`` as the HTTP face shows them
    ├── BadRequest              a field is missing, malformed or out of range
    │   └── UnreadableView      the photo of the screen cannot be decoded
    ├── Unauthorized            no device token, or one that is not known
    ├── NotFound                no such clip, page or monitor
    ├── ScreenUnavailable       nothing to capture: no display, no permission, unreadable picture
    ├── SegmentationFailed      the segmentation server could not be reached or refused the photo
    └── PasteFailed             the application did not take the cut-out
        └── NoDriver            no driver can paste into the window under the point

Every message says what to do next.
"""

from __future__ import annotations


class AgentError(Exception):
    title = "The agent could not do this"
    code = "agent_error"
    status = 500

    def __init__(self, message: str, *, code: str | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        if status is not None:
            self.status = status


class BadRequest(AgentError):
    title = "The request is not valid"
    code = "bad_request"
    status = 400


class UnreadableView(BadRequest):
    title = "The photo of the screen cannot be read"
    code = "unreadable_image"


class Unauthorized(AgentError):
    title = "This device is not paired"
    code = "unauthorized"
    status = 401


class NotFound(AgentError):
    title = "There is no such thing"
    code = "not_found"
    status = 404


class ScreenUnavailable(AgentError):
    title = "The screen cannot be captured"
    code = "screen_unavailable"
    status = 503


class SegmentationFailed(AgentError):
    title = "The cut-out could not be made"
    code = "segmentation_failed"
    status = 502


class PasteFailed(AgentError):
    """``code`` is the machine-readable reason that ``/paste`` shows as ``reason``."""

    title = "The cut-out could not be pasted"
    code = "paste_failed"
    status = 502


class NoDriver(PasteFailed):
    code = "no_driver"
