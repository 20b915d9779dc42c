from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from desktop_agent.board import BoardStore
from desktop_agent.board import items as limits
from desktop_agent.board import store as store_module
from desktop_agent.errors import BadRequest, NotFound
from desktop_agent.geometry import Placement, Point
from desktop_agent.paste.driver import RGBA


def cutout(value: int = 200, height: int = 6, width: int = 8) -> RGBA:
    return np.full((height, width, 4), value, np.uint8)


def at(x: float, y: float, scale: float = 1.0, rotation: float = 0.0) -> Placement:
    return Placement(Point(x, y), scale, rotation)


def pictures(store: BoardStore) -> list[str]:
    return sorted(path.name for path in (store.folder / "images").iterdir())


def test_is_kept_on_disk_under_the_users_folder(private_home: Path) -> None:
    import cv2

    store = BoardStore()
    assert store.folder == private_home / "board"
    image = np.random.default_rng(1).integers(1, 256, (5, 7, 4)).astype(np.uint8)
    item = store.add(image, at(10.25, -3, 0.5, 190))
    assert (item.width, item.height, item.x, item.y, item.scale, item.rotation) == (7, 5, 10.25, -3, 0.5, -170)
    again = BoardStore()
    assert again.snapshot().items == (item,)
    saved = cv2.imread(str(again.image_path(item.image)), cv2.IMREAD_UNCHANGED)
    assert (saved[..., [2, 1, 0, 3]] == image).all()


def test_every_change_raises_the_revision_and_can_be_undone_and_redone(tmp_path: Path) -> None:
    store = BoardStore(tmp_path)
    states = [store.snapshot()]
    item = store.add(cutout(), at(1, 2))
    states.append(store.snapshot())
    store.update(item.id, {"x": 9.0, "scale": 2.0})
    states.append(store.snapshot())
    copy = store.duplicate(item.id)
    states.append(store.snapshot())
    store.restack(copy.id, "back")
    states.append(store.snapshot())
    store.remove(item.id)
    states.append(store.snapshot())
    revisions = [state.revision for state in states]
    assert revisions == sorted(set(revisions))
    for state in reversed(states[:-1]):
        store.undo()
        assert store.snapshot().items == state.items
    assert not store.snapshot().can_undo
    store.undo()
    for state in states[1:]:
        store.redo()
        assert store.snapshot().items == state.items
    assert not store.snapshot().can_redo


def test_a_new_change_ends_redo(tmp_path: Path) -> None:
    store = BoardStore(tmp_path)
    item = store.add(cutout(), at(1, 2))
    store.update(item.id, {"x": 5})
    store.undo()
    store.update(item.id, {"y": 7})
    assert not store.snapshot().can_redo
    assert (store.get(item.id).x, store.get(item.id).y) == (1, 7)


def test_no_change_is_no_step(tmp_path: Path) -> None:
    store = BoardStore(tmp_path)
    item = store.add(cutout(), at(1, 2))
    before = store.snapshot()
    store.update(item.id, {"x": 1})
    store.restack(item.id, "front")
    assert store.snapshot() == before


@pytest.mark.parametrize(
    ("level", "order"),
    [("front", "acdb"), ("back", "bacd"), ("forward", "acbd"), ("backward", "bacd")],
)
def test_restack(tmp_path: Path, level: store_module.Level, order: str) -> None:
    store = BoardStore(tmp_path)
    names = {store.add(cutout(index + 1), at(index, 0)).id: name for index, name in enumerate("abcd")}
    second = next(key for key, name in names.items() if name == "b")
    store.restack(second, level)
    assert "".join(names[item.id] for item in store.snapshot().items) == order


def test_an_amended_step_is_undone_with_the_step_before(tmp_path: Path) -> None:
    store = BoardStore(tmp_path)
    item = store.add(cutout(), at(1, 2))
    store.update(item.id, {"x": 1.5}, amend=True)
    assert store.get(item.id).x == 1.5
    store.undo()
    assert store.snapshot().items == ()
    store.redo()
    assert store.get(item.id).x == 1.5


