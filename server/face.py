"""The options of ``python -m server`` that concern the network: https, announcing, keys, limits, results, logs."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from server.errors import BadOption
from server.home import home
from server.keys import KeyStore

if TYPE_CHECKING:
    from server.tls import Certificate, TlsAdapter

OPTIONS = (
    click.option("--https", is_flag=True, help="Serve https with a certificate made once for this computer."),
    click.option("--cert", type=click.Path(path_type=Path), help="Serve https with this certificate (PEM), and --key."),
    click.option("--key", type=click.Path(path_type=Path), help="The certificate's key (PEM)."),
    click.option(
        "--announce/--no-announce", default=True, show_default=True,
        help="Tell agents in the local network; needs https and a --host that they reach, such as 0.0.0.0.",
    ),
    click.option("--name", help="The name under which agents see this server; default: the computer's."),
    click.option("--rate-limit", envvar="ARCP_RATE_LIMIT", metavar="LIMIT", help="By key or address: '60 per minute'."),
    click.option(
        "--rate-storage", envvar="ARCP_RATE_STORAGE", default="memory://", show_default=True, metavar="URL",
        help="Where the counts are kept; redis://... for several processes.",
    ),
    click.option(
        "--results", envvar="ARCP_RESULTS", metavar="URL",
        help="Folder for results that are given out by address: a path, s3://bucket/folder, ...",
    ),
    click.option(
        "--results-hours", envvar="ARCP_RESULTS_HOURS", default=24.0, show_default=True, type=click.FloatRange(0.001, 8760)
    ),
    click.option("--no-fetch", is_flag=True, help="Do not fetch pictures by their address (image_url)."),
    click.option(
        "--proxies", envvar="ARCP_PROXIES", default=0, show_default=True, type=click.IntRange(0, 10),
        help="Trusted reverse proxies in front (X-Forwarded-For and the like).",
    ),
    click.option(
        "--log", "log_form", envvar="ARCP_LOG", default="text", show_default=True, type=click.Choice(["text", "json"])
    ),
)  # fmt: skip


def face_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options, handed to the command as one keyword argument ``face``."""

    def with_face(*args: Any, **kwargs: Any) -> Any:
        return command(*args, face=Face(**{name: kwargs.pop(name) for name in Face.__dataclass_fields__}), **kwargs)

    with_face.__doc__ = command.__doc__
    with_face.__click_params__ = list(getattr(command, "__click_params__", []))  # type: ignore[attr-defined]
    for option in reversed(OPTIONS):
        option(with_face)
    return with_face


@dataclass(frozen=True)
class Face:
    """The options' values."""

    https: bool
    cert: Path | None
    key: Path | None
    announce: bool
    name: str | None
    rate_limit: str | None
    rate_storage: str
    results: str | None
    results_hours: float
    no_fetch: bool
    proxies: int
    log_form: str

    def settings(self) -> dict[str, Any]:
        """Its share of ``server.settings.Settings``. Raises ``BadOption``."""
        from server.fetch import fetch_public

        self._check()
        return {
            "keys": KeyStore(),
            "rate_limit": self.rate_limit,
            "rate_storage": self.rate_storage,
            "fetch": None if self.no_fetch else fetch_public,
            "results": self.results,
            "results_seconds": self.results_hours * 3600,
            "proxies": self.proxies,
        }

    def certificate(self) -> Certificate | None:
        """None: plain http. Raises ``BadOption`` for half a pair."""
        from server.tls import Certificate, own_certificate

        if (self.cert is None) != (self.key is None):
            raise BadOption(
                "--cert and --key belong together: give both PEM files, or --https for a certificate of ours."
            )
        if self.cert is not None and self.key is not None:
            return Certificate(self.cert, self.key)
        return own_certificate(home() / "server-tls") if self.https else None

    def tls(self) -> TlsAdapter | None:
        """For ``server.wsgi.serving``."""
        from server.tls import TlsAdapter

        certificate = self.certificate()
        return None if certificate is None else TlsAdapter(certificate)

    def describe(self, host: str, port: int) -> str:
        """Where it serves, for the person at the console: an address that can be typed, not a wildcard."""
        from server.announce import reachable_addresses

        if host in {"0.0.0.0", "::"}:
            host = next(iter(reachable_addresses(host)), "localhost")
        certificate = self.certificate()
        if certificate is None:
            return f"http://{host}:{port}"
        digits = certificate.fingerprint
        shown = ":".join(digits[i : i + 2] for i in range(0, len(digits), 2)).upper()
        return f"https://{host}:{port} (certificate {shown})"

    @contextlib.contextmanager
    def around(self) -> Iterator[Callable[[str, int], None]]:
        """Logs and the sweeping of results within the block; what it yields is called once with the address that serves."""
        from server.announce import announcing, reachable_addresses, server_id
        from server.observe import log_to_stderr
        from server.results import ResultStore

        log_to_stderr(self.log_form)
        with contextlib.ExitStack() as stack:
            stack.enter_context(ResultStore(self.results, self.results_hours * 3600).sweeping())

            def serves(host: str, port: int) -> None:
                addresses = reachable_addresses(host)
                if self.announce and addresses and self.certificate() is not None:
                    name = self.name or socket.gethostname().split(".")[0]
                    stack.enter_context(announcing(name, server_id(home() / "server-id"), addresses, port))

            yield serves

    def _check(self) -> None:
        """What would fail at the first request fails at the start."""
        import fsspec
        from limits import parse_many

        try:
            parse_many(self.rate_limit or "1/second")
        except ValueError:
            raise BadOption(f"--rate-limit is like '60 per minute' or '5/second', not '{self.rate_limit}'.") from None
        try:
            fsspec.get_filesystem_class(fsspec.utils.get_protocol(self.results or ""))
        except (ImportError, ValueError) as error:
            raise BadOption(f"--results {self.results}: {error}. For s3 install 'ar-copy-paste[s3]'.") from error


@click.group("keys")
def keys_command() -> None:
    """API keys: as long as there are any, or were, cutting needs one."""


@keys_command.command("add")
@click.argument("name")
def add_key(name: str) -> None:
    """Make a key for NAME and print it, the only time that it can be seen."""
    key, secret = KeyStore().add(name)
    click.echo(secret)
    click.echo(f"Key {key.id} for '{key.name}': send it in the header X-Api-Key. It is shown only now.", err=True)


@keys_command.command("list")
def list_keys() -> None:
    """Names and ids, no secrets."""
    store = KeyStore()
    for key in store.all():
        click.echo(f"{key.id}  {key.name}")
    if not store.required:
        click.echo("No keys were made: everybody who reaches the server may use it.", err=True)


@keys_command.command("revoke")
@click.argument("key_id", metavar="ID")
def revoke_key(key_id: str) -> None:
    """End a key at once, also in a server that runs."""
    click.echo(f"Revoked the key of '{KeyStore().revoke(key_id).name}'.")


@keys_command.command("off")
def open_server() -> None:
    """Forget all keys and let everybody in."""
    KeyStore().path.unlink(missing_ok=True)
    click.echo("Everybody who reaches the server may use it now.")
