"""This computer's own window: for its owner alone."""

from __future__ import annotations

import io
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from desktop_agent.app import create_app
from desktop_agent.desk import Tickets, create_desk
from desktop_agent.found import FoundSegmentation, FoundServer
from desktop_agent.geometry import Placement, Point
from desktop_agent.pairing import Inviter
from server.images import encode_png
from tests.desktop_agent.conftest import World


@pytest.fixture
def desk(world: World, tmp_path: Path) -> SimpleNamespace:
    found = FoundSegmentation(world.agent.segmentation, tmp_path / "server.json")
    inviter, tickets = Inviter(world.access), Tickets()
    inviter.serve("http://localhost", None)
    app = create_app(world.agent, world.access)
    app.register_blueprint(
        create_desk(world.access, inviter, world.agent.clips, tickets, "Studio PC", found, put=world.agent.put)
    )
    return SimpleNamespace(app=app, client=app.test_client(), tickets=tickets, found=found, world=world)


def enter(desk: SimpleNamespace) -> None:
    assert desk.client.post("/desk/enter", json={"ticket": desk.tickets.issue()}).status_code == 200


def test_without_a_ticket_there_is_nothing_to_see(desk: SimpleNamespace) -> None:
    assert desk.client.get("/desk", buffered=True).status_code == 200
    for method, path in (
        ("GET", "/desk/state"),
        ("POST", "/desk/invite"),
        ("POST", "/desk/revoke"),
        ("POST", "/desk/ticket"),
    ):
        assert desk.client.open(path, method=method, json={}).status_code == 401
    assert not desk.world.access.pairing.is_open


def test_a_phone_is_not_the_owner(desk: SimpleNamespace) -> None:
    assert desk.client.post("/desk/invite", json={}, headers=desk.world.headers()).status_code == 401


def test_nothing_of_it_leaves_the_computer(desk: SimpleNamespace) -> None:
    owner = desk.world.headers(desk.world.access.local_token)
    for path in ("/desk", "/desk/state"):
        away = desk.client.get(path, headers=owner, environ_base={"REMOTE_ADDR": "192.168.1.9"})
        assert away.status_code == 401


def test_a_ticket_works_once(desk: SimpleNamespace) -> None:
    ticket = desk.tickets.issue()
    assert desk.client.post("/desk/enter", json={"ticket": ticket}).status_code == 200
    assert desk.app.test_client().post("/desk/enter", json={"ticket": ticket}).status_code == 401


def test_the_window_shows_the_code_and_the_phone_that_came(desk: SimpleNamespace) -> None:
    enter(desk)
    assert desk.client.get("/desk/state").get_json()["invitation"] is None
    desk.client.post("/desk/invite", json={})
    state = desk.client.get("/desk/state").get_json()
    assert state["invitation"]["svg"].startswith("<svg")
    assert 170 < state["invitation"]["seconds"] <= 180
    token = state["invitation"]["url"].partition("#")[2]
    paired = desk.app.test_client().post("/pair", json={"token": token, "name": "<b>Pixel</b>"}).get_json()
    after = desk.client.get("/desk/state").get_json()
    assert after["invitation"] is None
    assert after["last_code"] == state["invitation"]["code"] == paired["code"]
    assert after["devices"][-1]["name"] == "<b>Pixel</b>"


def test_a_phone_is_removed_with_its_clips(desk: SimpleNamespace) -> None:
    enter(desk)
    device = desk.world.access.devices.all()[0]
    desk.world.agent.clips.add(device.id, b"png", size=(1, 1), photo_size=(1, 1), box=(0, 0, 1, 1))
    assert desk.client.post("/desk/revoke", json={"device": device.id}).status_code == 200
    assert desk.world.access.devices.all() == []
    assert desk.world.agent.clips.all() == []


def test_a_found_server_is_confirmed_here_and_nowhere_else(desk: SimpleNamespace) -> None:
    desk.found.seen(FoundServer("gpu-1", "Studio GPU", "https://127.0.0.1:9", "ab" * 32))
    assert desk.client.post("/desk/server", json={"confirm": "gpu-1"}).status_code == 401
    enter(desk)
    answer = desk.client.post("/desk/server", json={"confirm": "gpu-1"}).get_json()
    assert [server["confirmed"] for server in answer["found"]] == [True]
    answer = desk.client.post("/desk/server", json={"confirm": None}).get_json()
    assert answer["name"] == "this computer itself"
    desk.found.close()


def test_the_window_runs_its_own_files_only(desk: SimpleNamespace) -> None:
    page = desk.client.get("/desk", buffered=True)
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    text = page.get_data(as_text=True)
    assert " style=" not in text
    for path in re.findall(r'(?:href|src)="([^"]+)"', text):
        assert desk.client.get(path, buffered=True).status_code == 200, path


def test_a_cutout_of_this_computers_own_lands_at_a_pixel(desk: SimpleNamespace) -> None:
    owner = desk.world.headers(desk.world.access.local_token)
    picture = encode_png(np.full((20, 30, 4), 200, np.uint8))
    clip = desk.client.post("/clips", data={"image": (io.BytesIO(picture), "cup.png")}, headers=owner).get_json()[
        "clip"
    ]
    wish = {"clip": clip, "x": 99.5, "y": 50, "scale": 2, "rotation": -5}
    landing = desk.client.post("/desk/put", json=wish, headers=owner)
    assert (landing.get_json()["application"], landing.get_json()["landing_error_px"]) == ("Editor", 0.25)
    cutout, placement, window = desk.world.driver.pasted[-1]
    assert (cutout.shape, window.title) == ((20, 30, 4), "poster")
    assert placement == Placement(Point(100.0, 50.5), 2, -5)
    for wrong in ({"clip": "none12"}, {"scale": 0}, {"x": "left"}):
        assert desk.client.post("/desk/put", json={**wish, **wrong}, headers=owner).status_code in {400, 404}
    assert desk.client.post("/desk/put", json=wish, headers=desk.world.headers()).status_code == 401  # a phone aims
    assert len(desk.world.driver.pasted) == 1