def test_a_withdrawn_item_leaves_no_step_behind(tmp_path: Path) -> None:
    store = BoardStore(tmp_path)
    kept = store.add(cutout(1), at(1, 2))
    gone = store.add(cutout(2), at(3, 4))
    store.update(kept.id, {"x": 8})
    store.withdraw(gone.id)
    assert [item.id for item in store.snapshot().items] == [kept.id]
    store.undo()
    assert store.snapshot().items == (kept,)
    store.undo()
    assert store.snapshot().items == ()


def test_pictures_go_when_no_undo_needs_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "HISTORY", 2)
    store = BoardStore(tmp_path)
    first = store.add(cutout(1), at(0, 0))
    store.duplicate(first.id)
    assert pictures(store) == [f"{first.image}.png"]
    for item in store.snapshot().items:
        store.remove(item.id)
    assert pictures(store) == [f"{first.image}.png"]
    second = store.add(cutout(2), at(0, 0))
    third = store.add(cutout(3), at(0, 0))
    assert pictures(store) == sorted(f"{item.image}.png" for item in (second, third))
    store.remove(third.id)
    assert pictures(BoardStore(tmp_path)) == [f"{second.image}.png"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"version": 9, "items": []}', b'{"version": 1, "items": [{"id": "../x"}]}', b'{"version": 1}'],
)
def test_a_damaged_file_is_kept_aside(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    item = BoardStore(tmp_path).add(cutout(), at(0, 0))
    (tmp_path / "board.json").write_bytes(content)
    store = BoardStore(tmp_path)
    assert store.snapshot().items == ()
    assert "could not be read" in caplog.text
    (kept,) = tmp_path.glob("board.damaged-*.json")
    assert kept.read_bytes() == content
    assert (kept.with_suffix(".images") / f"{item.image}.png").is_file()
    store.add(cutout(), at(0, 0))


def test_an_item_without_its_picture_is_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = BoardStore(tmp_path)
    item, kept = store.add(cutout(1), at(0, 0)), store.add(cutout(2), at(0, 0))
    store.image_path(item.image).unlink()
    assert BoardStore(tmp_path).snapshot().items == (kept,)
    assert "missing" in caplog.text


@pytest.mark.parametrize(
    "pose",
    [
        {"x": float("nan")},
        {"y": 1e7},
        {"scale": 0},
        {"scale": -1},
        {"scale": 1e4},
        {"rotation": "9"},
        {"x": True},
        {"x": None},
    ],
)
def test_refuses_poses_out_of_range(tmp_path: Path, pose: dict[str, object]) -> None:
    store = BoardStore(tmp_path)
    item = store.add(cutout(), at(0, 0))
    with pytest.raises(BadRequest):
        store.update(item.id, pose)
    assert store.snapshot().items == (item,)


@pytest.mark.parametrize("shape", [(4, 4, 3), (4, 4), (0, 4, 4)])
def test_refuses_what_is_no_cutout(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(BadRequest):
        BoardStore(tmp_path).add(np.zeros(shape, np.uint8), at(0, 0))


def test_refuses_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MAX_PIXELS", 100)
    monkeypatch.setattr(store_module, "MAX_ITEMS", 1)
    store = BoardStore(tmp_path)
    with pytest.raises(BadRequest, match="smaller"):
        store.add(cutout(height=11, width=10), at(0, 0))
    item = store.add(cutout(), at(0, 0))
    with pytest.raises(BadRequest, match="Delete one") as failure:
        store.duplicate(item.id)
    assert failure.value.status == 409
    assert limits.MAX_ITEMS > 1


def test_unknown_names(tmp_path: Path) -> None:
    store = BoardStore(tmp_path)
    for call in (lambda: store.remove("x"), lambda: store.update("x", {}), lambda: store.image_path("../board")):
        with pytest.raises(NotFound):
            call()


def test_a_failed_write_leaves_the_old_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = BoardStore(tmp_path)
    store.add(cutout(), at(0, 0))
    before = (tmp_path / "board.json").read_text()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.add(cutout(3), at(0, 0))
    assert (tmp_path / "board.json").read_text() == before
    assert len(json.loads(before)["items"]) == 1
    assert len(store.snapshot().items) == 1
    assert not list(tmp_path.rglob(".new-*"))
