from __future__ import annotations

import math

import pytest
import torch

from server.losses.boxes import boxes_of, corners, generalized_iou
from server.losses.gem import GEM_BASE, GEM_TINY, Objects, gem_loss, match, proposal_loss, set_loss
from server.losses.points import point_bce, point_dice, sample, uncertain_points
from server.losses.terms import total
from server.networks.gem.model import QueryOutput

QUERIES, SIDE = 10, 24


def glass_mask() -> torch.Tensor:
    mask = torch.zeros(96, 96)
    mask[24:72, 12:60] = 1
    return mask


def layer(seed: int = 0, batch: int = 1) -> QueryOutput:
    generator = torch.Generator().manual_seed(seed)
    return QueryOutput(
        torch.randn(batch, QUERIES, 3, generator=generator),
        torch.randn(batch, QUERIES, SIDE, SIDE, generator=generator),
        0.25 + 0.5 * torch.rand(batch, QUERIES, 4, generator=generator),
    )


def knowing(objects: Objects, queries: tuple[int, ...]) -> QueryOutput:
    """A layer whose ``queries`` hold the objects perfectly and whose others say "none"."""
    logits = torch.zeros(1, QUERIES, 3)
    logits[..., 2] = 30
    masks = torch.full((1, QUERIES, 96, 96), -30.0)
    boxes = torch.full((1, QUERIES, 4), 0.1)
    for index, query in enumerate(queries):
        logits[0, query] = 0
        logits[0, query, objects.labels[index]] = 30
        masks[0, query] = 60 * objects.masks[index] - 30
        boxes[0, query] = objects.boxes[index]
    return QueryOutput(logits, masks, boxes)


def test_giou_by_hand() -> None:
    unit = torch.tensor([0.5, 0.5, 1.0, 1.0])
    assert float(generalized_iou(unit, unit)) == 1
    # side by side, touching: no overlap, hull filled
    assert float(generalized_iou(unit, torch.tensor([1.5, 0.5, 1.0, 1.0]))) == pytest.approx(0)
    # a gap as wide as a box: hull 3, union 2
    assert float(generalized_iou(unit, torch.tensor([2.5, 0.5, 1.0, 1.0]))) == pytest.approx(-1 / 3)
    # half covered
    assert float(generalized_iou(unit, torch.tensor([0.25, 0.5, 0.5, 1.0]))) == pytest.approx(0.5)
    flat = torch.zeros(4, requires_grad=True)
    generalized_iou(flat, flat).backward()
    assert flat.grad is not None
    assert torch.isfinite(flat.grad).all()


def test_boxes_of_masks() -> None:
    box = boxes_of(glass_mask()[None])[0]
    assert corners(box).tolist() == pytest.approx([12 / 96, 24 / 96, 60 / 96, 72 / 96])
    assert boxes_of(torch.zeros(1, 8, 8)).tolist() == [[0, 0, 0, 0]]


def test_objects_of_a_picture_leave_out_what_is_not_there() -> None:
    assert Objects.from_glass(glass_mask()).labels.tolist() == [0, 1]
    assert Objects.from_glass(torch.ones(8, 8)).labels.tolist() == [1]
    assert Objects.from_glass(torch.zeros(8, 8)).labels.tolist() == [0]


def test_sampling_at_pixel_centres_returns_the_pixels() -> None:
    maps = torch.arange(12.0).reshape(1, 3, 4)
    ys, xs = torch.meshgrid((torch.arange(3) + 0.5) / 3, (torch.arange(4) + 0.5) / 4, indexing="ij")
    points = torch.stack((xs, ys), -1).reshape(1, -1, 2)
    assert sample(maps, points)[0].tolist() == pytest.approx(list(range(12)), abs=1e-4)


def test_uncertain_points_seek_the_decision_boundary() -> None:
    ramp = torch.linspace(-4, 4, 64).expand(1, 64, 64)
    points = uncertain_points(ramp, 1000, torch.Generator().manual_seed(0))
    assert points.shape == (1, 1000, 2)
    near = ((points[0, :, 0] - 0.5).abs() < 0.15).float().mean()
    # three quarters are the nearest quarter of all candidates, the rest is uniform
    assert float(near) == pytest.approx(0.75 + 0.25 * 0.3, abs=0.05)


def test_point_losses_by_hand() -> None:
    logits, labels = torch.zeros(1, 4), torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    assert float(point_bce(logits, labels)) == pytest.approx(math.log(2))
    assert float(point_dice(logits, labels)) == pytest.approx(1 - (2 * 1 + 1) / (2 + 2 + 1))


def test_matching_finds_the_queries_that_know() -> None:
    objects = Objects.from_glass(glass_mask())
    (matched,) = match(knowing(objects, (7, 3)), [objects], points=500)
    assert matched.tolist() == [7, 3]


