"""From an official file to a network that predicts, through the store and the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from server.errors import BadOption, BadWeights, ModelUnavailable, ServerError, UnknownModel
from server.networks.catalogue import NETWORKS
from server.weights import importer, store
from server.weights.command import weights
from server.weights.importer import import_checkpoint
from server.weights.loading import load_encoder, load_network
from tests.server.networks.base import load_golden, one_thread
from tests.server.networks.formula import formula_input, formula_value
from tests.server.weights.official import filled, hollow

__all__ = ["one_thread"]
NAME = "mobile-meticulousnet-l"
KEYS = NETWORKS[NAME].keys


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The formula's weights as a DataParallel training would have saved them."""
    path = tmp_path_factory.mktemp("official") / "mos_l.pth"
    gain = float(load_golden(KEYS)["gain"])
    torch.save({f"module.{key}": value for key, value in filled(KEYS, gain).items()}, path)
    return path


def golden_error(network: torch.nn.Module) -> float:
    golden = load_golden(KEYS)
    with torch.inference_mode():
        finest = network(formula_input(96))[-1]
    return float(np.abs(finest.numpy() - golden["s96_s2_3"]).max())


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_an_imported_checkpoint_gives_the_golden_output(official: Path, private_home: Path) -> None:
    done = import_checkpoint(official, NAME)
    assert done.path == private_home / "weights" / f"{NAME}.safetensors"
    assert (done.content, done.tensors) == ("network", len(load_file(done.path)))
    assert done.path.stat().st_mode & 0o777 == 0o644
    network = load_network(NAME)
    assert not network.training
    assert golden_error(network) <= 1e-4


def test_an_official_file_is_loaded_without_importing(official: Path) -> None:
    assert golden_error(load_network(NAME, official)) <= 1e-4


def test_the_manifest_holds_hashes_of_both_files(official: Path, private_home: Path) -> None:
    done = import_checkpoint(official, NAME)
    entry = json.loads((done.path.parent / store.MANIFEST).read_text())[done.path.name]
    assert entry["sha256"] == done.sha256 == store.sha256(done.path) == store.verify(done.path)
    assert (entry["model"], entry["source"], entry["source_sha256"]) == (NAME, official.name, store.sha256(official))
    with safe_open(done.path, "pt") as file:
        assert file.metadata()["model"] == NAME


def test_a_file_that_changed_since_is_refused(official: Path) -> None:
    path = import_checkpoint(official, NAME).path
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadWeights, match="has changed since it was imported"):
        load_network(NAME)


def test_a_refused_checkpoint_leaves_everything_as_it_was(official: Path, private_home: Path, tmp_path: Path) -> None:
    path = import_checkpoint(official, NAME).path
    before = {name: (path.parent / name).read_bytes() for name in files(path.parent)}
    state = hollow(KEYS)
    state["psp.bottleneck.wieght"] = state.pop("psp.bottleneck.weight")
    torch.save(state, tmp_path / "bad.pth")
    for out in (None, path, tmp_path / "fresh.safetensors"):
        with pytest.raises(BadWeights, match=r"missing psp\.bottleneck\.weight; unexpected psp\.bottleneck\.wieght"):
            import_checkpoint(tmp_path / "bad.pth", NAME, out)
    assert {name: (path.parent / name).read_bytes() for name in files(path.parent)} == before
    assert files(tmp_path / "arcp-home" / "weights") == sorted(before)
    assert not (tmp_path / "fresh.safetensors").exists()


def test_a_write_that_fails_leaves_no_part_behind(
    official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ServerError, match="No space left on device"):
        import_checkpoint(official, NAME, tmp_path / "out.safetensors")
    assert files(tmp_path) == ["arcp-home"] or files(tmp_path) == []


def test_out_is_a_file_or_a_folder(official: Path, tmp_path: Path) -> None:
    assert import_checkpoint(official, NAME, tmp_path / "new" / "mine.safetensors").path.is_file()
    assert not (tmp_path / "new" / store.MANIFEST).exists(), "only a weights folder keeps a manifest"
    assert import_checkpoint(official, NAME, tmp_path).path == tmp_path / f"{NAME}.safetensors"
    with pytest.raises(BadOption, match=r"\.safetensors"):
        import_checkpoint(official, NAME, tmp_path / "mine.bin")


