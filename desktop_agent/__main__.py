"""``python -m desktop_agent``: run the agent; pair, locate, paste, doctor, devices, clips."""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
import webbrowser
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from desktop_agent import doctor
from desktop_agent.clips import ClipStore
from desktop_agent.devices import DeviceStore
from desktop_agent.errors import AgentError
from desktop_agent.home import home
from desktop_agent.locate.command import locate
from desktop_agent.paste.command import paste
from desktop_agent.screen import PictureScreen

if TYPE_CHECKING:
    from desktop_agent.pairing import Invitation
    from desktop_agent.runtime import Running


@click.group(invoke_without_command=True)
@click.option(
    "--server",
    metavar="URL",
    help="Segmentation server instead of the embedded model; basnet+http://... for a basnet-http.",
)
@click.option("--server-key", metavar="KEY", help="Its API key.", envvar="ARCP_SERVER_KEY")
@click.option("--host", default="0.0.0.0", show_default=True, help="Address on which phones are served (https).")
@click.option(
    "--port",
    default=8765,
    show_default=True,
    type=click.IntRange(0, 65534),
    help="Loopback port; phones use the next one.",
)
@click.option("--name", default=socket.gethostname(), help="How the phone names this computer.")
@click.option("--no-lan", is_flag=True, help="Loopback only.")
@click.option(
    "--screen",
    default="auto",
    show_default=True,
    metavar="auto|virtual|FILE",
    help="What is looked at and pasted into.",
)
@click.option("--cert", type=click.Path(exists=True, path_type=Path), help="Your own certificate (PEM).")
@click.option("--key", type=click.Path(exists=True, path_type=Path), help="Its private key (PEM).")
@click.option(
    "--legacy-client",
    metavar="ADDRESS",
    help="Also answer the 2020 prototype's app, over plain http on port 8080, at this phone's address alone.",
)
@click.option(
    "--ask-first/--paste-at-once",
    default=None,
    help="Ask on this computer before each paste (kept; the computer's window has it too).",
)
@click.option("--no-browser", is_flag=True, help="Do not open the board.")
@click.option(
    "--ghost/--no-ghost",
    default=True,
    show_default=True,
    envvar="ARCP_GHOST",
    help="While a phone aims, show where its cut-out would land.",
)
@click.option(
    "--markers/--no-markers",
    default=True,
    show_default=True,
    envvar="ARCP_MARKERS",
    help="Show markers for a moment where a view cannot be recognised and the phone asks for them.",
)
@click.pass_context
def main(
    context: click.Context,
    server: str | None,
    server_key: str | None,
    host: str,
    port: int,
    name: str,
    no_lan: bool,
    screen: str,
    cert: Path | None,
    key: Path | None,
    legacy_client: str | None,
    ask_first: bool | None,
    no_browser: bool,
    ghost: bool,
    markers: bool,
) -> None:
    """The desktop agent: finds where a phone points on this computer's screen and pastes cut-outs there."""
    if context.invoked_subcommand:
        return
    from desktop_agent.runtime import Options, running

    if (cert is None) != (key is None):
        raise AgentError("Give --cert and --key together.")
    if not server:
        from server.heap import share_heap

        share_heap()
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # logging out ends it as Ctrl+C does: nothing stays announced
    shown = {"ghost": ghost, "markers": markers}
    options = Options(server, server_key, host, port, name, not no_lan, screen, cert, key, legacy_client, **shown)
    try:
        with running(options) as agent:
            click.echo(
                f"Agent at {agent.url} (board: {agent.url}/board); cutting with {agent.agent.segmentation.name}. Stop with Ctrl+C."
            )
            if agent.legacy_port:
                click.echo(
                    f"The old app at {legacy_client} is answered without encryption on port {agent.legacy_port}."
                )
            _ask_here(agent, ask_first, no_browser)
            _serve_phones(agent, no_browser)
    except KeyboardInterrupt:
        click.echo("Stopped.")


def _ask_here(agent: Running, ask_first: bool | None, no_browser: bool) -> None:
    """Keep the wish to be asked before pastes, and bring the window with the question up."""
    oversight = agent.agent.oversight
    if oversight is None:
        return
    if ask_first is not None:
        oversight.asks = ask_first

    def fetch() -> None:
        click.echo("A phone wants to paste: 'python -m desktop_agent window' opens the question.")
        if not no_browser:
            webbrowser.open(agent.window_url())

    oversight.fetch = fetch


def _serve_phones(agent: Running, no_browser: bool) -> None:
    """Until Ctrl+C: without any paired phone show the code, and a new one for every press of Enter."""
    devices = agent.access.devices.all()
    if devices:
        click.echo(f"Connected phones: {', '.join(device.name for device in devices)}. Press Enter to connect another.")
    else:
        _print_invitation(agent.invite(), agent.lan_url is not None)
        if agent.lan_url and not no_browser and not isinstance(agent.screen, PictureScreen):
            webbrowser.open(agent.window_url())
    if not sys.stdin.isatty():
        threading.Event().wait()
    while sys.stdin.readline():
        _print_invitation(agent.invite(), agent.lan_url is not None)
    threading.Event().wait()


