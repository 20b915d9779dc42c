"""Official layouts against the catalogue's networks: what fits, and how exactly misfits are named."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from server.errors import BadWeights
from server.networks.catalogue import NETWORKS
from server.weights.layout import canonical_state, compare, layout
from server.weights.matching import ENCODER, WHOLE, fit
from tests.server.networks.formula import formula_value
from tests.server.weights.official import filled, hollow

PUBLISHED = [name for name, info in NETWORKS.items() if info.keys]
NAME = "mobile-meticulousnet-l"
KEYS = NETWORKS[NAME].keys


def refused(tensors: dict[str, Tensor], network: str) -> str:
    with pytest.raises(BadWeights) as caught:
        fit(tensors, network, "FILE")
    assert "\n" not in caught.value.message
    assert caught.value.message.startswith("FILE ")
    return caught.value.message


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_official_layout_is_its_network(name: str) -> None:
    difference = compare(hollow(NETWORKS[name].keys), layout(name))
    assert str(difference) == ""


def test_the_whole_network_is_kept_without_its_aliases() -> None:
    fitted = fit(hollow(KEYS), NAME, "FILE")
    assert fitted.content == WHOLE
    assert set(fitted.state) == set(layout(NAME).tensors)
    assert len(set(layout("gem-tiny").canonical.values())) < len(layout("gem-tiny").tensors)


@pytest.mark.parametrize(
    ("keys", "name", "kind", "tensors"),
    [
        ("mobile_sam", "gem-tiny", "MobileSAM", 298),
        ("sam_vit_b", "gem-base", "SAM ViT-B", 168),
        ("torchvision_resnet34", "basnet", "torchvision ResNet-34", 210),
        ("torchvision_resnet34", "gfm-r34-ft", "torchvision ResNet-34", 218),
        ("torchvision_densenet121", "gfm-d121-rim", "torchvision DenseNet-121", 727),
        ("torchvision_resnet50", "meticulousnet-l", "torchvision ResNet-50", 318),
        ("torchvision_mobilenet_v3_large", "mobile-meticulousnet-l", "torchvision MobileNetV3-Large", 302),
        ("efficientnet_lite0", "lite0-meticulousnet-l", "EfficientNet-Lite0", 288),
        ("gdnet", "pgsnet", "GDNet's ResNeXt-101 32x4d", 624),
    ],
)
def test_foundation_and_imagenet_files_fill_the_encoder(keys: str, name: str, kind: str, tensors: int) -> None:
    fitted = fit(hollow(keys), name, "FILE")
    assert (fitted.content, fitted.kind, len(fitted.state)) == (ENCODER, kind, tensors)
    wanted = layout(name).tensors
    assert all(tensor.shape == wanted[key].shape for key, tensor in fitted.state.items())


def backbone_of_pgsnet() -> dict[str, Tensor]:
    return {key[len("backbone.") :]: value for key, value in hollow("pgsnet").items() if key.startswith("backbone.")}


def test_timm_resnext_fills_pgsnet() -> None:
    fitted = fit(
        backbone_of_pgsnet() | {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}, "pgsnet", "FILE"
    )
    assert (fitted.content, len(fitted.state)) == (ENCODER, 624)


def test_the_bare_torch7_resnext_is_read_like_gdnets() -> None:
    """The numbered modules of the converted file; block 4.0 is layer1's first."""
    numbers = {"layer0.0": "0", "layer0.1": "1", "layer1.1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    bare = {}
    for index, (key, tensor) in enumerate(hollow("gdnet").items()):
        match = re.match(r"layer(0\.0|0\.1|1\.1|[234])(?=\.)", key)
        if match:
            bare[numbers[match[0]] + key[match.end() :]] = tensor + index if tensor.dim() == 1 else tensor
    fitted = fit(bare | {"10.1.weight": torch.zeros(1000, 2048), "10.1.bias": torch.zeros(1000)}, "pgsnet", "FILE")
    assert len(fitted.state) == 624
    assert torch.equal(fitted.state["backbone.layer1.0.bn1.weight"], bare["4.0.0.0.0.1.weight"])
    assert torch.equal(fitted.state["backbone.layer3.22.bn3.bias"], bare["6.22.0.0.2.bias"])
    assert torch.equal(fitted.state["backbone.layer4.0.downsample.1.weight"], bare["7.0.0.1.1.weight"])


def test_old_densenet_names_are_understood() -> None:
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", key): value
        for key, value in hollow("torchvision_densenet121").items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    assert fit(old, "gfm-d121-tt", "FILE").content == ENCODER


def test_a_four_channel_stem_starts_with_zeros_for_the_mask() -> None:
    state = hollow("torchvision_resnet50") | {"conv1.weight": torch.randn(64, 3, 7, 7)}
    stem = fit(state, "meticulousnet-h", "FILE").state["encoder.conv1.weight"]
    assert torch.equal(stem[:, :3], state["conv1.weight"])
    assert not stem[:, 3].any()


def test_of_aliases_the_last_official_name_counts() -> None:
    heads = filled("gem_tiny", only=r"bbox_embed|decoder\.norm|decoder_norm")
    gem = canonical_state(heads, layout("gem-tiny"))
    mlp = "sem_seg_head.predictor.decoder.bbox_embed.8.layers.0.weight"
    assert torch.equal(gem[mlp], torch.from_numpy(formula_value(mlp, (256, 256))))
    assert not any("._bbox_embed." in key or "decoder.bbox_embed.0." in key for key in gem)
    assert "sem_seg_head.predictor.decoder_norm.weight" in gem
    resnet, densenet = layout("gfm-r34-tt").canonical, layout("gfm-d121-tt").canonical
    assert all(name.startswith("resnet.") for key, name in resnet.items() if key.startswith("resnet.layer"))
    assert densenet["densenet.features.conv0.weight"].startswith("encoder")


def test_one_family_of_aliases_is_enough() -> None:
    state = {key: value for key, value in hollow("gfm_r34_tt").items() if not key.startswith("encoder")}
    assert not compare(state, layout("gfm-r34-tt"))


def test_counters_may_be_absent() -> None:
    state = {key: value for key, value in hollow(KEYS).items() if not key.endswith("num_batches_tracked")}
    assert fit(state, NAME, "FILE").content == WHOLE


def test_half_precision_comes_out_in_the_networks_type() -> None:
    state = {key: value.half() if value.is_floating_point() else value for key, value in hollow(KEYS).items()}
    fitted = fit(state, NAME, "FILE")
    assert {tensor.dtype for tensor in fitted.state.values()} == {torch.float32, torch.int64}


def test_a_missing_a_renamed_and_a_transposed_tensor_are_named() -> None:
    state = hollow("basnet")
    stem = state.pop("inconv.weight")
    assert "missing inconv.weight" in refused(state, "basnet")
    renamed = refused(state | {"inconv.wieght": stem}, "basnet")
    assert "missing inconv.weight" in renamed
    assert "unexpected inconv.wieght" in renamed
    transposed = refused(state | {"inconv.weight": stem.transpose(0, 1)}, "basnet")
    assert "inconv.weight (3x64x3x3, needs 64x3x3x3)" in transposed
    assert "inconv.weight (type torch.int64" in refused(state | {"inconv.weight": stem.long()}, "basnet")


def test_a_damaged_checkpoint_never_passes_as_an_encoder() -> None:
    """BASNet's own names contain everything that a ResNet-34 file must have."""
    for name, key in (("basnet", "outconv1.bias"), ("gem-tiny", "sem_seg_head.predictor.class_embed.bias")):
        state = hollow(NETWORKS[name].keys)
        del state[key]
        assert f"missing {key}" in refused(state, name)


def test_long_lists_are_cut_but_counted() -> None:
    state = dict(list(hollow("basnet").items())[50:])
    message = refused(state, "basnet")
    assert re.search(r"and \d+ more", message)
    assert len(message) < 600


@pytest.mark.parametrize(
    ("keys", "asked", "belongs"),
    [
        ("basnet", "pgsnet", ["basnet"]),
        ("gem_tiny", "gem-base", ["gem-tiny"]),
        ("meticulous_mobile_L", "mobile-meticulousnet-h", ["mobile-meticulousnet-l"]),
        ("gfm_r34_ft", "gfm-r34-tt", ["gfm-r34-ft", "gfm-r34-bt"]),
        ("mobile_sam", "gem-base", ["gem-tiny"]),
        ("torchvision_resnet50", "basnet", ["meticulousnet-l"]),
    ],
)
def test_another_networks_file_is_recognised(keys: str, asked: str, belongs: list[str]) -> None:
    message = refused(hollow(keys), asked)
    assert f"not for '{asked}' but for '{belongs[0]}'" in message
    for name in belongs:
        assert f"--model {name}" in message


def test_a_stranger_and_another_networks_damaged_file() -> None:
    assert "nor of any network here" in refused({"conv.kernel": torch.zeros(3)}, "basnet")
    damaged = hollow("pgsnet")
    damaged.popitem()
    assert "looks like a damaged or changed 'pgsnet'" in refused(damaged, "basnet")


def test_resnext_of_another_width_is_refused() -> None:
    assert "256x8x3x3, needs 128x4x3x3" in refused(hollow("torchvision_resnext101_32x8d"), "pgsnet")


def test_values_that_are_not_finite_are_refused() -> None:
    state = hollow(KEYS)
    state["head8.conv1.bias"] = state["head8.conv1.bias"] + float("nan")
    assert "head8.conv1.bias" in refused(state, NAME)
