from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient

from desktop_agent.board import BoardStore, create_board
from desktop_agent.board.items import Item
from desktop_agent.geometry import Placement, Point

SAME = {"Sec-Fetch-Site": "same-origin"}
PAGE = "page12345"
VIEW = {
    "width": 800, "height": 600, "scale": 1, "x": 0, "y": 0, "radius": 6, "code": 0,
    "marks": [[12, 12], [788, 12], [788, 588], [12, 588]],
}  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BoardStore]:
    store = BoardStore(tmp_path)
    yield store
    store.close()


@pytest.fixture
def client(store: BoardStore) -> FlaskClient:
    app = Flask("board-test")
    app.register_blueprint(create_board(store, poll_s=0.3))
    return app.test_client()


@pytest.fixture
def item(store: BoardStore) -> Item:
    return store.add(np.full((4, 4, 4), 255, np.uint8), Placement(Point(10, 20)))


def test_page_and_its_files_allow_no_foreign_code(client: FlaskClient) -> None:
    page = client.get("/board", buffered=True)
    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    text = page.get_data(as_text=True)
    assert " style=" not in text
    assert "onclick" not in text
    for name in ("board.js", "board.css", "icon.svg"):
        assert f"/board/web/{name}" in text
        assert client.get(f"/board/web/{name}", buffered=True).status_code == 200
    assert "javascript" in client.get("/board/web/board.js", buffered=True).content_type


def test_changes_follow_edits(client: FlaskClient, store: BoardStore, item: Item) -> None:
    state = client.get(f"/board/api/changes?page={PAGE}", headers=SAME).get_json()
    assert state["items"] == [item.as_json()]
    assert (state["code"], state["hail"]) == (0, None)
    state = client.patch(f"/board/api/items/{item.id}", json={"x": 5, "rotation": 370}, headers=SAME).get_json()
    assert (state["items"][0]["x"], state["items"][0]["rotation"]) == (5, 10)
    state = client.post(f"/board/api/items/{item.id}/duplicate", json={}, headers=SAME).get_json()
    assert state["added"] in [other["id"] for other in state["items"]]
    state = client.post(f"/board/api/items/{item.id}/restack", json={"to": "front"}, headers=SAME).get_json()
    assert state["items"][-1]["id"] == item.id
    state = client.delete(f"/board/api/items/{item.id}", headers=SAME).get_json()
    assert len(state["items"]) == 1
    for _ in range(4):
        state = client.post("/board/api/undo", json={}, headers=SAME).get_json()
    assert state["items"] == [item.as_json()]
    assert state["can_redo"]
    state = client.post("/board/api/redo", json={}, headers=SAME).get_json()
    assert state["items"][0]["x"] == 5
    picture = client.get(f"/board/images/{item.image}.png")
    assert picture.data == store.image_path(item.image).read_bytes()
    assert picture.content_type == "image/png"
    picture.close()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:81"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_other_sites_change_nothing(
    client: FlaskClient, store: BoardStore, item: Item, headers: dict[str, str]
) -> None:
    calls = [
        lambda: client.patch(f"/board/api/items/{item.id}", json={"x": 5}, headers=headers),
        lambda: client.delete(f"/board/api/items/{item.id}", headers=headers),
        lambda: client.post(f"/board/api/items/{item.id}/duplicate", json={}, headers=headers),
        lambda: client.post("/board/api/undo", json={}, headers=headers),
        lambda: client.post("/board/api/leave", json={"page": PAGE}, headers=headers),
        lambda: client.post("/board/api/painted", json={"page": PAGE}, headers=headers),
    ]
    for call in calls:
        answer = call()
        assert answer.status_code == 403
        assert answer.get_json()["errors"][0]["code"] == "cross_origin"
    assert store.snapshot().items == (item,)


def test_own_origin_may_change(client: FlaskClient, item: Item) -> None:
    url = f"/board/api/items/{item.id}"
    assert client.patch(url, json={"x": 5}, headers={"Origin": "http://localhost"}).status_code == 200
    assert client.patch(url, json={"x": 6}, headers={"Origin": "http://localhost"} | SAME).status_code == 200


def test_other_sites_see_nothing_but_may_link_to_the_page(client: FlaskClient, item: Item) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site"}
    assert client.get(f"/board/images/{item.image}.png", headers=foreign).status_code == 403
    assert client.get(f"/board/api/changes?page={PAGE}", headers=foreign).status_code == 403
    assert client.get("/board", buffered=True, headers=foreign | {"Sec-Fetch-Mode": "navigate"}).status_code == 200
    assert client.get("/board", buffered=True, headers=foreign | {"Sec-Fetch-Mode": "no-cors"}).status_code == 403


