"""GEM-Tiny and GEM-Base against the official network's outputs, their encoders, and that GEM can learn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from server.networks.backbones.sam_vit import SAMViT
from server.networks.backbones.tiny_vit import TinyViT
from server.networks.gem import GEM, gem_tiny, semantic_map
from server.networks.gem.decoder import LEVELS, WIDTH, DeformableAttention
from server.networks.gem.model import QueryOutput, QueryProposal, take_queries
from server.networks.gem.pyramid import BaseBackbone
from server.networks.windows import join_windows, split_windows
from tests.server.networks.base import (
    Golden,
    NetworkTests,
    assert_logits,
    assert_probabilities,
    layout_of,
    load_golden,
    official_layout,
    one_thread,
    record_outputs,
    sample,
)
from tests.server.networks.formula import formula_input, formula_value
from tests.server.networks.overfit import assert_overfits

__all__ = ["one_thread"]

MEAN = torch.tensor([123.675, 116.28, 103.53])[None, :, None, None]
STD = torch.tensor([58.395, 57.12, 57.375])[None, :, None, None]


def official_input(size: int) -> Tensor:
    return (formula_input(size) * 255 - MEAN) / STD


@contextmanager
def chosen_queries(network: nn.Module, positions: Tensor) -> Iterator[None]:
    """The query selection replaced by given positions (Q,), so that rounding cannot change their order."""

    def choose(module: nn.Module, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, ...]:
        assert isinstance(module, QueryProposal)
        feature = module.feature(inputs[0])
        repeated = positions.expand(len(feature), -1)
        return take_queries(feature, repeated), output[1], repeated

    assert isinstance(network, GEM)
    handle = network.sem_seg_head.predictor.query_proposal.register_forward_hook(choose)
    try:
        yield
    finally:
        handle.remove()


class GEMTests(NetworkTests):
    divisor = 32
    unused = ("sem_seg_head.predictor.label_enc",)
    stages: tuple[tuple[str, str, bool], ...]  # golden name, module path, whether the golden has tokens x channels

    def check_golden(self, network: nn.Module, golden: Golden) -> None:
        assert isinstance(network, GEM)
        x = official_input(384)
        kept, handles = record_outputs(network, {name: path for name, path, _ in self.stages})
        pyramid = network.backbone(x)
        for handle in handles:
            handle.remove()
        for name, _, as_tokens in self.stages:
            stage = kept[name]
            stage = stage.flatten(2).transpose(1, 2) if as_tokens else stage
            assert list(stage.shape)[: len(golden[f"{name}_shape"])] == golden[f"{name}_shape"].tolist()
            assert_logits(sample(stage, 256), golden[f"{name}_flat256"], name)
        for level, (channel_step, step) in zip((2, 3, 4, 5), ((16, 8), (16, 4), (4, 2), (4, 1)), strict=True):
            actual = pyramid[level - 2][:, ::channel_step, ::step, ::step]
            assert_logits(actual, golden[f"res{level}_s"], f"res{level}")

        predictor = network.sem_seg_head.predictor
        pixels, maps = network.sem_seg_head.pixel_decoder(pyramid)
        queries, proposals, positions = predictor.query_proposal(maps)
        assert_logits(proposals, golden["proposal_cls_logits"], "proposals")
        assert positions[0].tolist() == golden["topk_idx"].tolist()
        assert_logits(queries.transpose(1, 2)[:, :, ::5], golden["queries0"], "queries")

        kept, handles = record_outputs(network, {"first": f"{DECODER}.layers.0", "last": f"{DECODER}.layers.8"})
        layers, _ = predictor(pixels, maps, every_layer=True)
        for handle in handles:
            handle.remove()
        assert_logits(kept["first"].transpose(0, 1)[::5], golden["dec_layer0"], "decoder layer 0")
        assert_logits(kept["last"].transpose(0, 1)[::5], golden["dec_layer8"], "decoder layer 8")
        assert len(layers) == 10
        self.check_queries(layers[0], layers[-1], golden)
        torch.testing.assert_close(network(x)[:3], tuple(layers[-1]), rtol=0, atol=1e-5)

    def check_queries(self, initial: QueryOutput, last: QueryOutput, golden: Golden) -> None:
        assert_logits(initial.logits, golden["init_logits"], "initial classes")
        assert_probabilities(initial.boxes, golden["init_boxes"], "initial boxes")
        assert_logits(last.logits, golden["pred_logits"], "classes")
        assert_probabilities(last.boxes, golden["pred_boxes"], "boxes")
        assert_logits(last.masks[:, ::10, ::2, ::2], golden["pred_masks_q10_s2"], "masks")
        assert_logits(last.masks.double().sum((2, 3)), golden["pred_masks_qsum"], "mask sums")
        semantic = semantic_map(last.logits, last.masks)[0]
        assert semantic.shape == (2, 384, 384)
        assert_logits(semantic[:, ::4, ::4], golden["sem_seg_s4"], "semantic map")

    def test_bf16_is_close_to_fp32(self, network: nn.Module) -> None:
        """In fp32's order of queries: which box a query starts from depends on its rank."""
        assert isinstance(network, GEM)
        with torch.inference_mode():
            _, maps = network.sem_seg_head.pixel_decoder(network.backbone(self.batch()))
            positions = network.sem_seg_head.predictor.query_proposal(maps)[2][0]
        with chosen_queries(network, positions):
            super().test_bf16_is_close_to_fp32(network)


