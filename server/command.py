"""How a command of ours ends: an error that we know is one line on stderr and exit code 1."""

from __future__ import annotations

import sys

import click

from server.errors import ServerError


def run(command: click.Command, name: str | None = None) -> None:
    """Run ``command`` on ``sys.argv``; ``name`` is how its help calls it."""
    try:
        command.main(prog_name=name, standalone_mode=True)
    except ServerError as error:
        click.echo(f"Error: {error.message}", err=True)
        sys.exit(1)
