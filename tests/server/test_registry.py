from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from server import registry
from server.errors import BadOption, ModelUnavailable, UnknownModel
from server.networks.catalogue import NETWORKS
from server.segmenters.external import EXTERNALS

PIPELINES = {"meticulousnet", "mobile-meticulousnet", "lite0-meticulousnet"}


def test_every_network_and_pipeline_is_a_model() -> None:
    assert set(registry.models()) == set(NETWORKS) | PIPELINES | set(EXTERNALS) | {"grabcut", "lite"}


def test_a_pipeline_adds_up_its_networks() -> None:
    pipeline = registry.find("mobile-meticulousnet")
    assert (
        pipeline.parameters
        == NETWORKS["mobile-meticulousnet-l"].parameters + NETWORKS["mobile-meticulousnet-h"].parameters
    )


@pytest.mark.parametrize(("name", "hint"), [("grabcat", "grabcut"), ("basnett", "basnet"), ("zzz", "lists them")])
def test_an_unknown_name_gets_the_nearest_ones(name: str, hint: str) -> None:
    with pytest.raises(UnknownModel, match=hint):
        registry.load(name)


def test_missing_weights_say_how_to_get_them() -> None:
    with pytest.raises(ModelUnavailable, match="weights import FILE --model basnet"):
        registry.load("basnet")


def test_one_file_cannot_be_two_networks(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="import a file for each"):
        registry.load("mobile-meticulousnet", weights=tmp_path / "x.safetensors")


def test_a_model_is_loaded_once() -> None:
    assert registry.load("grabcut") is registry.load("grabcut")


def test_listing_the_models_needs_no_torch() -> None:
    listing = "import sys; from server import registry; [model.weights() for model in registry.models().values()]"
    code = f"{listing}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