def test_matching_follows_the_queries_when_they_are_shuffled() -> None:
    objects = Objects.from_glass(glass_mask())
    output = layer(1)
    order = torch.randperm(QUERIES, generator=torch.Generator().manual_seed(2))
    shuffled = QueryOutput(output.logits[:, order], output.masks[:, order], output.boxes[:, order])
    (a,) = match(output, [objects], points=500, generator=torch.Generator().manual_seed(3))
    (b,) = match(shuffled, [objects], points=500, generator=torch.Generator().manual_seed(3))
    assert order[b].tolist() == a.tolist()


def test_a_layer_that_knows_costs_nothing() -> None:
    objects = Objects.from_glass(glass_mask())
    output = knowing(objects, (7, 3))
    terms = set_loss(
        output, [objects], [torch.tensor([7, 3])], GEM_TINY, points=2000, generator=torch.Generator().manual_seed(0)
    )
    # points on the mask's edge sample it between 0 and 1, on both sides alike
    assert float(terms["class"]) == pytest.approx(0, abs=1e-6)
    assert float(terms["box"]) == pytest.approx(0, abs=1e-6)
    assert float(terms["giou"]) == pytest.approx(0, abs=1e-5)
    wrong = set_loss(
        output, [objects], [torch.tensor([3, 7])], GEM_TINY, points=2000, generator=torch.Generator().manual_seed(0)
    )
    assert float(wrong["mask"]) > 10 * float(terms["mask"])
    assert float(wrong["dice"]) > 2 * float(terms["dice"])


def test_terms_by_hand() -> None:
    objects = Objects.from_glass(torch.ones(96, 96))
    output = QueryOutput(
        torch.zeros(1, QUERIES, 3), torch.zeros(1, QUERIES, SIDE, SIDE), torch.full((1, QUERIES, 4), 0.5)
    )
    terms = set_loss(
        output, [objects], [torch.tensor([4])], GEM_BASE, points=400, generator=torch.Generator().manual_seed(0)
    )
    # uniform classes: log 3 whatever the weights; log 2 a pixel; the box covers a quarter of the true one
    assert float(terms["class"]) == pytest.approx(4 * math.log(3), rel=1e-5)
    assert float(terms["box"]) == pytest.approx(5 * (0.5 + 0.5), rel=1e-5)
    assert float(terms["giou"]) == pytest.approx(2 * (1 - 0.25), rel=1e-5)
    assert float(terms["mask"]) == pytest.approx(5 * math.log(2), rel=1e-5)
    # p = 1/2 at 400 points whose label is near 1 everywhere but in the outermost half pixel
    assert float(terms["dice"]) == pytest.approx(5 * (1 - 401 / 601), rel=2e-2)


def test_unmatched_queries_weigh_a_tenth() -> None:
    objects = Objects.from_glass(torch.ones(96, 96))
    logits = torch.zeros(1, QUERIES, 3)
    logits[0, 0, 1] = 5.0
    output = QueryOutput(logits, torch.zeros(1, QUERIES, SIDE, SIDE), torch.full((1, QUERIES, 4), 0.5))
    terms = set_loss(output, [objects], [torch.tensor([0])], GEM_TINY, points=50)
    right = math.log(2 + math.exp(5)) - 5
    expected = (right + 0.1 * (QUERIES - 1) * math.log(3)) / (1 + 0.1 * (QUERIES - 1))
    assert float(terms["class"]) == pytest.approx(5 * expected, rel=1e-5)


def test_proposal_target_takes_whole_cells_only() -> None:
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :3] = 1  # the right column of cells is half glass: not glass
    logits = torch.zeros(1, 2, 2, 2)
    logits[:, 1, :, 0] = 40
    logits[:, 0, :, 1] = 40
    assert float(proposal_loss(logits, mask)) == pytest.approx(0, abs=1e-6)
    assert float(proposal_loss(logits, torch.ones(1, 1, 4, 4))) == pytest.approx(20, rel=1e-6), (
        "glass everywhere is glass"
    )


def test_the_whole_loss_reaches_every_output_and_is_reproducible() -> None:
    outputs = [layer(seed, batch=2) for seed in range(3)]
    for output in outputs:
        for tensor in (output.logits, output.masks, output.boxes):
            tensor.requires_grad_()
    proposals = torch.zeros(2, 2, 24, 24, requires_grad=True)
    glass = torch.stack((glass_mask(), torch.ones(96, 96)))[:, None]

    def run() -> dict[str, torch.Tensor]:
        return gem_loss(outputs, proposals, glass, GEM_TINY, points=200, generator=torch.Generator().manual_seed(4))

    terms = run()
    assert {name: float(x.detach()) for name, x in terms.items()} == {
        name: float(x.detach()) for name, x in run().items()
    }
    assert float(terms["proposal"].detach()) == pytest.approx(80 * math.log(2), rel=1e-5)
    total(terms).backward()
    for output in outputs:
        for tensor in (output.logits, output.masks, output.boxes, proposals):
            assert tensor.grad is not None
            assert torch.isfinite(tensor.grad).all()
            assert tensor.grad.abs().sum() > 0
