"""``python -m server train RECIPE --data ...``: a run from the command line."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from server.errors import BadOption, ServerError
from server.training.recipe import Recipe, load_recipe

if TYPE_CHECKING:
    from server.training.loop import Run
    from server.training.pack import Pack


@click.command("train")
@click.argument("recipe")
@click.option(
    "--data", "sources", multiple=True, required=True, type=click.Path(exists=True, path_type=Path),
    help="A .tar shard, or a folder in a benchmark's layout (DUTS, ECSSD, AM-2k, GSD-S, GDD, Trans10K); repeatable.",
)  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), help="Folder for checkpoints and logs.  [default: runs/RECIPE]")
@click.option(
    "--cache", type=click.Path(path_type=Path), help="Folder for the packed photographs.  [default: OUT/pack]"
)
@click.option("--teacher", type=click.Path(exists=True, path_type=Path), help="Saved teacher maps, SOURCE/NAME.png.")
@click.option(
    "--init", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="First weights: torchvision's, SAM's or MobileSAM's encoder file, or a whole checkpoint of the network.",
)  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
@click.option("--steps", type=click.IntRange(1), help="Instead of the recipe's.")
@click.option("--epochs", type=click.FloatRange(0, min_open=True), help="Instead of --steps: passes over the data.")
@click.option(
    "--decay", type=click.IntRange(0), help="Last steps in which a constant rate falls to 0; not the recipe's."
)
@click.option("--size", type=click.IntRange(32), help="Input side in px instead of the recipe's.")
@click.option("--batch", type=click.IntRange(1), help="Instead of the recipe's.")
@click.option("--seed", type=int, help="Instead of the recipe's.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", show_default=True)
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True, help="Share each batch (CPU).")
@click.option("--threads", type=click.IntRange(1), help="Of each process.")
@click.option("--deterministic", is_flag=True, help="The same bits in every run, slower.")
def train_command(
    recipe: str, sources: tuple[Path, ...], out: Path | None, cache: Path | None, teacher: Path | None,
    init: Path | None, resume: bool,
    steps: int | None, epochs: float | None, decay: int | None, size: int | None, batch: int | None, seed: int | None, device: str,
    precision: str, processes: int, threads: int | None, deterministic: bool,
) -> None:  # fmt: skip
    """Train a network by a shipped recipe (its name) or by your own (a .toml file)."""
    try:
        from server.training.loop import Run
    except ImportError as error:
        raise click.ClickException(f"Training needs torch: pip install 'ar-copy-paste[torch]' ({error}).") from error
    try:
        chosen = load_recipe(recipe)
        if size:
            chosen = replace(chosen, sizes=((0, size),), scales=(), decay_size=None)
        if decay is not None:
            chosen = replace(chosen, schedule=replace(chosen.schedule, decay=decay))
        chosen = replace(chosen, batch=batch or chosen.batch, seed=chosen.seed if seed is None else seed)
        folder = out or Path("runs") / chosen.name
        packed = packed_sources(sources, cache or folder / "pack", chosen, teacher)
        if epochs:
            steps = max(1, round(epochs * len(packed) / (chosen.batch * chosen.accumulate)))
        run = Run(
            out=folder, steps=steps or chosen.steps, init=init, device=device, precision=precision, threads=threads,
            deterministic=deterministic,
        )  # fmt: skip
        last = _spread(chosen, packed, run, resume, processes)
    except ServerError as error:
        raise click.ClickException(error.message) from error
    click.echo(f"Checkpoint: {last}")


def packed_sources(sources: tuple[Path, ...], folder: Path, recipe: Recipe, teacher: Path | None) -> Pack:
    """The pack of these sources; made when it is missing or was made of other files."""
    from server.training.pack import Pack, pack

    stamp = folder / "made-of.json"
    wanted = {
        "side": recipe.pack_side,
        "teacher": None if teacher is None else str(teacher.resolve()),
        "sources": [[str(path.resolve()), path.stat().st_size if path.is_file() else 0] for path in sources],
    }
    if stamp.is_file() and json.loads(stamp.read_text()) == wanted:
        return Pack(folder)
    click.echo(f"Packing {len(sources)} sources into {folder}")
    made = pack(sources, folder, side=recipe.pack_side, teacher=teacher, report=click.echo)
    stamp.write_text(json.dumps(wanted, indent=1))
    return made


def _spread(recipe: Recipe, pack: Pack, run: Run, resume: bool, processes: int) -> Path:
    from server.training.loop import choose_device, train

    if processes == 1:
        return train(recipe, pack, run, resume=resume)
    if choose_device(run.device).type == "cuda":
        raise BadOption("--processes is for CPUs: with CUDA leave it out.")
    from torch.multiprocessing.spawn import spawn

    run.out.mkdir(parents=True, exist_ok=True)
    (run.out / "rendezvous").unlink(missing_ok=True)
    context = spawn(_worker, (processes, recipe, pack.folder, run, resume), nprocs=processes, join=False)  # type: ignore[no-untyped-call]
    assert context is not None  # it is, without join

    def stop(number: int, frame: object) -> None:
        for process in context.processes:
            process.terminate()  # which saves a checkpoint and ends

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        while not context.join():
            pass
    finally:
        signal.signal(signal.SIGTERM, previous)
    return run.out / "last.pt"


def _worker(rank: int, world: int, recipe: Recipe, folder: Path, run: Run, resume: bool) -> None:
    from torch import distributed as dist

    from server.training.loop import train
    from server.training.pack import Pack

    rendezvous = (run.out / "rendezvous").resolve().as_uri()
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=world)
    try:
        train(recipe, Pack(folder), run, resume=resume, rank=rank, world=world)
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    train_command()
