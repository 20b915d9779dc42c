"""The server's exceptions.

    ServerError                 anything the server reports; ``title``, ``code`` and ``status`` as the HTTP face shows them
    ├── BadInput                the caller's input cannot be used
    │   ├── UnreadableImage     not an image, truncated, or a type that is not read here
    │   ├── ImageTooLarge       more bytes or pixels than the limits allow
    │   └── BadOption           an option is unknown or out of range
    ├── NoObject                nothing to cut was found in the picture
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
