"""GFM, every backbone and mode, against the official code's outputs; its fusion rule; that it can learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from server.networks.catalogue import NETWORKS
from server.networks.gfm import GFM, fuse
from tests.server.networks.base import (
    Golden,
    IdentityTests,
    NetworkTests,
    assert_logits,
    assert_probabilities,
    layout_of,
    official_layout,
    one_thread,
    record_outputs,
    sample,
    sums,
    tensors_of,
)
from tests.server.networks.formula import formula_input
from tests.server.networks.overfit import assert_overfits

__all__ = ["one_thread"]

STAGES = ("psp_module", "bridge_block", "encoder4", "decoder1_g", "decoder1_f")
GAP = 1e-4  # where glance's best two classes are nearer than this, rounding decides the fusion


def assert_fusion(actual: Tensor, expected: np.ndarray[Any, Any], glance: np.ndarray[Any, Any], what: str) -> None:
    best = np.sort(glance, axis=1)
    decided = best[:, -1:] - best[:, -2:-1] > GAP
    assert decided.mean() > 0.4, "the golden file must decide enough pixels (r34-2b saturates on the others)"
    assert float(np.abs(actual.numpy() - expected)[decided].max()) <= 1e-4, what


class GFMFacts:
    divisor = 32
    unused = ("resnet.fc",)

    def check_golden(self, network: nn.Module, golden: Golden) -> None:
        assert isinstance(network, GFM)
        x = formula_input(int(golden["size"]))
        kept, handles = record_outputs(network, {name: name for name in STAGES})
        outputs = network(x)
        for handle in handles:
            handle.remove()
        for name in STAGES:
            assert_logits(sums(kept[name]), golden[f"{name}_sum"], name)
            assert_logits(sample(kept[name], 64), golden[f"{name}_flat64"], name)
        self.check_outputs(network, x, outputs, golden)

    def check_outputs(self, network: GFM, x: Tensor, outputs: Any, golden: Golden) -> None:
        glance, focus, fusion = outputs
        assert_probabilities(glance, golden["glance"], "glance")
        assert_probabilities(focus, golden["focus"], "focus")
        assert_fusion(fusion, golden["fusion"], golden["glance"], "fusion")
        ((glance_logit, focus_logit),) = network.logits(x)
        assert_logits(glance_logit, golden["logit_glance"], "glance logit")
        assert_logits(focus_logit, golden["logit_focus"], "focus logit")

    def smooth_outputs(self, outputs: Any) -> list[Tensor]:
        triples = outputs[:3] if isinstance(outputs[0], tuple) else [outputs]
        return tensors_of([(glance, focus) for glance, focus, _fusion in triples])


class TestGFMR34TT(GFMFacts, NetworkTests):
    name = "gfm-r34-tt"


class TestGFMR34FT(GFMFacts, NetworkTests):
    name = "gfm-r34-ft"


class TestGFMR34BT(GFMFacts, NetworkTests):
    name = "gfm-r34-bt"


class TestGFMR342bTT(GFMFacts, NetworkTests):
    name = "gfm-r34-2b-tt"
    unused = ("resnet.fc", "resnet.conv1", "resnet.bn1", "psp1.")


class TestGFMR101TT(GFMFacts, IdentityTests):
    """Half a billion parameters: what the network is runs always, how it behaves (as the smaller ones) when time allows."""

    name = "gfm-r101-tt"


@pytest.mark.slow
@pytest.mark.timeout(1200)
class TestGFMR101TTInFull(GFMFacts, NetworkTests):
    name = "gfm-r101-tt"


class TestGFMD121TT(GFMFacts, NetworkTests):
    name = "gfm-d121-tt"
    unused = ("densenet.classifier", "densenet.features.norm5")


class TestGFMD121RIM(GFMFacts, NetworkTests):
    name = "gfm-d121-rim"
    unused = ("densenet.classifier", "densenet.features.norm5")

    def check_outputs(self, network: GFM, x: Tensor, outputs: Any, golden: Golden) -> None:
        *triples, rim = outputs
        decided = np.ones_like(golden["rim"], bool)
        for mode, (glance, focus, fusion) in zip(("tt", "ft", "bt"), triples, strict=True):
            expected = golden[f"{mode}_glance"]
            assert_probabilities(glance, expected, f"{mode} glance")
            assert_probabilities(focus, golden[f"{mode}_focus"], f"{mode} focus")
            assert_fusion(fusion, golden[f"{mode}_fusion"], expected, f"{mode} fusion")
            best = np.sort(expected, axis=1)
            decided &= best[:, -1:] - best[:, -2:-1] > GAP
        # The learned fusion's squeeze sees the mean of the maps, so one flipped pixel moves all by 1/(H W) at most.
        assert float(np.abs(rim.numpy() - golden["rim"])[decided].max()) <= 1e-4


UNRELEASED = [
    f"gfm-{backbone}-{mode}"
    for backbone in ("r34", "d121", "r34-2b", "r101")
    for mode in ("tt", "ft", "bt", "rim")
    if not NETWORKS[f"gfm-{backbone}-{mode}"].keys
]


@pytest.mark.parametrize("name", UNRELEASED)
def test_unreleased_variants_follow_the_released_layouts(name: str) -> None:
    """The shared part is the backbone's TT layout, the heads those of r34 (FT, BT) or of d121's RIM."""
    info = NETWORKS[name]
    with torch.device("meta"):
        network = info.build()
    backbone, mode = name.removeprefix("gfm-").rsplit("-", 1)
    shared = official_layout(f"gfm_{backbone.replace('-', '_')}_tt")
    shared = {key: shape for key, shape in shared.items() if not key.startswith("decoder0_")}
    ours = layout_of(network)
    assert {key: ours[key] for key in shared} == shared
    heads = {key: shape for key, shape in ours.items() if key not in shared}
    if backbone != "r34-2b":
        released = official_layout("gfm_d121_rim" if mode == "rim" else f"gfm_r34_{mode}")
        assert heads == {key: shape for key, shape in released.items() if key.startswith(("decoder0_", "rim."))}
    else:
        weights = [shape for key, shape in heads.items() if key.startswith("decoder0_g") and key.endswith("weight")]
        classes = {"ft": [2], "bt": [2], "rim": [3, 2, 2]}[mode]
        assert weights == [[count, 64, 3, 3] for count in classes]
    assert sum(parameter.numel() for parameter in network.parameters()) == info.parameters


@pytest.mark.parametrize(
    ("mode", "glance", "focus", "alpha"),
    [
        ("tt", (0.9, 0.1, 0.2), 0.4, 0.0),
        ("tt", (0.1, 0.9, 0.2), 0.4, 0.4),
        ("tt", (0.1, 0.2, 0.9), 0.4, 1.0),
        ("tt", (1.0, 1.0, 1.0), 0.4, 0.0),  # saturated: the lowest class wins
        ("tt", (0.5, 1.0, 1.0), 0.4, 0.4),
        ("tt", (1.0, 0.5, 1.0), 0.4, 0.0),
        ("ft", (0.9, 0.1), 0.4, 0.4),
        ("ft", (0.1, 0.9), 0.4, 1.0),
        ("ft", (0.7, 0.7), 0.4, 0.4),
        ("bt", (0.9, 0.1), 0.4, 0.0),
        ("bt", (0.1, 0.9), 0.4, 0.6),
    ],
)
def test_fusion_rule(mode: str, glance: tuple[float, ...], focus: float, alpha: float) -> None:
    classes = torch.tensor(glance).reshape(1, -1, 1, 1)
    fused = fuse(classes, torch.full((1, 1, 1, 1), focus), mode)
    assert float(fused) == pytest.approx(alpha)


@pytest.mark.parametrize("mode", ["tt", "ft", "bt"])
def test_fusion_is_argmax(mode: str) -> None:
    generator = torch.Generator().manual_seed(1)
    glance = torch.randint(0, 4, (2, 3 if mode == "tt" else 2, 16, 16), generator=generator) / 3  # many ties
    focus = torch.rand(2, 1, 16, 16, generator=generator)
    index = glance.argmax(1, keepdim=True).float()
    expected = {
        "tt": torch.where(index == 1, focus, index / 2),
        "ft": (index + focus).clamp(max=1),
        "bt": (index - focus).clamp(min=0),
    }[mode]
    assert torch.equal(fuse(glance, focus, mode), expected)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_overfits_one_picture() -> None:
    torch.manual_seed(0)
    network = GFM("r34", "ft")

    def logits(network: nn.Module, x: Tensor) -> list[Tensor]:
        ((glance, focus),) = network.logits(x)  # type: ignore[operator]
        return [glance[:, 1:] - glance[:, :1], focus]

    assert_overfits(network, logits, size=64, steps=45)