def test_lookup_prefers_the_named_folders_in_order(
    official: Path, tmp_path: Path, private_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    monkeypatch.setenv("ARCP_WEIGHTS", os.pathsep.join([str(first), str(second)]))
    assert store.folders() == [first, second, private_home / "weights"]
    assert store.find(NAME) is None
    assert store.state(NAME) == "not installed"
    import_checkpoint(official, NAME)
    assert store.find(NAME) == private_home / "weights" / f"{NAME}.safetensors"
    import_checkpoint(official, NAME, second)
    assert store.find(NAME) == second / f"{NAME}.safetensors"
    assert store.manifest(second)
    (first / f"{NAME}.pth").write_bytes(official.read_bytes())
    assert store.find(NAME) == first / f"{NAME}.pth", "an official file may lie there as it is"
    assert golden_error(load_network(NAME)) <= 1e-4


def test_weights_that_are_not_there_say_how_to_get_them() -> None:
    with pytest.raises(ModelUnavailable, match="python -m server weights import FILE --model basnet"):
        load_network("basnet")


def test_an_encoder_starts_a_training_and_is_no_model(private_home: Path, tmp_path: Path) -> None:
    torch.save(filled("torchvision_mobilenet_v3_large"), tmp_path / "mobilenet.pth")
    done = import_checkpoint(tmp_path / "mobilenet.pth", NAME)
    assert done.path.name == f"{NAME}.encoder.safetensors"
    assert store.find(NAME) is None, "it must not be taken for the model"
    with pytest.raises(BadWeights, match="only the encoder"):
        load_network(NAME, done.path)
    with pytest.raises(BadWeights, match="only the encoder"):
        load_network(NAME, tmp_path / "mobilenet.pth")
    expected = torch.from_numpy(formula_value("features.0.0.weight", (16, 3, 3, 3)))
    for path in (done.path, tmp_path / "mobilenet.pth"):
        network = NETWORKS[NAME].build()
        head = network.state_dict()["head8.conv1.weight"].clone()
        load_encoder(network, NAME, path)
        assert torch.equal(network.state_dict()["encoder.features.0.0.weight"], expected)
        assert torch.equal(network.state_dict()["head8.conv1.weight"], head)


def test_weights_of_a_twin_are_refused_by_their_note(official: Path, tmp_path: Path) -> None:
    """GFM's FT and BT have one layout; only the importer's note tells such files apart."""
    state = load_file(import_checkpoint(official, NAME).path)
    twin = tmp_path / "twin.safetensors"
    save_file(state, twin, {"model": "gfm-r34-ft"})
    with pytest.raises(BadWeights, match=f"the weights of 'gfm-r34-ft', not of '{NAME}'"):
        load_network(NAME, twin)
    save_file(state, twin, {"model": NAME})
    assert golden_error(load_network(NAME, twin)) <= 1e-4


def test_shipped_weights_come_last(official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "SHIPPED", tmp_path / "shipped")
    (tmp_path / "shipped" / NAME).mkdir(parents=True)
    (tmp_path / "shipped" / NAME / f"{NAME}.onnx").write_bytes(b"x")
    assert store.find(NAME) is None, "another runtime's file"
    assert "shipped with the package" in CliRunner().invoke(weights, ["list"]).stdout
    done = import_checkpoint(official, NAME, tmp_path / "shipped" / NAME)
    assert store.find(NAME) == store.shipped(NAME) == done.path
    assert import_checkpoint(official, NAME).path == store.find(NAME)


def test_without_torch_the_extra_is_named(official: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "find_spec", lambda name: None)
    with pytest.raises(ModelUnavailable, match=r"ar-copy-paste\[torch\]"):
        import_checkpoint(official, NAME)


def test_an_unknown_network_is_named_with_near_ones(official: Path) -> None:
    with pytest.raises(UnknownModel, match="mobile-meticulousnet-l"):
        import_checkpoint(official, "mobile-meticulousnet")


def test_a_damaged_manifest_says_so(official: Path) -> None:
    path = import_checkpoint(official, NAME).path
    (path.parent / store.MANIFEST).write_text("{")
    with pytest.raises(BadWeights, match="delete it and import"):
        store.verify(path)


def test_commands(official: Path, private_home: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        result = CliRunner().invoke(weights, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    assert "not installed" in run("info", NAME)
    line = run("import", str(official), "--model", NAME)
    path = private_home / "weights" / f"{NAME}.safetensors"
    assert str(path) in line
    digest = store.sha256(path)
    assert digest in line
    listed = {line.split()[0]: line for line in run("list").splitlines()[1:]}
    assert set(listed) == set(NETWORKS)
    assert digest[:16] in listed[NAME]
    assert "not installed" in listed["basnet"]
    info = run("info", NAME)
    for fact in (digest, "3,332,054", official.name, str(path)):
        assert fact in info
    path.write_bytes(path.read_bytes() + b"x")
    assert "CHANGED" in run("list")
    with pytest.raises(BadWeights, match="changed"):
        run("info", NAME)
    (path.parent / "basnet.pth").write_bytes(b"")
    assert "not in the manifest" in run("list")
    assert str(tmp_path / "elsewhere.safetensors") in run(
        "import", str(official), "--model", NAME, "-o", str(tmp_path / "elsewhere.safetensors")
    )
