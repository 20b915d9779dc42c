from __future__ import annotations

from pathlib import Path

import pytest

from desktop_agent.clips import Clip, ClipStore
from desktop_agent.errors import AgentError, NotFound

DEVICE = "device-1"


def add(store: ClipStore, png: bytes = b"png", device: str = DEVICE) -> Clip:
    return store.add(
        device, png, size=(2, 1), photo_size=(20, 10), box=(3, 4, 5, 5), score=0.9, model="m", server="embedded"
    )


def test_a_clip_survives_a_restart(tmp_path: Path) -> None:
    clip = add(ClipStore(tmp_path), b"pixels")
    reopened = ClipStore(tmp_path)
    assert reopened.get(DEVICE, clip.id) == clip
    assert reopened.png(clip) == b"pixels"


def test_files_are_private(tmp_path: Path) -> None:
    add(ClipStore(tmp_path))
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*.*")} == {0o600}


def test_the_oldest_go_when_there_are_too_many(tmp_path: Path) -> None:
    store = ClipStore(tmp_path, kept=3)
    ids = [add(store).id for _ in range(5)]
    assert [clip.id for clip in store.all(DEVICE)] == ids[:1:-1]
    assert len(list(tmp_path.rglob("*.png"))) == 3


def test_one_device_does_not_see_anothers(tmp_path: Path) -> None:
    store = ClipStore(tmp_path)
    clip = add(store)
    with pytest.raises(NotFound, match="no such cut-out"):
        store.get("device-2", clip.id)
    assert store.all("device-2") == []
    assert store.all() == [clip]


@pytest.mark.parametrize("device", ["../other", "a/b", "", "x" * 100, "device\0"])
def test_a_device_name_is_never_a_path(tmp_path: Path, device: str) -> None:
    with pytest.raises(NotFound):
        add(ClipStore(tmp_path / "clips"), device=device)
    assert not list(tmp_path.iterdir())


def test_delete_and_forget(tmp_path: Path) -> None:
    store = ClipStore(tmp_path)
    first, second = add(store), add(store)
    store.delete(first)
    assert store.all(DEVICE) == [second]
    with pytest.raises(NotFound, match="make it again"):
        store.png(first)
    store.forget(DEVICE)
    assert store.all() == []


def test_a_damaged_file_is_no_clip(tmp_path: Path) -> None:
    store = ClipStore(tmp_path)
    clip = add(store)
    (tmp_path / DEVICE / "broken.json").write_text('{"id": ')
    (tmp_path / DEVICE / "foreign.json").write_text("{}")
    assert store.all(DEVICE) == [clip]


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("desktop_agent.clips.write_private", full)
    with pytest.raises(AgentError, match="free some space"):
        add(ClipStore(tmp_path))
