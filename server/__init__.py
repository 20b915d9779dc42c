"""The segmentation server: a photograph goes in, a cut-out comes out.

>>> from server import cut, decode, load
>>> cutout = cut(decode(Path("photo.jpg").read_bytes()), load("grabcut"), tap=(320, 240))
>>> Path("cutout.png").write_bytes(encode_png(cutout.rgba))
"""

from server.cutout import Box, Cutout, cut
from server.errors import (
    BadInput,
    BadOption,
    BadWeights,
    DeviceUnavailable,
    ImageTooLarge,
    ModelUnavailable,
    NoObject,
    ServerError,
    UnknownModel,
    UnreadableImage,
)
from server.images import Limits, decode, decode_rgba, encode_jpeg, encode_png
from server.registry import DEFAULT_MODEL, load, models
from server.segmenter import Segmenter

__all__ = [
    "DEFAULT_MODEL",
    "BadInput",
    "BadOption",
    "BadWeights",
    "Box",
    "Cutout",
    "DeviceUnavailable",
    "ImageTooLarge",
    "Limits",
    "ModelUnavailable",
    "NoObject",
    "Segmenter",
    "ServerError",
    "UnknownModel",
    "UnreadableImage",
    "cut",
    "decode",
    "decode_rgba",
    "encode_jpeg",
    "encode_png",
    "load",
    "models",
]
