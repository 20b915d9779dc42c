"""Glass for pre-training as GEM's authors made theirs: Stable Diffusion paints a scene to a glass mask, led by a ControlNet.

    python -m server.training.diffuse --masks GSD-S --pipeline MODEL --controlnet CONTROLNET -o glass-diffused.tar --count 3000

The manner of S-GSD (Hao et al., "GEM: Boost Simple Network for Glass Surface Segmentation via Segment Anything Model and Data
Synthesis", 2024): the mask of a real pair is the condition, so that the new picture's label is known. MODEL and CONTROLNET are
folders in diffusers' layout, or names that diffusers fetches; the ControlNet has to be trained on pairs of glass first (diffusers'
``train_controlnet.py`` does that). Wants a GPU: some seconds a picture there, minutes on a CPU. ``server.training.glaze`` computes
glass without any of this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np

from server.command import run
from server.errors import BadOption, ModelUnavailable
from server.training.compose import write_shard
from server.training.readers import Bad, Byte, read

SIDE = 512
"""What Stable Diffusion 1 was trained at, in px."""
PROMPTS = (
    "a photograph of a shop window in a street",
    "a photograph of a glass door of an office building",
    "a photograph of a room with a large window",
    "a photograph of a glass showcase in a museum",
    "a photograph of a glass railing on a balcony",
    "a photograph of a bathroom with a glass shower screen",
)
AVOIDED = "painting, drawing, text, frame without glass, blurred"

Painter = Callable[[Byte, str, int], Byte]
"""(mask HxW uint8, prompt, seed) -> picture HxWx3 uint8 of the same size."""


def painter(pipeline: str, controlnet: str | None, *, side: int, steps: int, device: str) -> Painter:
    """A mask-conditioned Stable Diffusion. ``pipeline`` without ``controlnet`` is a saved StableDiffusionControlNetPipeline.

    Raises ``ModelUnavailable`` where diffusers or a file of the model is missing.
    """
    try:
        import torch
        from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
    except ImportError as error:
        raise ModelUnavailable("Diffusion is missing: pip install 'ar-copy-paste[diffusion]'.") from error
    parts: dict[str, Any] = {"safety_checker": None}
    half = torch.float16 if device.startswith("cuda") else torch.float32
    try:
        if controlnet is not None:
            parts["controlnet"] = ControlNetModel.from_pretrained(controlnet, dtype=half)
        model = StableDiffusionControlNetPipeline.from_pretrained(pipeline, dtype=half, **parts).to(device)
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"The diffusion model cannot be loaded: {str(error).splitlines()[0]}") from error
    model.set_progress_bar_config(disable=True)

    def paint(mask: Byte, prompt: str, seed: int) -> Byte:
        size = _multiple_of_8(mask.shape, side)
        condition = np.repeat(cv2.resize(mask, size, interpolation=cv2.INTER_AREA)[..., None], 3, axis=2)
        painted = model(
            prompt,
            image=torch.from_numpy(condition).permute(2, 0, 1)[None].to(half) / 255,
            negative_prompt=AVOIDED,
            width=size[0],
            height=size[1],
            num_inference_steps=steps,
            generator=torch.Generator("cpu").manual_seed(seed),
            output_type="np",
        ).images[0]
        return np.rint(np.clip(painted, 0, 1) * 255).astype(np.uint8)

    return paint


def _multiple_of_8(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """(width, height) with the mask's proportions, as the latent grid wants it."""
    height, width = shape[:2]
    factor = side / max(height, width)
    return max(8, round(width * factor / 8) * 8), max(8, round(height * factor / 8) * 8)


def diffused(
    masks: Sequence[Byte], paint: Painter, prompts: Sequence[str], count: int, seed: int
) -> Iterator[tuple[str, Byte, Byte]]:
    """``count`` pairs (name, picture HxWx3, mask HxW), both uint8; each mask is mirrored every second time."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        mask = masks[int(rng.integers(0, len(masks)))]
        if rng.random() < 0.5:
            mask = np.ascontiguousarray(mask[:, ::-1])
        picture = paint(mask, prompts[int(rng.integers(0, len(prompts)))], int(rng.integers(0, 2**31)))
        yield f"diffused_{index:06d}", picture, cv2.resize(mask, picture.shape[1::-1], interpolation=cv2.INTER_AREA)


@click.command()
@click.option("--masks", required=True, type=click.Path(path_type=Path), help="Glass pairs whose masks are used.")
@click.option("--pipeline", required=True, help="Stable Diffusion in diffusers' layout: a folder or a name.")
@click.option("--controlnet", help="Its ControlNet for glass masks, where the pipeline does not hold one.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The shard to write.")
@click.option("--count", default=1000, show_default=True, type=click.IntRange(min=1))
@click.option("--prompts", type=click.File(), help="A text file, one prompt a line, instead of ours.")
@click.option("--side", default=SIDE, show_default=True, type=click.IntRange(min=8), help="Long side in px.")
@click.option("--steps", default=30, show_default=True, type=click.IntRange(min=1), help="Of the sampler.")
@click.option("--seed", default=0, show_default=True)
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
def main(
    masks: Path,
    pipeline: str,
    controlnet: str | None,
    out: Path,
    count: int,
    prompts: Any,
    side: int,
    steps: int,
    seed: int,
    device: str,
) -> None:
    """Write a shard of glass that a diffusion model painted."""
    lines = PROMPTS if prompts is None else tuple(line.strip() for line in prompts if line.strip())
    found = []
    for item in read(masks):
        if isinstance(item, Bad):
            click.echo(f"skipped {item.name}: {item.reason}", err=True)
        else:
            found.append(item.mask)
    if not found or not lines:
        raise BadOption("Painting glass needs at least one mask and one prompt: check --masks and --prompts.")
    paint = painter(pipeline, controlnet, side=side, steps=steps, device=device)
    click.echo(f"{out}: {write_shard(diffused(found, paint, lines, count, seed), out)} pictures to {len(found)} masks")


if __name__ == "__main__":
    run(main, "python -m server.training.diffuse")
