"""The server's exceptions.

    ServerError                 anything the server reports; ``title``, ``code`` and ``status`` as the HTTP face shows them
    ├── BadInput                the caller's input cannot be used
    │   ├── UnreadableImage     not an image, truncated, or a type that is not read here
    │   ├── ImageTooLarge       more bytes or pixels than the limits allow
    │   ├── BadOption           an option is unknown or out of range
    │   └── FetchFailed         the picture at the given address cannot be had, or must not be fetched
    ├── Unauthorized            an API key is needed, or this one is not known
    ├── NoObject                nothing to cut was found in the picture
    ├── Busy                    more is waiting than can be done soon; ``retry_after`` says when to come back
    │   ├── TooLate             the deadline passed before the picture's turn came
    │   └── OutOfMemory         the device's memory does not suffice even for one picture
    ├── ClientGone              nobody waits for the answer any more
    ├── UnknownModel            no model of that name
    ├── ModelUnavailable        the model is known, but its weights or an extra are not installed
    ├── BadWeights              a weights file is damaged, unsafe or another network's
    └── DeviceUnavailable       the device that was asked for is not there

Every message says what to do next.
"""

from __future__ import annotations


class ServerError(Exception):
    title = "The server could not do this"
    code = "server_error"
    status = 500
    retry_after: int | None = None
    """Seconds after which trying again makes sense; goes into the ``Retry-After`` header."""

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class BadInput(ServerError):
    title = "The input cannot be used"
    code = "bad_input"
    status = 400


class UnreadableImage(BadInput):
    title = "The image cannot be read"
    code = "unreadable_image"


class ImageTooLarge(BadInput):
    title = "The image is too large"
    code = "image_too_large"
    status = 413


class BadOption(BadInput):
    title = "An option is not valid"
    code = "bad_option"


class FetchFailed(BadInput):
    title = "The picture could not be fetched"
    code = "fetch_failed"


class Unauthorized(ServerError):
    title = "An API key is needed"
    code = "auth_failed"
    status = 401


class NoObject(ServerError):
    title = "No object was found"
    code = "no_object"
    status = 422


class UnknownModel(BadInput):
    title = "There is no such model"
    code = "unknown_model"


class ModelUnavailable(ServerError):
    title = "The model is not installed"
    code = "model_unavailable"
    status = 503


class BadWeights(ServerError):
    title = "The weights file cannot be used"
    code = "bad_weights"
    status = 400


class DeviceUnavailable(ServerError):
    title = "The device is not available"
    code = "device_unavailable"
    status = 503


class Busy(ServerError):
    title = "The server is busy"
    code = "busy"
    status = 503
    retry_after = 1

    def __init__(self, message: str, *, code: str | None = None, retry_after: int = 1) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class TooLate(Busy):
    code = "deadline_exceeded"


class OutOfMemory(Busy):
    title = "The device is out of memory"
    code = "out_of_memory"


class ClientGone(ServerError):
    title = "The client left"
    code = "client_closed_request"
    status = 499
