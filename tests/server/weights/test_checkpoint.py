"""Files of every kind: what is read, and what is refused in one line without running it."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from server.errors import BadWeights
from server.weights.checkpoint import read_metadata, read_tensors

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def same(tensors: dict[str, torch.Tensor]) -> bool:
    return tensors.keys() == STATE.keys() and all(torch.equal(tensors[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "content",
    [
        STATE,
        OrderedDict(STATE),
        {f"module.{key}": value for key, value in STATE.items()},
        {"model": STATE, "iteration": 7, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1, "params": [0]}]}},
        {"state_dict": {f"module.{key}": value for key, value in STATE.items()}, "epoch": 3},
        {"model": {"state_dict": STATE}},
    ],
    ids=["bare", "ordered", "data-parallel", "detectron2", "state_dict", "nested"],
)
def test_reads_what_training_scripts_save(tmp_path: Path, content: object, legacy: bool) -> None:
    path = tmp_path / "official.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    assert same(read_tensors(path))


def test_reads_safetensors_and_its_notes(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(STATE, path, {"model": "x"})
    assert same(read_tensors(path))
    assert read_metadata(path) == {"model": "x"}
    assert read_metadata(tmp_path / "w.pth") == {}


def test_a_tensor_whose_name_begins_with_module_stays_when_others_do_not(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, path)
    assert set(read_tensors(path)) == {"module.a", "b"}


class Intruder:
    """Touches a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_code_is_named_and_never_run(tmp_path: Path, form: str) -> None:
    path, mark = tmp_path / "evil.pth", tmp_path / "was-here"
    content = {"a.weight": torch.ones(2), "b": Intruder(mark)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(Intruder(mark)))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(BadWeights, match="code") as caught:
        read_tensors(path)
    assert not mark.exists()
    assert "\n" not in caught.value.message
    if form != "pickle":
        assert "mkdir" in caught.value.message


def cases(tmp_path: Path) -> dict[str, tuple[bytes, str]]:
    torch.save(STATE, tmp_path / "new.pth")
    torch.save(STATE, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(STATE, tmp_path / "w.safetensors")
    torch.save([torch.ones(2)], tmp_path / "list.pth")
    torch.save({"a": torch.ones(2), "epoch": 3}, tmp_path / "mixed.pth")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    torch.save({"lr": 0.1}, tmp_path / "none.pth")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "photo.png")
    data = {path.stem + path.suffix: path.read_bytes() for path in tmp_path.iterdir()}
    return {
        "half a zip": (data["new.pth"][: len(data["new.pth"]) // 2], "truncated"),
        "half a legacy file": (data["old.pth"][: len(data["old.pth"]) - 20], "truncated or damaged"),
        "a legacy file's beginning": (data["old.pth"][:40], "truncated or damaged|no checkpoint"),
        "half a safetensors file": (data["w.safetensors"][:-10], "truncated or damaged"),
        "a picture": (data["photo.png"], "a PNG picture"),
        "text": (b"<html>404 not found</html>", "no checkpoint"),
        "nothing": (b"", "empty"),
        "a list": (data["list.pth"], "no tensors by name"),
        "numbers only": (data["none.pth"], "no tensors by name"),
        "tensors and numbers": (data["mixed.pth"], "epoch is no tensor"),
        "a whole module": (data["module.pth"], r"code \(torch.nn.modules.linear.Linear\)"),
    }


def test_what_is_no_checkpoint_says_what_it_is_in_one_line(tmp_path: Path) -> None:
    for what, (content, message) in cases(tmp_path).items():
        path = tmp_path / "official.pth"
        path.write_bytes(content)
        with pytest.raises(BadWeights, match=message) as caught:
            read_tensors(path)
        assert caught.value.message.startswith(str(path)), what
        assert "\n" not in caught.value.message, what
        assert len(caught.value.message) < 400, what


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match="No such file"):
        read_tensors(tmp_path / "nowhere.pth")
    with pytest.raises(BadWeights, match="directory"):
        read_tensors(tmp_path)