DECODER = "sem_seg_head.predictor.decoder"


class TestGEMTiny(GEMTests):
    name = "gem-tiny"
    size = 192
    stages = (
        ("patch_embed", "backbone.patch_embed", False),
        *((f"layer{index}", f"backbone.layers.{index}", True) for index in range(4)),
    )


class TestGEMBase(GEMTests):
    name = "gem-base"
    size = 384
    stages = (
        ("patch_embed", "backbone.patch_embed", False),
        *((f"block{index}", f"backbone.blocks.{index}", False) for index in (0, 2, 5, 8, 11)),
    )

    def test_one_size_only(self, network: nn.Module) -> None:
        with pytest.raises(ValueError, match="takes 384x384, not 352x352"):
            network(torch.zeros(1, 3, 352, 352))


def test_too_few_cells_for_a_hundred_queries() -> None:
    with pytest.raises(ValueError, match="at least 100 cells of 16x16, not 64: use 384x384"):
        gem_tiny()(torch.zeros(1, 3, 128, 128))


def encoder_layout(file: str, dropped: tuple[str, ...] = ()) -> dict[str, list[int]]:
    prefix = "image_encoder."
    layout = {key.removeprefix(prefix): shape for key, shape in official_layout(file).items() if key.startswith(prefix)}
    return {key: shape for key, shape in layout.items() if not key.startswith(dropped)} if dropped else layout


def test_encoders_have_the_foundation_models_layouts() -> None:
    with torch.device("meta"):
        tiny, base = TinyViT(), SAMViT()
    assert layout_of(tiny) == encoder_layout("mobile_sam", ("norm_head.", "head."))
    assert layout_of(base) == encoder_layout("sam_vit_b")
    assert sum(parameter.numel() for parameter in base.parameters()) == 89_670_912


def test_mobile_sam_encoder_at_1024() -> None:
    golden = load_golden("mobilesam_encoder_1024")
    encoder = TinyViT()
    state = encoder.state_dict()
    for key, tensor in state.items():
        if tensor.is_floating_point():
            official = f"image_encoder.{key}"
            tensor.copy_(torch.from_numpy(formula_value(official, tuple(tensor.shape), float(golden["gain"]))))
    encoder.eval()
    with torch.inference_mode():
        embedding = encoder(official_input(1024))
    assert embedding.shape == (1, 256, 64, 64)
    assert_logits(embedding[:, ::4, ::4, ::4], golden["emb_s"], "embedding")
    assert_logits(sample(embedding, 1024), golden["flat"], "embedding")