def _print_invitation(invitation: Invitation, for_phones: bool) -> None:
    if not for_phones:
        click.echo(f"For this computer only: {invitation.url}")
        return
    invitation.print(sys.stdout)
    click.echo(f"Scan with the phone within {invitation.seconds:.0f} seconds, or type: {invitation.url}")
    click.echo(f"The phone then shows the number {invitation.code}; another number means another computer.")
    click.echo("The browser warns once, because this computer made its own certificate: choose 'continue'.")


def _print_usb(invitation: Invitation, agent: str) -> None:
    """The loopback address for the phone's side of the cable; a secure context, so the camera works without a certificate."""
    port = urlsplit(agent).port
    token = invitation.url.partition("#")[2].partition(".")[0]
    click.echo(f"Connect the phone by USB, with debugging on, and run: adb reverse tcp:{port} tcp:{port}")
    replace(invitation, url=f"http://localhost:{port}/#{token}").print(sys.stdout)
    click.echo(f"Then scan, or type on the phone: http://localhost:{port}/#{token}")
    click.echo(f"The phone then shows the number {invitation.code}.")


@main.command("pair")
@click.option("--window", is_flag=True, help="Show the code in a browser window.")
@click.option("--usb", is_flag=True, help="For a phone on a cable: its own localhost leads here ('adb reverse').")
def pair_command(window: bool, usb: bool) -> None:
    """Connect another phone to the agent that is running."""
    from desktop_agent.pairing import Invitation
    from desktop_agent.runtime import ask_running

    answer = ask_running("/desk/invite")
    if usb:
        _print_usb(Invitation(answer["url"], answer["code"], answer["seconds"]), answer["agent"])
        return
    _print_invitation(Invitation(answer["url"], answer["code"], answer["seconds"]), answer["url"].startswith("https"))
    if window:
        webbrowser.open(f"{answer['agent']}/desk#{ask_running('/desk/ticket')['ticket']}")


@main.command("window")
def window_command() -> None:
    """Open this computer's own window: phones, servers, the questions before pastes."""
    from desktop_agent.runtime import ask_running

    answer = ask_running("/desk/ticket")
    webbrowser.open(f"{answer['agent']}/desk#{answer['ticket']}")


@main.command("doctor")
@click.option("--json", "as_json", is_flag=True)
def doctor_command(as_json: bool) -> None:
    """Check what is there, and name the command that installs what is missing."""
    findings = doctor.examine()
    if as_json:
        click.echo(json.dumps([finding.public() for finding in findings]))
    else:
        for finding in findings:
            click.echo(f"{'ok  ' if finding.ok else 'MISS'} {finding.name}: {finding.detail}")
            if finding.fix:
                click.echo(f"     {finding.fix}")
    sys.exit(0 if all(finding.ok or finding.optional for finding in findings) else 1)


@main.group("devices", invoke_without_command=True)
@click.pass_context
def devices_group(context: click.Context) -> None:
    """List the paired devices; 'devices revoke ID' lets one go."""
    if context.invoked_subcommand:
        return
    devices = DeviceStore(home() / "devices.json").all()
    for device in devices:
        click.echo(f"{device.id}  {device.name}")
    if not devices:
        click.echo("No device is paired: start the agent and scan the code.")


@devices_group.command("revoke")
@click.argument("device_id", metavar="ID")
def revoke(device_id: str) -> None:
    """The device must pair again; its clips are deleted."""
    device = DeviceStore(home() / "devices.json").revoke(device_id)
    ClipStore(home() / "clips").forget(device.id)
    click.echo(f"{device.name} is no longer paired.")


@main.group("clips", invoke_without_command=True)
@click.pass_context
def clips_group(context: click.Context) -> None:
    """List the kept cut-outs of all devices; 'clips delete ID' deletes one."""
    if context.invoked_subcommand:
        return
    clips = ClipStore(home() / "clips").all()
    for clip in clips:
        click.echo(f"{clip.id}  {clip.size[0]} x {clip.size[1]}  {home() / 'clips' / clip.device / f'{clip.id}.png'}")
    if not clips:
        click.echo("No cut-outs are kept.")


@clips_group.command("delete")
@click.argument("clip_id", metavar="ID")
def delete_clip(clip_id: str) -> None:
    """Delete one cut-out."""
    store = ClipStore(home() / "clips")
    found = [clip for clip in store.all() if clip.id == clip_id]
    if not found:
        raise AgentError(f"There is no clip '{clip_id}': 'python -m desktop_agent clips' lists them.")
    store.delete(found[0])
    click.echo("Deleted.")


main.add_command(locate)
main.add_command(paste)


def run() -> None:
    """The entry point: an error of ours is one line and exit code 1."""
    try:
        main.main(prog_name="python -m desktop_agent", standalone_mode=True)
    except AgentError as error:
        click.echo(f"Error: {error.message}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    run()
