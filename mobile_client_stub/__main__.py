"""``python -m mobile_client_stub``: the phone on the command line: pair, copy, paste, demo."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from mobile_client_stub.client import AgentClient, PhoneError, pair, pairing_for, remember

REFUSED_EXIT = 3


@click.group()
def main() -> None:
    """A phone in Python, and the demo."""


@main.command("pair")
@click.argument("url")
@click.option("--name", default="Python client", show_default=True, help="How the computer lists this client.")
def pair_command(url: str, name: str) -> None:
    """Pair with the agent at the address that it shows."""
    pairing = pair(url, name)
    remember(pairing)
    click.echo(f"Paired with {pairing.url}.")


@main.command("copy")
@click.argument("photo", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o", "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Where the cut-out goes (PNG)."
)
@click.option("--tap", metavar="X,Y", help="Pixel of the upright photo on the object that is meant.")
@click.option("--model", help="Registry name of the model.")
@click.option("--agent", metavar="URL", help="The agent (default: the one on this computer).")
def copy_command(photo: Path, out: Path, tap: str | None, model: str | None, agent: str | None) -> None:
    """Cut the object out of PHOTO."""
    with AgentClient(pairing_for(agent)) as client:
        copied = client.copy(photo.read_bytes(), tap=_tap(tap), model=model)
    try:
        out.write_bytes(copied.png)
    except OSError as error:
        raise PhoneError(
            f"{out} cannot be written ({error.strerror}); the computer keeps the cut-out: 'python -m desktop_agent clips' there."
        ) from error
    click.echo(
        json.dumps({"clip": copied.clip, "box": copied.box, "image_size": copied.image_size, "score": copied.score})
    )


@main.command("paste")
@click.argument("view", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--cutout", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The cut-out (PNG)."
)
@click.option("--agent", metavar="URL", help="The agent (default: the one on this computer).")
def paste_command(view: Path, cutout: Path, agent: str | None) -> None:
    """Paste CUTOUT where VIEW, a photo of the screen, points. Exit code 3 when refused, 1 when failed."""
    with AgentClient(pairing_for(agent)) as client:
        answer = client.paste(view.read_bytes(), client.add_clip(cutout.read_bytes()))
    click.echo(json.dumps(answer))
    sys.exit({"pasted": 0, "failed": 1}.get(answer["status"], REFUSED_EXIT))


@main.command("demo")
@click.option("--out", default="demo/out", show_default=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1, 1000), help="How many simulated views.")
def demo_command(out: Path, seeds: int) -> None:
    """The whole story with a simulated phone: photo, cut-out, view, location, paste; measured against the camera's truth."""
    from mobile_client_stub.demo import Run, run_demo

    def tell(run: Run) -> None:
        if run.landing_error_px is None:
            click.echo(f"{run.seed:4d}  {run.status:8s} ({run.reason})")
            return
        click.echo(
            f"{run.seed:4d}  {run.status:8s} {run.landing_error_px:9.2f} px {run.scale_error_percent:11.2f} % "
            f"{run.rotation_error_deg:12.2f} deg {run.copy_s:6.2f} s {run.paste_s:6.2f} s"
        )

    click.echo("seed  status   landing error   scale error   rotation error   copy     paste")
    report = run_demo(out, seeds, tell=tell)
    if report["landing_error_px_median"] is not None:
        click.echo(
            f"median landing error: {report['landing_error_px_median']:.2f} px over {report['pasted']} of {seeds} views"
        )
    click.echo(f"pictures and report.json are in {out}")
    sys.exit(0 if report["pasted"] == seeds else 1)


@main.command("web-assets")
def web_assets_command() -> None:
    """Get onnxruntime-web (33 MB, through npm), with which the page can cut on the phone itself."""
    from mobile_client_stub.web_assets import web_assets

    click.echo(f"{web_assets()}: the page's settings now offer 'Cut on this phone'.")


def _tap(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise PhoneError("--tap is X,Y in pixels of the photo.") from None
    return x, y


def run() -> None:
    """The entry point: an error of ours is one line and exit code 1."""
    try:
        main.main(prog_name="python -m mobile_client_stub", standalone_mode=True)
    except PhoneError as error:
        click.echo(f"Error: {error.message}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    run()