@pytest.mark.parametrize(("height", "width"), [(14, 14), (24, 24), (9, 17)])
def test_windows_are_square_padded_and_joined_again(height: int, width: int) -> None:
    tokens = torch.rand(2, height, width, 3)
    windows = split_windows(tokens, 7)
    rows, columns = -(-height // 7), -(-width // 7)
    assert windows.shape == (2 * rows * columns, 49, 3)
    assert torch.equal(windows[1].reshape(7, 7, 3)[:, : width - 7], tokens[0, :7, 7:14])
    padding = rows * columns * 49 - height * width
    assert int((windows == 0).all(-1).sum()) == 2 * padding
    assert torch.equal(join_windows(windows, 7, height, width), tokens)


def test_deformable_attention_equals_hat_function_matrices() -> None:
    """Bilinear sampling with zeros outside is a product with relu(1 - |x - i|) relu(1 - |y - j|)."""
    torch.manual_seed(0)
    attention = DeformableAttention()
    for parameter in attention.parameters():
        nn.init.normal_(parameter, std=0.3)
    query, boxes = torch.randn(2, 5, WIDTH), torch.rand(2, 5, 4)
    maps = [torch.randn(2, WIDTH, side, side + 2) for side in (12, 6, 3)]
    with torch.no_grad():
        actual = attention(query, boxes, maps)
        offsets = attention.sampling_offsets(query).reshape(2, 5, 8, LEVELS, 4, 2)
        weights = attention.attention_weights(query).reshape(2, 5, 8, 12).softmax(-1).reshape(2, 5, 8, LEVELS, 4)
        total = torch.zeros(2, 5, 8, 32)
        for level, feature in enumerate(maps):
            height, width = feature.shape[2:]
            value = attention.value_proj(feature.flatten(2).transpose(1, 2)).reshape(2, height, width, 8, 32)
            centre, reach = boxes[:, :, None, None, :2], boxes[:, :, None, None, 2:] * 0.5 / 4
            position = centre + offsets[:, :, :, level] * reach
            hat_x = F.relu(1 - (position[..., 0, None] * width - 0.5 - torch.arange(width)).abs())
            hat_y = F.relu(1 - (position[..., 1, None] * height - 0.5 - torch.arange(height)).abs())
            weight = weights[:, :, :, level]
            total += torch.einsum("nqhp,nqhpy,nqhpx,nyxhc->nqhc", weight, hat_y, hat_x, value)
        expected = attention.output_proj(total.flatten(2))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def test_semantic_map_adds_what_the_queries_say() -> None:
    """Two queries sure of their class, on the left and right half; a third is sure of nothing."""
    logits = torch.tensor([[[9.0, -9, -9], [-9, 9, -9], [-9, -9, 9]]])
    masks = torch.full((1, 3, 8, 8), -20.0)
    masks[0, 0, :, :4] = 20
    masks[0, 1, :, 4:] = 20
    masks[0, 2] = 20
    scores = semantic_map(logits, masks)
    assert scores.shape == (1, 2, 32, 32)
    glass = scores.argmax(1)[0].numpy()
    assert np.array_equal(glass, np.repeat([[0] * 16 + [1] * 16], 32, 0))
    assert float(scores[0, 1, :, 20:].min()) == pytest.approx(1, abs=1e-4)


def glass_logits(network: nn.Module, x: Tensor) -> list[Tensor]:
    """Each query's mask logits by how much more it says glass than background: unlike the scores, never saturated."""
    prediction = network(x)
    classes = prediction.logits.softmax(-1)
    leaning = (classes[..., 1] - classes[..., 0]).unsqueeze(1)
    maps = torch.matmul(leaning, prediction.masks.flatten(2)).reshape(-1, 1, *prediction.masks.shape[2:])
    return [F.interpolate(maps, scale_factor=4.0, mode="bilinear", align_corners=False)]


@pytest.mark.slow
def test_tiny_overfits_one_picture() -> None:
    torch.manual_seed(0)
    assert_overfits(gem_tiny(), glass_logits, size=160, steps=25, learning_rate=3e-4)


@pytest.mark.slow
def test_base_head_on_a_shallow_sam_encoder_overfits_one_picture() -> None:
    """GEM-Base's classes; three blocks hold two windowed and one global attention."""
    torch.manual_seed(0)
    network = GEM(BaseBackbone(image_size=160, width=192, depth=3, heads=3))
    assert_overfits(network, glass_logits, size=160, steps=80, learning_rate=3e-4)
