"""The model card that lies beside every exported file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from export import networks
from export.snippets import snippets
from server.networks.catalogue import NETWORKS

if TYPE_CHECKING:
    from export.exporting import Exported

_FORMATS = {"onnx": "ONNX, for onnxruntime and onnxruntime-web", "coreml": "CoreML package, for iOS 16 and later"}
_PROOFS = {"onnx": "onnxruntime", "coreml": "the package's MIL program, evaluated in torch (not Apple's runtime)"}


def card(done: Exported, sums: str) -> str:
    """Markdown: what the file is, how it was proven, how it is used."""
    target, side = done.target, done.size
    calibrated = done.metadata.get("calibration", "")
    sections = [f"# {done.path.name}", ""]
    if not done.trained:
        sections += [f"> **{networks.MADE_UP}.** Its maps mean nothing.", ""]
    rows = {
        "Model": f"`{target.name}`: {target.task}",
        "Source": "; ".join(dict.fromkeys(NETWORKS[name].source for name in target.networks)),
        "Format": _FORMATS[done.format] + f" ({done.fitness.kind.split(', ')[1]})",
        "Precision": done.precision + (f", calibrated on {calibrated}" if calibrated else ""),
        "Size": f"{done.bytes / 1e6:.2f} MB, {target.parameters:,} parameters",
        "Licence": f"code: MIT; weights: {done.licence}",
        "Source commit": done.metadata["source_commit"],
        "Input": done.metadata["input"] + (f". {done.metadata['mask']}" if target.with_mask else ""),
        "Output": done.metadata["output"],
        "Other sizes": ", ".join(str(other) for other in target.sizes if other != side) or "none",
    }
    sections += ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items()), ""]
    sections += [
        "## Proof",
        "",
        *_proof(done),
        "",
        "## On a phone",
        "",
        *(f"- {line}" for line in done.fitness.lines()),
        "",
    ]
    sections += [
        "## Use",
        "",
        _left_to_do(done),
        "",
        *snippets(done),
        "",
        "## SHA-256",
        "",
        "```",
        sums.rstrip(),
        "```",
        "",
    ]
    return "\n".join(sections)


def _proof(done: Exported) -> list[str]:
    measured = done.parity
    lines = [
        f"Against the network in torch, by {_PROOFS[done.format]}: largest difference of the map {measured.largest:.1e}, mean "
        f"{measured.mean:.1e}, {100 * measured.flipped:.3f} % of pixels change sides at 0.5."
    ]
    if done.quality:
        before, after = done.quality
        lines.append(
            f"Weighted F on {done.pictures} validation pictures: {before:.4f} as a network, {after:.4f} as this file."
        )
    else:
        lines.append("Not scored on validation pictures (`--validate DIR` does it).")
    return lines


def _left_to_do(done: Exported) -> str:
    if done.target.fit == "tile":
        return (
            f"Before: cut the picture and the coarse mask, at the picture's resolution, into tiles of {done.size} px that overlap; "
            "tiles that are all object or all background need not be sharpened. After: average where tiles overlap, without "
            "the outer 16 px of a tile inside the picture."
        )
    return (
        f"Before: squeeze the picture to {done.size} x {done.size} (its aspect is not kept), RGB, values 0 to 255. After: "
        "stretch the map bilinearly to the picture's size; it is the cut-out's alpha, or compare it with 0.5."
    )
