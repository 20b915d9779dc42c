"""Painted glass: what is asked of the generator, and a tiny random Stable Diffusion with a ControlNet from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

from server.errors import ModelUnavailable
from server.training import diffuse
from server.training.readers import Item, read

Byte = NDArray[np.uint8]


def pane() -> Byte:
    mask = np.zeros((60, 90), np.uint8)
    mask[10:50, 20:50] = 255
    return mask


def test_each_picture_keeps_its_masks_place() -> None:
    asked: list[tuple[str, int]] = []

    def paint(mask: Byte, prompt: str, seed: int) -> Byte:
        asked.append((prompt, seed))
        return np.repeat(mask[::2, ::2, None], 3, axis=2)

    made = list(diffuse.diffused([pane()], paint, diffuse.PROMPTS, 12, seed=3))
    assert all(np.array_equal(picture[..., 0] > 127, mask > 127) for _, picture, mask in made)
    assert {bool(mask[:, :22].mean() > mask[:, 22:].mean()) for _, _, mask in made} == {True, False}  # mirrored too
    assert len({seed for _, seed in asked}) == 12
    assert len({prompt for prompt, _ in asked}) > 1


@pytest.mark.parametrize(("shape", "size"), [((60, 90), (512, 344)), ((100, 100), (512, 512)), ((4, 900), (512, 8))])
def test_sides_are_what_the_latent_grid_takes(shape: tuple[int, int], size: tuple[int, int]) -> None:
    assert diffuse._multiple_of_8(shape, 512) == size


@pytest.mark.slow
def test_a_folder_that_holds_no_model_is_said_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("diffusers", reason="pip install 'ar-copy-paste[diffusion]'")
    with pytest.raises(ModelUnavailable, match="cannot be loaded") as caught:
        diffuse.painter(str(tmp_path), None, side=64, steps=1, device="cpu")
    assert "\n" not in str(caught.value)


def tiny_pipeline(folder: Path) -> None:
    """A Stable Diffusion with random weights of a few thousand parameters, and a ControlNet, in diffusers' layout."""
    import torch
    from diffusers import (
        AutoencoderKL,
        ControlNetModel,
        DDIMScheduler,
        StableDiffusionControlNetPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    blocks = {"block_out_channels": (8, 16), "norm_num_groups": 4, "cross_attention_dim": 16, "layers_per_block": 1}
    down = ("DownBlock2D", "CrossAttnDownBlock2D")
    unet = UNet2DConditionModel(
        sample_size=8,
        attention_head_dim=4,
        down_block_types=down,
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        **blocks,
    )
    control = ControlNetModel(
        attention_head_dim=4,
        down_block_types=down,
        conditioning_embedding_out_channels=(4, 8, 8, 8),
        **blocks,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )
    words = [*(chr(letter) for letter in range(97, 123)), *(chr(letter) + "</w>" for letter in range(97, 123)), ",</w>"]
    vocabulary = {word: number for number, word in enumerate(["<|startoftext|>", "<|endoftext|>", *words])}
    (folder / "words").mkdir(parents=True)
    (folder / "words" / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "words" / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "words", model_max_length=32)
    text = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=32,
        num_attention_heads=2,
        num_hidden_layers=1,
        max_position_embeddings=32,
        bos_token_id=0,
        eos_token_id=1,
    )
    StableDiffusionControlNetPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=unet,
        controlnet=control,
        scheduler=DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder / "model")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_tiny_pipeline_paints_a_shard_that_training_reads(tmp_path: Path) -> None:
    pytest.importorskip("diffusers", reason="pip install 'ar-copy-paste[diffusion]'")
    tiny_pipeline(tmp_path)
    for folder, pixels in (("image", np.repeat(pane()[..., None], 3, 2)), ("mask", pane())):
        (tmp_path / "pairs" / folder).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "pairs" / folder / "door.png")
    out = tmp_path / "painted.tar"
    options = ["--count", "3", "--side", "64", "--steps", "2", "-o", str(out)]
    asked = ["--masks", str(tmp_path / "pairs"), "--pipeline", str(tmp_path / "model"), *options]
    done = CliRunner().invoke(diffuse.main, asked, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "3 pictures to 1 masks" in done.output
    items = [item for item in read(out) if isinstance(item, Item)]
    assert [item.image.shape for item in items] == [(40, 64, 3)] * 3
    assert all(item.mask.shape == (40, 64) for item in items)
    assert not np.array_equal(items[0].image, items[1].image)
