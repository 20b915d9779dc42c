"""``python -m desktop_agent locate``: one view on one screenshot, or a batch of pairs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from desktop_agent.geometry import Rect
from desktop_agent.locate.localizer import Localizer
from desktop_agent.locate.location import Location, Refusal
from desktop_agent.screen import Monitor, Screenshot

RGB = NDArray[np.uint8]

REFUSED = 3


@click.command()
@click.argument("view", required=False, type=click.Path(path_type=Path))
@click.argument("screen", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a sentence.")
@click.option("--explain", type=click.Path(path_type=Path), metavar="OUT.png", help="Draw why, side by side.")
@click.option(
    "--batch",
    type=click.Path(path_type=Path),
    metavar="PAIRS.jsonl",
    help='Lines {"view": PATH, "screen": PATH}, answered in order.',
)
def locate(view: Path | None, screen: Path | None, as_json: bool, explain: Path | None, batch: Path | None) -> None:
    """Find where on the screenshot SCREEN the photograph VIEW points. Exit code 3 when that is refused."""
    localizer = Localizer()
    if batch is not None:
        if view is not None or explain is not None:
            raise click.UsageError("Give --batch alone, or VIEW and SCREEN.")
        for line in _lines(batch):
            click.echo(json.dumps(_answer_line(localizer, line)))
        return
    if view is None or screen is None:
        raise click.UsageError("Give VIEW and SCREEN, or --batch PAIRS.jsonl.")
    pictures = _read(view), _read(screen)
    location = _locate(localizer, *pictures)
    if explain is not None:
        _draw(explain, *pictures, location)
    answer = as_dict(location)
    click.echo(json.dumps(answer) if as_json else _sentence(answer))
    if location.status != "located":
        raise SystemExit(REFUSED)


def as_dict(location: Location) -> dict[str, Any]:
    """The result as it leaves the process: pixel centres at integers, null for what a refusal does not know."""
    x, y = location.point.external() if location.point else (None, None)
    return {
        "status": location.status,
        "x": x,
        "y": y,
        "scale": location.scale,
        "rotation": location.rotation,
        "confidence": location.confidence if location.point else None,
        "reason": location.reason.value if location.reason else None,
        "message": location.message,
        "stage": location.stage or None,
        "elapsed_ms": round(location.elapsed_ms, 2),
    }


def _lines(batch: Path) -> Iterator[str]:
    try:
        with click.open_file(str(batch), encoding="utf-8") as file:
            yield from (line for line in file if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(
            f"{batch} cannot be read ({error}): give a text file with one pair a line."
        ) from error


def _answer_line(localizer: Localizer, line: str) -> dict[str, Any]:
    """A line that is no pair, or whose pictures cannot be read, is refused like any other view; the rest goes on."""
    try:
        pair = json.loads(line)
        view, screen = Path(pair["view"]), Path(pair["screen"])
    except (ValueError, KeyError, TypeError):
        return as_dict(Location.refused(Refusal.UNREADABLE_IMAGE))
    answer = as_dict(_locate(localizer, _read(view), _read(screen)))
    return {"view": str(view), "screen": str(screen), **answer}


def _locate(localizer: Localizer, view: RGB | str, screen: RGB | str) -> Location:
    if isinstance(view, str):
        return replace(Location.refused(Refusal.UNREADABLE_IMAGE), message=view)
    if isinstance(screen, str):
        return replace(Location.refused(Refusal.UNREADABLE_IMAGE), message=screen)
    monitor = Monitor(1, Rect(0, 0, screen.shape[1], screen.shape[0]))
    return localizer.locate(view, [Screenshot(monitor, screen)])


def _read(path: Path) -> RGB | str:
    """The upright picture, or the sentence that says why there is none."""
    from server.errors import BadInput
    from server.images import decode

    try:
        return decode(path.read_bytes())
    except OSError as error:
        return f"{path} cannot be opened ({error.strerror}): check the path."
    except BadInput:
        return f"{path} is not a picture that can be read: give a JPEG, PNG or WebP file."


def _draw(path: Path, view: RGB | str, screen: RGB | str, location: Location) -> None:
    from desktop_agent.locate.explain import explain
    from server.images import encode_png

    if isinstance(view, str) or isinstance(screen, str):
        return  # the refusal says why
    try:
        path.write_bytes(encode_png(explain(view, screen, location)))
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written ({error}): choose another place.") from error


def _sentence(answer: dict[str, Any]) -> str:
    if answer["status"] != "located":
        return f"Refused ({answer['reason']}): {answer['message']}"
    return (
        f"Pixel {answer['x']:.2f}, {answer['y']:.2f}; {answer['scale']:.4f} screen pixels per view pixel, turned by "
        f"{answer['rotation']:.2f} degrees; confidence {answer['confidence']:.2f}."
    )
