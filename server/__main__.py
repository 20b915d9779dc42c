"""``python -m server``: serve, cut, models, weights, evaluate, train."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from server import registry
from server.app import Settings, create_app, parse_tap
from server.cutout import GLASS, MODES, Cutout, Stopwatch, cut
from server.engine import Engine, service, supervisor
from server.engine import device as devices
from server.errors import BadInput, BadOption, NoObject, ServerError
from server.evaluation.command import evaluate
from server.face import Face, face_options, keys_command
from server.images import Limits, decode, encode_png
from server.segmenter import Segmenter
from server.training.command import train_command
from server.weights.command import weights

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif"}
NO_OBJECT_EXIT = 3


@click.group(invoke_without_command=True)
@click.option(
    "--model", default=registry.DEFAULT_MODEL, show_default=True, help="Registry name ('python -m server models')."
)
@click.option("--weights", type=click.Path(path_type=Path), help="Weights file instead of the installed one.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--require-gpu", is_flag=True, help="Refuse to start without a CUDA device.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option("--supervise", is_flag=True, help="Start the server again when its process dies.")
@face_options
@click.pass_context
def main(
    context: click.Context,
    model: str,
    weights: Path | None,
    device: str,
    require_gpu: bool,
    host: str,
    port: int,
    supervise: bool,
    face: Face,
) -> None:
    """Cut objects out of photographs: a server, and the same on the command line."""
    if context.invoked_subcommand:
        return
    if require_gpu:
        devices.require_gpu()
        device = "cuda"
    try:
        if supervise:
            itself = [sys.executable, "-m", "server", *(option for option in sys.argv[1:] if option != "--supervise")]
            sys.exit(supervisor.supervise(itself, host, port))
        engine = Engine(model, weights=weights, device=device)
        settings = Settings(
            model=model,
            device=device,
            cut=engine.cut,
            ready=engine.ready,
            metrics=engine.metrics.registry,
            **face.settings(),
        )
        tls = face.tls()
        with face.around() as serves:

            def ready(bound_host: str, bound_port: int) -> None:
                where = face.describe(bound_host, bound_port)
                click.echo(f"Serving model '{model}' at {where} (POST /v1/cut); stop with Ctrl+C.")
                serves(bound_host, bound_port)

            service.serve(create_app(settings), engine, host, port, ready, tls)
    except OSError as error:
        raise click.ClickException(f"Cannot listen on {host}:{port} ({error}): choose another --port.") from error
    click.echo("Stopped.")


@main.command("cut")
@click.argument("source", metavar="IN")
@click.option("-o", "--out", required=True, help="File, folder, or - for standard output.")
@click.option("--model", default=registry.DEFAULT_MODEL, show_default=True)
@click.option("--weights", type=click.Path(path_type=Path))
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--tap", metavar="X,Y", help="Pixel of the upright image on the object that is meant.")
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default="object",
    show_default=True,
    help="ink: a drawing without its paper; sheet: the rectified paper.",
)
@click.option("--refine", is_flag=True, help="Spend more time on the boundary.")
@click.option("--matting", is_flag=True, help="Opacity of hair, fur and the like.")
@click.option("--glass", type=click.Choice(GLASS), default="auto", show_default=True, help="Keep glass transparent.")
@click.option("--post-process", is_flag=True, help="Sharpen and smooth the map.")
@click.option("--crop", is_flag=True, help="Crop to the object instead of keeping the photo's size.")
@click.option("--only-mask", is_flag=True, help="Write the 8-bit grey map instead of the cut-out.")
@click.option(
    "--bgcolor", metavar="COLOR", help="Lay the object on a colour (#rrggbb or a name) instead of transparency."
)
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON line an image on standard output (standard error with -o -)."
)
def cut_command(
    source: str,
    out: str,
    model: str,
    weights: Path | None,
    device: str,
    tap: str | None,
    mode: str,
    refine: bool,
    matting: bool,
    glass: str,
    post_process: bool,
    crop: bool,
    only_mask: bool,
    bgcolor: str | None,
    as_json: bool,
) -> None:
    """Cut the object out of IN: a file, a folder, or - for standard input.

    Exit code 3 when no object was found in a single picture; nothing is written then. In a folder each failure is reported and
    the rest goes on.
    """
    if only_mask and bgcolor:
        raise BadOption("--only-mask writes a grey map: leave out --bgcolor.")
    job = _Job(
        registry.load(model, weights=weights, device=device),
        {
            "tap": parse_tap(tap),
            "mode": mode,
            "refine": refine,
            "matting": matting,
            "glass": glass,
            "post_process": post_process,
        },
        crop,
        only_mask,
        _color(bgcolor),
        as_json,
        out == "-",
    )
    if source != "-" and Path(source).is_dir():
        sys.exit(job.folder(Path(source), Path(out)))
    sys.exit(job.single(source, out))


class _Job:
    """One call of ``cut`` with its options."""

    def __init__(
        self,
        segmenter: Segmenter,
        options: dict[str, Any],
        crop: bool,
        only_mask: bool,
        bgcolor: tuple[int, int, int] | None,
        as_json: bool,
        to_stdout: bool,
    ) -> None:
        self.segmenter, self.options, self.crop, self.only_mask, self.bgcolor = (
            segmenter,
            options,
            crop,
            only_mask,
            bgcolor,
        )
        self.as_json, self.to_stdout = as_json, to_stdout

    def single(self, source: str, out: str) -> int:
        data = sys.stdin.buffer.read(Limits.from_environment().max_bytes + 1) if source == "-" else _read(Path(source))
        try:
            encoded, summary = self.run(data)
        except NoObject as error:
            self.report(source, {"status": "no_object", "message": error.message}, error.message)
            return NO_OBJECT_EXIT
        if self.to_stdout:
            sys.stdout.buffer.write(encoded)
        else:
            _write(Path(out), encoded)
        self.report(source, summary, f"{source} -> {out}")
        return 0

    def folder(self, source: Path, out: Path) -> int:
        if self.to_stdout:
            raise BadOption("A folder needs a folder as output: give -o FOLDER.")
        pictures = sorted(path for path in source.iterdir() if path.suffix.lower() in PICTURES)
        if not pictures:
            raise BadInput(f"There are no pictures in {source}.")
        out.mkdir(parents=True, exist_ok=True)
        failed = 0
        for path in pictures:
            try:
                encoded, summary = self.run(_read(path))
                _write(out / f"{path.stem}.png", encoded)
                self.report(str(path), summary, f"{path} -> {out / f'{path.stem}.png'}")
            except ServerError as error:
                failed += 1
                status = "no_object" if isinstance(error, NoObject) else "failed"
                self.report(str(path), {"status": status, "message": error.message}, f"{path}: {error.message}")
        return 1 if failed == len(pictures) else 0

    def run(self, data: bytes) -> tuple[bytes, dict[str, Any]]:
        clock = Stopwatch()
        with clock.stage("decode"):
            image = decode(data)
        cutout = cut(image, self.segmenter, **self.options)
        with clock.stage("encode"):
            encoded = encode_png(self.pixels(cutout))
        summary = cutout.summary()
        summary["timings_ms"].update({name: round(ms, 1) for name, ms in clock.timings_ms.items()})
        return encoded, summary

    def pixels(self, cutout: Cutout) -> Any:
        if self.only_mask:
            return cutout.rgba[..., 3] if self.crop else cutout.mask()
        rgba = cutout.rgba if self.crop else cutout.full()
        if self.bgcolor is None:
            return rgba
        alpha = rgba[..., 3:].astype("float32") / 255
        return (rgba[..., :3] * alpha + (1 - alpha) * self.bgcolor + 0.5).astype("uint8")

    def report(self, source: str, summary: dict[str, Any], sentence: str) -> None:
        text = json.dumps({"image": source, **summary}) if self.as_json else sentence
        click.echo(text, err=self.to_stdout or (not self.as_json and summary["status"] != "ok"))


@main.command("models")
@click.option("--json", "as_json", is_flag=True)
def models_command(as_json: bool) -> None:
    """List the models: task, parameters, GMACs, input, state of the weights, licences, source."""
    rows = [
        {
            "name": model.name,
            "task": model.task,
            "parameters": model.parameters,
            "gmacs": model.gmacs,
            "input": model.input,
            "weights": model.weights(),
            "code_licence": model.code_licence,
            "weights_licence": model.weights_licence,
            "source": model.source,
            "default": model.name == registry.DEFAULT_MODEL,
        }
        for model in registry.models().values()
    ]
    if as_json:
        click.echo(json.dumps(rows))
        return
    for model in registry.models().values():
        size = f"{model.parameters / 1e6:.2f} M parameters" if model.parameters else "no parameters"
        macs = f", {model.gmacs:.2f} GMAC" if model.gmacs else ""
        click.echo(f"{model.name}{' (default)' if model.name == registry.DEFAULT_MODEL else ''}: {model.task}")
        click.echo(f"    {size}{macs}; input {model.input}; weights: {model.weights()}")
        click.echo(f"    code {model.code_licence}; weights {model.weights_licence}; {model.source}")


main.add_command(evaluate)
main.add_command(weights)
main.add_command(keys_command)
main.add_command(train_command)


def _color(text: str | None) -> tuple[int, int, int] | None:
    if text is None:
        return None
    from PIL import ImageColor

    try:
        return ImageColor.getrgb(text)[:3]
    except ValueError:
        raise BadOption(f"'{text}' is not a colour: give #rrggbb or a name such as white.") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from error


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".part")
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}.") from error


def run() -> None:
    """The entry point: an error of ours is one line and exit code 1."""
    try:
        main.main(prog_name="python -m server", standalone_mode=True)
    except ServerError as error:
        click.echo(f"Error: {error.message}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    run()
