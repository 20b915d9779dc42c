"""``python -m server``: serve, cut, models, weights, evaluate, train."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from server import command, registry
from server.cutout import GLASS, MODES
from server.errors import BadOption
from server.evaluation.command import evaluate
from server.face import Face, face_options, keys_command
from server.folder import cut_folder, watch_folder
from server.heap import share_heap
from server.job import Job, parse_bgcolor, parse_size
from server.selection import parse_tap
from server.training.command import train_command
from server.weights.command import weights


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
    from server.app import Settings, create_app
    from server.engine import Engine, service, supervisor
    from server.engine import device as devices

    if require_gpu:
        devices.require_gpu()
        device = "cuda"
    try:
        if supervise:
            itself = [sys.executable, "-m", "server", *(option for option in sys.argv[1:] if option != "--supervise")]
            sys.exit(supervisor.supervise(itself, host, port))
        asked, tls = face.settings(), face.tls()
        with Engine(model, weights=weights, device=device) as engine, face.around() as serves:
            settings = Settings(
                model=model, device=device, cut=engine.cut, ready=engine.ready, metrics=engine.metrics.registry, **asked
            )

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
@click.option(
    "-o",
    "--out",
    required=True,
    help="File (.png, .webp, or .jpg on white), folder, or - for standard output.",
)
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
@click.option("--watch", is_flag=True, help="Of a folder also the pictures that arrive later, until Ctrl+C.")
@click.option(
    "--frames", metavar="WxH", help="IN is a stream of raw RGB frames of this size (ffmpeg's rawvideo, rgb24)."
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
    watch: bool,
    frames: str | None,
    as_json: bool,
) -> None:
    """Cut the object out of IN: a file, a folder, or - for standard input.

    Exit code 3 when no object was found in a single picture; nothing is written then. In a folder each failure is reported and
    the rest goes on.
    """
    if only_mask and bgcolor:
        raise BadOption("--only-mask writes a grey map: leave out --bgcolor.")
    is_folder = source != "-" and Path(source).is_dir()
    if watch and not is_folder:
        raise BadOption("--watch needs a folder as IN.")
    if frames and is_folder:
        raise BadOption("--frames needs a file or - as IN.")
    size = parse_size(frames)
    share_heap()
    job = Job(
        registry.load(model, weights=weights, device=device),
        {
            "tap": parse_tap(tap),
            "mode": mode,
            "refine": refine,
            "matting": matting,
            "glass": glass,
            "post_process": post_process,
            "colours": not only_mask,
        },
        crop,
        only_mask,
        parse_bgcolor(bgcolor),
        as_json,
        out == "-",
    )
    if is_folder:
        sys.exit((watch_folder if watch else cut_folder)(job, Path(source), Path(out)))
    sys.exit(job.frames(source, out, size) if size else job.single(source, out))


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


def run() -> None:
    """The entry point: an error of ours is one line and exit code 1."""
    command.run(main, "python -m server")


if __name__ == "__main__":
    run()
