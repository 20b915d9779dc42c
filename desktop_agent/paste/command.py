"""``python -m desktop_agent paste``: the agent's own paste, without a phone."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import click

from desktop_agent.errors import BadRequest
from desktop_agent.geometry import Placement, Point
from desktop_agent.paste.driver import RGBA, Landing

PASTE_SECONDS = 120.0


@click.command("paste")
@click.argument("cutout", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--at", required=True, metavar="X,Y", help="Where the cut-out's centre lands, in pixels of the virtual desktop."
)
@click.option("--scale", default=1.0, show_default=True, help="Screen pixels per cut-out pixel.")
@click.option("--rotation", default=0.0, show_default=True, help="Degrees clockwise.")
@click.option("--screen", default="auto", show_default=True, metavar="auto|virtual|FILE", help="What is pasted into.")
@click.option(
    "-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="Where a virtual screen's picture goes."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def paste(cutout: Path, at: str, scale: float, rotation: float, screen: str, out: Path | None, as_json: bool) -> None:
    """Paste CUTOUT into the window at X,Y. Exit code 1 and the reason when it failed."""
    from desktop_agent.board import BoardDriver, BoardStore
    from desktop_agent.home import home
    from desktop_agent.paste.registry import open_drivers
    from desktop_agent.runtime import find_running
    from desktop_agent.screen import PictureScreen, open_screen
    from desktop_agent.windows import window_at

    rgba = _read(cutout)
    placement = _placement(at, scale, rotation)
    source = open_screen(screen)
    if (out is not None) != isinstance(source, PictureScreen):
        raise BadRequest(
            "-o FILE belongs to a virtual screen, where it says where the picture goes: --screen FILE -o OUT."
        )
    if not any(monitor.rect.contains(placement.center) for monitor in source.monitors()):
        sizes = ", ".join(
            f"{rect.width} x {rect.height} at {rect.left},{rect.top}"
            for rect in (monitor.rect for monitor in source.monitors())
        )
        raise BadRequest(f"{at} is on no monitor ({sizes}): give a point inside one.", code="off_screen")
    with open_drivers(source, BoardStore(home() / "board")) as drivers:
        window = window_at(drivers.windows.stack(), placement.center)
        driver = drivers.choose(window)
        if isinstance(driver, BoardDriver) and find_running():
            landing = _by_the_agent(rgba, placement)  # whose page the board is
        else:
            landing = driver.paste(rgba, placement, window)
    if out is not None and isinstance(source, PictureScreen):
        source.save(out)
    answer = {
        "status": "pasted",
        "application": landing.application,
        "driver": landing.driver,
        "anchor": landing.anchor,
        "landing_error_px": landing.landing_error_px,
    }
    click.echo(json.dumps(answer) if as_json else f"Pasted into {landing.application} ({landing.driver}).")


def _by_the_agent(rgba: RGBA, placement: Placement) -> Landing:
    from desktop_agent.runtime import ask_running
    from server.images import encode_png

    clip = ask_running("/clips", picture=encode_png(rgba))["clip"]
    x, y = placement.center.external()
    place = {"x": x, "y": y, "scale": placement.scale, "rotation": placement.rotation}
    answer = ask_running("/desk/put", {"clip": clip, **place}, seconds=PASTE_SECONDS)
    return Landing(*(answer[field.name] for field in fields(Landing)))


def _read(path: Path) -> RGBA:
    from server.errors import BadInput
    from server.images import decode_rgba

    try:
        return decode_rgba(path.read_bytes())
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error.strerror}.") from error
    except BadInput as error:
        raise BadRequest(f"{path}: {error.message}", code=error.code) from error


def _placement(at: str, scale: float, rotation: float) -> Placement:
    try:
        x, y = (float(part) for part in at.split(","))
        return Placement(Point.from_external(x, y), scale, rotation)
    except ValueError:
        raise BadRequest("--at is X,Y in pixels; --scale is above zero.", code="bad_placement") from None
