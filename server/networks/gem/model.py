"""GEM's head and the whole network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from server.networks.gem.decoder import LAYERS, MLP, WIDTH, Decoder
from server.networks.gem.pyramid import BaseBackbone, Pyramid, TinyBackbone
from server.networks.resampling import require_multiple

QUERIES = 100
CLASSES = 2
"""Background and glass; the head has one more, none."""


class QueryOutput(NamedTuple):
    """One layer's hundred queries: ``logits`` (N, 100, 3) of background, glass and none, ``masks`` (N, 100, H/4, W/4)
    logits, ``boxes`` (N, 100, 4) relative centre and size."""

    logits: Tensor
    masks: Tensor
    boxes: Tensor


class Prediction(NamedTuple):
    """The last layer's queries, and the proposal map (N, 2, H/16, W/16) that chose them."""

    logits: Tensor
    masks: Tensor
    boxes: Tensor
    proposals: Tensor


class PixelDecoder(nn.Module):
    """Projects the pyramid; GEM keeps none of MaskDINO's encoder layers."""

    def __init__(self) -> None:
        super().__init__()
        self.input_proj = nn.ModuleList(
            nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 1), nn.GroupNorm(32, WIDTH)) for _ in range(3)
        )
        self.mask_features = nn.Conv2d(WIDTH, WIDTH, 1)

    def forward(self, pyramid: Pyramid) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """The pixel embedding at stride 4, and the maps at strides 8, 16, 32."""
        res5, res4, res3 = (
            project(feature)
            for project, feature in zip(self.input_proj, (pyramid.res5, pyramid.res4, pyramid.res3), strict=True)
        )
        return self.mask_features(pyramid.res2), (res3, res4, res5)


class QueryProposal(nn.Module):
    """Picks the positions whose class is surest, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_proposal_cls_logits = nn.Sequential(
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.ReLU(), nn.Conv2d(WIDTH, CLASSES, 1)
        )

    def feature(self, maps: Sequence[Tensor]) -> Tensor:
        """The maps at strides 8, 16, 32 summed at stride 16."""
        fine, middle, coarse = maps
        size = (int(middle.shape[2]), int(middle.shape[3]))
        lifted = F.interpolate(coarse, size, mode="bilinear", align_corners=True)
        return middle + lifted + F.max_pool2d(fine, 3, 2, 1)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """-> queries (N, 100, 256), proposal logits (N, 2, h, w), positions (N, 100)."""
        feature = self.feature(maps)
        logits: Tensor = self.conv_proposal_cls_logits(feature)
        # The larger of two softmax values ranks as the logits' distance does, which never saturates into ties.
        certainty = (logits[:, 1] - logits[:, 0]).abs().flatten(1)
        chosen = certainty.topk(QUERIES, sorted=True).indices
        return take_queries(feature, chosen), logits, chosen


def take_queries(feature: Tensor, positions: Tensor) -> Tensor:
    """(N, C, h, w) at the flat ``positions`` (N, Q) -> (N, Q, C)."""
    index = positions.unsqueeze(1).expand(-1, feature.shape[1], -1)
    return feature.flatten(2).gather(2, index).transpose(1, 2)


class Predictor(nn.Module):
    """The transformer head. Boxes are learned per rank: the surest position starts from box 0."""

    def __init__(self) -> None:
        super().__init__()
        self.query_embed = nn.Embedding(QUERIES, 4)
        self.class_embed = nn.Linear(WIDTH, CLASSES + 1)
        self.label_enc = nn.Embedding(CLASSES, WIDTH)  # for denoising training alone; part of the official layout
        self.mask_embed = MLP((WIDTH, WIDTH, WIDTH, WIDTH))
        self.decoder_norm = nn.LayerNorm(WIDTH)
        self._bbox_embed = MLP((WIDTH, WIDTH, WIDTH, 4))
        self.bbox_embed = nn.ModuleList([self._bbox_embed] * LAYERS)
        nn.init.zeros_(cast(nn.Linear, self._bbox_embed.layers[-1]).weight)
        nn.init.zeros_(cast(nn.Linear, self._bbox_embed.layers[-1]).bias)
        self.decoder = Decoder(self.bbox_embed, self.decoder_norm)
        self.query_proposal = QueryProposal()

    def _heads(self, queries: Tensor, boxes: Tensor, pixels: Tensor) -> QueryOutput:
        """The layers' queries arrive normalised once and are normalised again, as in the released code."""
        normalised = self.decoder_norm(queries)
        masks = torch.matmul(self.mask_embed(normalised), pixels.flatten(2))
        masks = masks.reshape(*masks.shape[:2], *pixels.shape[2:])
        return QueryOutput(self.class_embed(normalised), masks, boxes)

    def forward(
        self, pixels: Tensor, maps: Sequence[Tensor], *, every_layer: bool = False
    ) -> tuple[list[QueryOutput], Tensor]:
        """The last layer's output, or with ``every_layer`` the initial queries' and all nine; and the proposal logits."""
        queries, proposals, _ = self.query_proposal(maps)
        boxes = torch.sigmoid(self.query_embed.weight.float()).expand(len(queries), -1, -1)
        outputs, predicted = self.decoder(queries, boxes, maps)
        if not every_layer:
            return [self._heads(outputs[-1], predicted[-1], pixels)], proposals
        pairs = zip([queries, *outputs], [boxes, *predicted], strict=True)
        return [self._heads(query, box, pixels) for query, box in pairs], proposals


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pixel_decoder = PixelDecoder()
        self.predictor = Predictor()


class GEM(nn.Module):
    """Normalised RGB Nx3xHxW, sides multiples of 32, at least 100 cells of 16 px (GEM-Base: 384 x 384)."""

    divisor = 32

    def __init__(self, backbone: TinyBackbone | BaseBackbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.sem_seg_head = Head()

    def _run(self, x: Tensor, every_layer: bool) -> tuple[list[QueryOutput], Tensor]:
        require_multiple(x, self.divisor, "GEM")
        cells = (int(x.shape[2]) // 16) * (int(x.shape[3]) // 16)
        if cells < QUERIES:
            raise ValueError(f"GEM takes pictures of at least {QUERIES} cells of 16x16, not {cells}: use 384x384")
        pixels, maps = self.sem_seg_head.pixel_decoder(self.backbone(x))
        result: tuple[list[QueryOutput], Tensor] = self.sem_seg_head.predictor(pixels, maps, every_layer=every_layer)
        return result

    def forward(self, x: Tensor) -> Prediction:
        (last,), proposals = self._run(x, every_layer=False)
        return Prediction(*last, proposals)

    def every_layer(self, x: Tensor) -> tuple[list[QueryOutput], Tensor]:
        """For training: the initial queries' and the nine layers' outputs, and the proposal logits."""
        return self._run(x, every_layer=True)


def semantic_map(logits: Tensor, masks: Tensor) -> Tensor:
    """Class logits (N, Q, 3), mask logits (N, Q, h, w) -> scores of background and glass (N, 2, 4h, 4w), not a distribution.

    S_c = sum over queries of p(c) * sigmoid(mask); glass where its score is the larger.
    """
    size = (int(masks.shape[2]) * 4, int(masks.shape[3]) * 4)
    maps = F.interpolate(masks.float(), size, mode="bilinear", align_corners=False).sigmoid()
    classes = logits.float().softmax(-1)[..., :CLASSES].transpose(1, 2)
    return torch.matmul(classes, maps.flatten(2)).reshape(-1, CLASSES, *size)


def gem_tiny() -> GEM:
    return GEM(TinyBackbone())


def gem_base() -> GEM:
    return GEM(BaseBackbone())
