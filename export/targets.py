"""What can be exported, without building it: inputs, output, sizes, formats. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from export.errors import BadChoice, UnknownTarget
from server.networks.catalogue import NETWORKS
from server.predictors import networks_of

FORMATS = ("onnx", "coreml")
PRECISIONS = ("fp32", "fp16", "int8", "palette6")
SUFFIXES = {"onnx": ".onnx", "coreml": ".mlpackage"}

LARGEST_ON_A_PHONE = 110_000_000
"""Parameters: 220 MB in fp16, about what a phone's model loader takes without being killed."""


@dataclass(frozen=True)
class Target:
    """One exportable model. ``sizes`` are the input sides it can be made in, the first is the default.

    ``graph`` names the class in ``export.graphs``. ``with_mask``: a second input, the coarse mask. ``selects``: the network
    makes a discrete choice (a top-k, or the larger of two classes), so that rounding may move single cells. ``not_on_phones`` is
    why it is not made for CoreML, empty where it is.
    """

    name: str
    graph: str
    task: str
    output: str
    sizes: tuple[int, ...]
    fit: str = "squeeze"
    with_mask: bool = False
    selects: bool = False
    not_on_phones: str = ""

    @property
    def networks(self) -> tuple[str, ...]:
        """Names in the catalogue."""
        return networks_of(self.name)

    @property
    def parameters(self) -> int:
        return sum(NETWORKS[name].parameters for name in self.networks)

    @property
    def gmacs(self) -> float:
        return sum(NETWORKS[name].gmacs or 0.0 for name in self.networks)

    @property
    def formats(self) -> tuple[str, ...]:
        return ("onnx",) if self.not_on_phones else FORMATS


_OBJECT = "probability that the pixel belongs to the main object"
_GLASS = "share of glass in the two scores of the pixel: above 0.5 where the network says glass"
_ALPHA = "opacity (alpha matte) of the person or animal"


def _too_large(name: str) -> str:
    millions = sum(NETWORKS[part].parameters for part in networks_of(name)) / 1e6
    if millions * 1e6 <= LARGEST_ON_A_PHONE:
        return ""
    return f"{millions:.0f} M parameters, {2 * millions:.0f} MB in fp16: more than a phone should load"


def _meticulous() -> list[Target]:
    targets = []
    for name in ("mobile-meticulousnet", "lite0-meticulousnet", "meticulousnet"):
        too_large = _too_large(name)
        targets += [
            Target(f"{name}-l", "MeticulousLow", "objects, fine boundaries", _OBJECT, (336, 224, 448), selects=True),
            Target(
                f"{name}-h",
                "MeticulousHigh",
                "sharpens a coarse mask, tile by tile",
                _OBJECT,
                (224, 336, 448),
                fit="tile",
                with_mask=True,
                selects=True,
            ),
            Target(
                name,
                "MeticulousPipeline",
                "objects, fine boundaries: L and H in one file",
                _OBJECT,
                (416, 320, 512),
                selects=True,
                not_on_phones=too_large,
            ),
        ]
    return targets


def _gfm() -> list[Target]:
    return [
        Target(
            name,
            "Matting",
            "people and animals, alpha matte",
            _ALPHA,
            (320, 256, 512),
            selects=True,
            not_on_phones=_too_large(name),
        )
        for name in NETWORKS
        if name.startswith("gfm-")
    ]


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("lite", "Lite", "objects, the embedded default", _OBJECT, (256, 224, 320, 384)),
        *_meticulous(),
        Target("gem-tiny", "Glass", "glass", _GLASS, (384, 320, 512), selects=True),
        Target("gem-base", "Glass", "glass", _GLASS, (384,), selects=True),
        Target("basnet", "Saliency", "salient and camouflaged objects", _OBJECT, (256, 320)),
        Target("pgsnet", "ImageNetFirst", "glass", _GLASS, (352, 256), not_on_phones=_too_large("pgsnet")),
        *_gfm(),
    )
}


def find(name: str) -> Target:
    """Raises ``UnknownTarget`` with the nearest names."""
    if name not in TARGETS:
        near = get_close_matches(name, TARGETS, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "'python -m export list' shows the models."
        raise UnknownTarget(f"There is no model '{name}' to export: {hint}")
    return TARGETS[name]


def check_choice(target: Target, format_: str, precision: str, size: int | None = None) -> int:
    """The input side to use. Raises ``BadChoice`` for what this model is not made in."""
    if format_ not in FORMATS:
        raise BadChoice(f"'{format_}' is not a format: use {' or '.join(FORMATS)}.")
    if format_ not in target.formats:
        raise BadChoice(f"'{target.name}' is not made for CoreML ({target.not_on_phones}): use --format onnx.")
    if precision not in PRECISIONS:
        raise BadChoice(f"'{precision}' is not a precision: use {', '.join(PRECISIONS)}.")
    if format_ == "onnx" and precision == "palette6":
        raise BadChoice("ONNX has no palettes: use --precision int8, or --format coreml.")
    if size is None:
        return target.sizes[0]
    if size not in target.sizes:
        sizes = ", ".join(map(str, target.sizes))
        raise BadChoice(f"'{target.name}' is made for pictures of {sizes} px, not {size}: choose one with --size.")
    return size


def file_name(target: Target, size: int, format_: str, precision: str) -> str:
    return f"{target.name}-{size}-{precision}{SUFFIXES[format_]}"