BAD = [
    ("PATCH", "/items/{id}", {}, 400),
    ("PATCH", "/items/{id}", {"z": 3}, 400),
    ("PATCH", "/items/{id}", {"x": "1"}, 400),
    ("PATCH", "/items/{id}", {"scale": 0}, 400),
    ("PATCH", "/items/{id}", [], 400),
    ("PATCH", "/items/nothere", {"x": 1}, 404),
    ("DELETE", "/items/nothere", None, 404),
    ("POST", "/items/{id}/restack", {"to": "moon"}, 400),
    ("POST", "/items/{id}/restack", {"to": ["front"]}, 400),
    ("POST", "/painted", {"page": PAGE, "revision": "1", "view": VIEW}, 400),
    ("POST", "/painted", {"page": PAGE, "revision": 1, "hail": None, "view": VIEW | {"marks": [[1, 2]]}}, 400),
    ("POST", "/painted", {"page": PAGE, "revision": 1, "hail": None, "view": VIEW | {"scale": 0}}, 400),
    ("POST", "/painted", {"page": PAGE, "revision": 1, "hail": None, "view": VIEW | {"width": None}}, 400),
    ("POST", "/painted", {"page": PAGE, "revision": 1, "hail": None, "view": 3}, 400),
    ("POST", "/leave", {"page": "../../.."}, 400),
    ("POST", "/leave", {"page": "x" * 70_000}, 413),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), BAD)
def test_bad_input_is_named(
    client: FlaskClient, store: BoardStore, item: Item, method: str, path: str, body: Any, status: int
) -> None:
    answer = client.open("/board/api" + path.format(id=item.id), method=method, json=body, headers=SAME)
    assert answer.status_code == status
    (error,) = answer.get_json()["errors"]
    assert error["detail"].endswith((".", "it.", "page."))
    assert store.snapshot().items == (item,)


def test_text_that_is_no_json(client: FlaskClient) -> None:
    answer = client.post("/board/api/undo", data="{", content_type="application/json", headers=SAME)
    assert answer.status_code == 200  # undo takes no body
    answer = client.post("/board/api/leave", data="{", content_type="application/json", headers=SAME)
    assert answer.status_code == 400


def test_waiting_ends_with_a_change_a_hail_or_the_time(client: FlaskClient, store: BoardStore) -> None:
    since = store.snapshot().revision
    url = f"/board/api/changes?page={PAGE}&since={since}"
    started = time.monotonic()
    assert client.get(url, headers=SAME).get_json()["revision"] == since
    assert 0.25 < time.monotonic() - started < 3

    timer = threading.Timer(0.05, lambda: store.add(np.ones((2, 2, 4), np.uint8), Placement(Point(0, 0))))
    timer.start()
    state = client.get(url, headers=SAME).get_json()
    timer.join()
    assert len(state["items"]) == 1

    views: dict[str, Any] = {}
    hailing = threading.Thread(target=lambda: views.update(store.pages.hail(5)), name="arcp-test-hail")
    hailing.start()
    hail = None
    while hail is None:
        url = f"/board/api/changes?page={PAGE}&since={store.snapshot().revision}"
        hail = client.get(url, headers=SAME).get_json()["hail"]
    report = {"page": PAGE, "revision": store.snapshot().revision, "hail": hail, "view": VIEW}
    assert client.post("/board/api/painted", json=report, headers=SAME).status_code == 200
    hailing.join()
    assert views[PAGE].size == (800, 600)
    assert store.pages.wait_painted(PAGE, report["revision"], 0) is not None
    assert store.pages.wait_painted(PAGE, report["revision"] + 1, 0) is None


def test_only_four_wait_at_once(client: FlaskClient, store: BoardStore) -> None:
    since = store.snapshot().revision
    answers: list[dict[str, Any]] = []
    app = client.application

    def poll(index: int) -> None:
        url = f"/board/api/changes?page={PAGE}{index}&since={since}"
        answers.append(app.test_client().get(url, headers=SAME).get_json())

    threads = [threading.Thread(target=poll, args=(index,), name=f"arcp-test-{index}") for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer["pause_ms"] for answer in answers) == [0, 0, 0, 0, 2000, 2000]
    assert sorted(answer["code"] for answer in answers) == [0, 3, 5, 6, 9, 10]


def test_a_page_that_left_frees_its_code(client: FlaskClient, store: BoardStore) -> None:
    client.get(f"/board/api/changes?page={PAGE}&since=-1", headers=SAME)
    assert store.pages.count() == 1
    client.post("/board/api/leave", json={"page": PAGE}, headers=SAME)
    assert store.pages.count() == 0
    assert store.pages.hail(0.01) == {}


def test_nine_pages_are_too_many(client: FlaskClient) -> None:
    codes = [client.get(f"/board/api/changes?page={PAGE}{n}", headers=SAME).get_json()["code"] for n in range(8)]
    assert sorted(codes) == [0, 3, 5, 6, 9, 10, 12, 15]
    assert client.get("/board/api/changes?page=onetoomany", headers=SAME).status_code == 429
