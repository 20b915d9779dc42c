"""One model, from its network to a proven file with its card."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from export import converting, fitness, folding, memory, networks, parity, pictures, quantising, running
from export.card import card
from export.errors import ConversionFailed, NotEqual, QualityLost
from export.glass import lean
from export.graphs import graph_of
from export.packages import compact_package
from export.refinement import gathered, has_points
from export.rewriting import flat_resizes
from export.targets import Target, check_choice, file_name
from export.upsampling import early
from export.writing import digests, size_of, whole_or_nothing

if TYPE_CHECKING:
    from server.evaluation.dataset import Dataset

PROOF_PICTURES = 2
PRECISELY = 20.0
"""Networks of fewer GMAC are evaluated in float64 within operations, on all proof pictures; the larger ones would take minutes."""
LOST_SHARE = 0.005
"""Of weighted F: a smaller file that loses more is not offered."""
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """``pictures``: a folder that calibrates and proves; ``validate``: pictures with masks that score."""

    weights: Path | None = None
    random_weights: bool = False
    pictures: Path | None = None
    validate: Dataset | None = None
    limit: int = 100
    allow_worse: bool = False


@dataclass(frozen=True)
class Exported:
    """A written file. ``quality``: weighted F of the float32 network and of the file, where pictures with masks were given."""

    target: Target
    size: int
    format: str
    precision: str
    path: Path
    bytes: int
    parity: parity.Parity
    fitness: fitness.Fitness
    trained: bool
    licence: str
    quality: tuple[float, float] | None = None
    pictures: int = 0
    milliseconds: float | None = None
    metadata: dict[str, str] = field(default_factory=dict)


def exact(graph: Any, feeds: list[tuple[Any, ...]]) -> list[NDArray[np.float32]]:
    """The network's maps in float64, which no rounding of torch's own blurs; where it insists on float32 it keeps that."""
    import copy

    import torch

    precise = copy.deepcopy(graph).double()
    with torch.inference_mode():
        return [precise(*(tensor.double() for tensor in feed)).float().numpy() for feed in feeds]


class Exporter:
    """A model's network, captured once for all its formats and precisions."""

    def __init__(
        self, target: Target, size: int | None, options: Options, progress: Progress = lambda line: None
    ) -> None:
        converting.require_tools()
        self.target, self.options, self.progress = target, options, progress
        self.size = check_choice(target, "onnx", "fp32", size)
        memory.require(target)
        parts, self.weights = networks.load(target, options.weights, options.random_weights)
        progress(f"{target.name}: network built")
        self._prepare(graph_of(target, parts, self.size))

    def _prepare(self, graph: Any) -> None:
        import torch

        files = pictures.folder(self.options.pictures)
        self.feeds = pictures.feeds(self.target, self.size, pictures.views(files))
        proofs = PROOF_PICTURES if self.target.gmacs < PRECISELY else 1
        given = [tuple(torch.from_numpy(array) for array in feed.values()) for feed in self.feeds[:proofs]]
        if not self.weights.trained:
            folding.settle(graph, given)
        self.expected = exact(graph, given)
        self.graph = graph
        self.inputs = converting.example(self.target, self.size)
        self._folded = lean(folding.folded(graph, self.inputs))

    @cached_property
    def program(self) -> Any:
        self.progress(f"{self.target.name}: capturing the network")
        return converting.captured(self._folded, self.inputs)

    @cached_property
    def onnx_fp32(self) -> Any:
        self.progress(f"{self.target.name}: converting to ONNX")
        import copy

        if not has_points(self._folded):
            return converting.to_onnx(self.program, self.inputs)
        program = converting.captured(early(gathered(copy.deepcopy(self._folded))), self.inputs)
        model = converting.to_onnx(program, self.inputs)
        flat_resizes(model)
        return model

    @cached_property
    def coreml_fp16(self) -> Any:
        self.progress(f"{self.target.name}: converting to CoreML in half precision")
        return converting.to_coreml(self.program, self.inputs, half=True)

    def export(self, format_: str, precision: str, folder: Path) -> Exported:
        """Write the file, its card and its SHA-256 into ``folder``, all or nothing.

        Raises ``BadChoice``, ``ConversionFailed``, ``NotEqual``, ``QualityLost`` or ``CannotWrite``.
        """
        check_choice(self.target, format_, precision, self.size)
        name = file_name(self.target, self.size, format_, precision)
        with whole_or_nothing(folder) as partial:
            path = partial / name
            metadata = self._metadata(format_, precision)
            if format_ == "onnx":
                self._write_onnx(precision, path, metadata)
            else:
                self._write_coreml(precision, path, metadata)
            done = self._proven(format_, precision, path, metadata)
            sums = digests(path)
            path.with_name(f"{name}.sha256").write_text(sums, encoding="utf-8")
            path.with_name(f"{name}.md").write_text(card(done, sums), encoding="utf-8")
        return Exported(**{**done.__dict__, "path": folder / name})

    def _write_onnx(self, precision: str, path: Path, metadata: dict[str, str]) -> None:
        import copy

        import onnx

        model = {
            "fp32": lambda: copy.deepcopy(self.onnx_fp32),
            "fp16": lambda: converting.half_onnx(self.onnx_fp32),
            "int8": lambda: self._int8_onnx(metadata),
        }[precision]()
        converting.compact(model)
        onnx.helper.set_model_props(model, metadata)
        model.producer_name, model.producer_version = "ar-copy-paste", metadata["version"]
        model.doc_string = metadata["description"]
        path.write_bytes(model.SerializeToString())  # onnx.save hides the reason when a disk is full

    def _int8_onnx(self, metadata: dict[str, str]) -> Any:
        feeds = quantising.calibrating(self.feeds, self.target.gmacs)
        metadata["calibration"] = f"{len(feeds)} pictures"
        self.progress(f"{self.target.name}: calibrating on {metadata['calibration']}")
        return quantising.int8_onnx(self.onnx_fp32, feeds)

    def _write_coreml(self, precision: str, path: Path, metadata: dict[str, str]) -> None:
        if precision == "fp32":
            self.progress(f"{self.target.name}: converting to CoreML")
            model = converting.to_coreml(self.program, self.inputs, half=False)
        else:
            compress = {"int8": quantising.int8_coreml, "palette6": quantising.palette_coreml}.get(precision)
            model = compress(self.coreml_fp16) if compress else self.coreml_fp16
        model.author, model.license = metadata["author"], metadata["licence"]
        model.version, model.short_description = metadata["version"], metadata["description"]
        model.input_description[converting.IMAGE] = metadata["input"]
        if self.target.with_mask:
            model.input_description[converting.MASK_IN] = metadata["mask"]
        model.output_description[converting.MASK] = metadata["output"]
        for key, value in metadata.items():
            model.user_defined_metadata[key] = value
        try:
            with converting.quiet():
                model.save(str(path))
            compact_package(path)
        except OSError:
            raise
        except Exception as error:  # coremltools' writers of files raise errors without a common base
            raise ConversionFailed(
                f"The package could not be written ({converting.reason_of(error)}). Nothing was kept: make room, and try again."
            ) from error

    def _proven(self, format_: str, precision: str, path: Path, metadata: dict[str, str]) -> Exported:
        self.progress(f"{path.name}: comparing with the network")
        runner: running.Runner = (
            running.OnnxRunner(path)
            if format_ == "onnx"
            else running.CoreMLRunner(path, precise=precision == "fp32" and self.target.gmacs < PRECISELY)
        )
        measured = parity.compare([runner.run(feed) for feed in self.feeds[: len(self.expected)]], self.expected)
        rounded = 0.0 if self.weights.trained or precision != "fp16" else self._rounded_logits
        wrong = parity.failure(
            measured,
            precision,
            selects=self.target.selects,
            trained=self.weights.trained,
            rounded=rounded,
            own=self._own_float32,
        )
        if wrong:
            raise NotEqual(
                f"{path.name} does not compute what the network computes ({wrong}). Nothing was written: "
                "export it at another precision, or report this."
            )
        quality, count = self._quality(runner, precision)
        milliseconds = None
        if isinstance(runner, running.OnnxRunner):
            from export.bench import latency

            milliseconds = latency(runner.session, self.feeds[0], seconds=0.3)
        fit = fitness.check(path)
        return Exported(
            self.target, self.size, format_, precision, path, size_of(path), measured, fit, self.weights.trained,
            self.weights.licence, quality, count, milliseconds, metadata,
        )  # fmt: skip

    def _quality(self, runner: running.Runner, precision: str) -> tuple[tuple[float, float] | None, int]:
        dataset = self.options.validate
        if dataset is None or self.target.fit != "squeeze":
            return None, 0
        before, count = self._reference_quality
        self.progress(f"{self.target.name}: scoring {count} pictures")
        after = _weighted_f(runner, self.size, self.target.name, dataset, self.options.limit)[0]
        if before - after > LOST_SHARE * before and not self.options.allow_worse:
            raise QualityLost(
                f"{self.target.name} in {precision} falls from {before:.4f} to {after:.4f} weighted F on {count} pictures, more "
                f"than {100 * LOST_SHARE:g} %. Nothing was written: use fp16, or insist with --allow-worse."
            )
        return (before, after), count

    def _own_float32(self) -> parity.Parity:
        network = running.TorchRunner(self.graph)
        return parity.compare([network.run(feed) for feed in self.feeds[: len(self.expected)]], self.expected)

    @cached_property
    def _rounded_logits(self) -> float:
        import copy

        rounded = running.TorchRunner(copy.deepcopy(self._folded).half().float())
        maps = [rounded.run(feed) for feed in self.feeds[: len(self.expected)]]
        return parity.compare(maps, self.expected).logits

    @cached_property
    def _reference_quality(self) -> tuple[float, int]:
        assert self.options.validate is not None
        self.progress(f"{self.target.name}: scoring the network itself")
        reference = running.TorchRunner(self.graph)
        return _weighted_f(reference, self.size, self.target.name, self.options.validate, self.options.limit)

    def _metadata(self, format_: str, precision: str) -> dict[str, str]:
        target, side = self.target, self.size
        layout = "an RGB image" if format_ == "coreml" else f"float32 1x3x{side}x{side}, RGB"
        described = {
            "model": target.name,
            "author": "the AR copy & paste developers",
            "licence": f"code: MIT; weights: {self.weights.licence}",
            "version": _version(),
            "description": f"{target.name}: {target.task}" + ("" if self.weights.trained else f". {networks.MADE_UP}"),
            "input": f"image: {layout} in 0..255, {side} x {side} pixels; normalisation is inside",
            "output": f"result: float32 1x1x{side}x{side} in [0, 1], {target.output}",
            "classes": "0: background, 1: the object",
            "size": str(side),
            "fit": target.fit,
            "precision": precision,
            "weights": "; ".join(f"{name} {digest}" for name, digest in self.weights.files.items()) or "random",
            "source_commit": _commit(),
        }
        if target.with_mask:
            described["mask"] = f"mask: float32 1x1x{side}x{side} in [0, 1], the coarse mask of the same pixels"
        return described


def _weighted_f(runner: running.Runner, size: int, name: str, dataset: Dataset, limit: int) -> tuple[float, int]:
    from server.evaluation.runner import evaluate

    report = evaluate(running.ExportedSegmenter(runner, size, name), dataset, limit=limit)
    return report.figures["weighted_f"].value, len(report.scores)


def _version() -> str:
    try:
        return version("ar-copy-paste")
    except PackageNotFoundError:
        return "unknown"


def _commit() -> str:
    """Of the checkout that this code is in, where it is one."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return f"release {_version()}"
    asked = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "unknown"
