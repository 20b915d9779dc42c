"""GEM's losses: MaskDINO's set criterion (Li et al., CVPR 2023, sec. 3.3) and a loss on the query proposals.

Every decoder layer's hundred queries are matched one to one with the picture's objects; the matched queries learn class,
mask and box, the others the class "none".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from server.losses.assignment import assign
from server.losses.boxes import boxes_of, generalized_iou
from server.losses.points import POINTS, point_bce, point_dice, random_points, sample, uncertain_points
from server.networks.gem.model import QueryOutput

NONE_CLASS = 2
NONE_WEIGHT = 0.1


@dataclass(frozen=True)
class Weights:
    """Loss weights; ``GEM_TINY`` and ``GEM_BASE`` are the released configurations'."""

    classification: float
    mask: float = 5.0
    dice: float = 5.0
    box: float = 5.0
    giou: float = 2.0
    proposal: float = 80.0


GEM_TINY = Weights(classification=5.0)
GEM_BASE = Weights(classification=4.0)
MATCHING = Weights(classification=4.0)


@dataclass(frozen=True)
class Objects:
    """One picture's M objects: ``labels`` (M,) int64, ``masks`` (M, H, W) 0 or 1, ``boxes`` (M, 4)."""

    labels: Tensor
    masks: Tensor
    boxes: Tensor

    @classmethod
    def from_glass(cls, mask: Tensor) -> Objects:
        """(H, W) glass mask -> background and glass as objects; a class without a pixel is left out."""
        glass = (mask > 0.5).float()
        masks = torch.stack((1 - glass, glass))
        present = masks.flatten(1).any(1)
        return cls(present.nonzero()[:, 0], masks[present], boxes_of(masks[present]))


def gem_loss(
    layers: Sequence[QueryOutput],
    proposal_logits: Tensor,
    glass: Tensor,
    weights: Weights,
    *,
    points: int = POINTS,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """The whole loss of a batch: the set criterion on every layer, and the proposals.

    ``layers`` (the initial queries' and the nine decoder layers' outputs, each matched anew) and ``proposal_logits``
    (N, 2, 24, 24) are what ``GEM.every_layer`` returns; ``glass``: (N, 1, H, W) masks. Returns the weighted terms, summed over
    the layers: ``class``, ``mask``, ``dice``, ``box``, ``giou``, ``proposal``.
    """
    objects = [Objects.from_glass(mask[0]) for mask in glass]
    terms: dict[str, Tensor] = {}
    for layer in layers:
        matches = match(layer, objects, points=points, generator=generator)
        for name, term in set_loss(layer, objects, matches, weights, points=points, generator=generator).items():
            terms[name] = terms[name] + term if name in terms else term
    return terms | {"proposal": weights.proposal * proposal_loss(proposal_logits, glass)}


def proposal_loss(logits: Tensor, glass: Tensor) -> Tensor:
    """CE of the proposal map (N, 2, h, w) against the glass mask (N, 1, H, W): a cell is glass when all of it is.

    The official target is the complement of the first class's mask, which is wrong for a picture of nothing but glass.
    """
    target = F.adaptive_avg_pool2d((glass > 0.5).float(), (logits.shape[2], logits.shape[3]))[:, 0].long()
    return F.cross_entropy(logits.float(), target)


@torch.no_grad()
def match(
    layer: QueryOutput,
    objects: Sequence[Objects],
    *,
    points: int = POINTS,
    generator: torch.Generator | None = None,
) -> list[Tensor]:
    """For each picture the query (M,) of each of its objects: Hungarian matching, costs weighted as ``MATCHING``."""
    matches = []
    for index, picture in enumerate(objects):
        cost = _matching_cost(
            layer.logits[index].float(),
            layer.masks[index].float(),
            layer.boxes[index].float(),
            picture,
            points,
            generator,
        )
        matches.append(torch.from_numpy(assign(cost.double().cpu().numpy())).to(layer.logits.device))
    return matches


def _matching_cost(
    logits: Tensor, masks: Tensor, boxes: Tensor, objects: Objects, points: int, generator: torch.Generator | None
) -> Tensor:
    """(M, Q): what it costs to give object m to query q. All masks are compared on the same random points."""
    positions = random_points(1, points, masks.device, generator)
    predicted = sample(masks, positions.expand(len(masks), -1, -1))
    truth = sample(objects.masks, positions.expand(len(objects.masks), -1, -1))
    class_cost = -logits.softmax(-1)[:, objects.labels].T
    bce = (truth @ F.softplus(-predicted).T + (1 - truth) @ F.softplus(predicted).T) / points
    p = predicted.sigmoid()
    dice = 1 - (2 * truth @ p.T + 1) / (truth.sum(1)[:, None] + p.sum(1)[None, :] + 1)
    l1 = torch.cdist(objects.boxes, boxes, p=1)
    giou = -generalized_iou(objects.boxes[:, None], boxes[None])
    return (
        MATCHING.classification * class_cost
        + MATCHING.mask * bce
        + MATCHING.dice * dice
        + MATCHING.box * l1
        + MATCHING.giou * giou
    )


def set_loss(
    layer: QueryOutput,
    objects: Sequence[Objects],
    matches: Sequence[Tensor],
    weights: Weights,
    *,
    points: int = POINTS,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """One layer's weighted ``class``, ``mask``, ``dice``, ``box`` and ``giou``; all but ``class`` a mean over the objects."""
    classes = torch.full(layer.logits.shape[:2], NONE_CLASS, dtype=torch.int64, device=layer.logits.device)
    for row, picture, queries in zip(classes, objects, matches, strict=True):
        row[queries] = picture.labels
    balance = layer.logits.new_ones(layer.logits.shape[-1], dtype=torch.float32)
    balance[NONE_CLASS] = NONE_WEIGHT

    def matched(maps: Tensor) -> Tensor:
        return torch.cat([per_picture[queries] for per_picture, queries in zip(maps, matches, strict=True)]).float()

    masks, boxes = matched(layer.masks), matched(layer.boxes)
    true_masks = torch.cat([picture.masks for picture in objects])
    true_boxes = torch.cat([picture.boxes for picture in objects])
    positions = uncertain_points(masks, points, generator)
    predicted, truth = sample(masks, positions), sample(true_masks, positions)
    return {
        "class": weights.classification
        * F.cross_entropy(layer.logits.float().flatten(0, 1), classes.flatten(), balance),
        "mask": weights.mask * point_bce(predicted, truth).mean(),
        "dice": weights.dice * point_dice(predicted, truth).mean(),
        "box": weights.box * (boxes - true_boxes).abs().sum(1).mean(),
        "giou": weights.giou * (1 - generalized_iou(boxes, true_boxes)).mean(),
    }
