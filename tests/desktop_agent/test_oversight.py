"""Asked before a paste: a yes pastes, a no and silence do not, and the question names who and where."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from desktop_agent.app import create_app
from desktop_agent.desk import Tickets, create_desk
from desktop_agent.oversight import Oversight
from desktop_agent.pairing import Inviter
from tests.desktop_agent.conftest import World


@pytest.fixture
def oversight(tmp_path: Path) -> Iterator[Oversight]:
    watch = Oversight(tmp_path / "settings.json")
    yield watch
    watch.close()


@pytest.fixture
def asked(world: World, oversight: Oversight) -> Iterator[SimpleNamespace]:
    """An agent that asks first, its window, and a thread for the phone."""
    oversight.asks = True
    world.agent.oversight = oversight
    inviter, tickets = Inviter(world.access), Tickets()
    app = create_app(world.agent, world.access)
    app.register_blueprint(
        create_desk(world.access, inviter, world.agent.clips, tickets, "Studio PC", oversight=oversight)
    )
    owner = world.headers(world.access.local_token)
    with ThreadPoolExecutor(1, thread_name_prefix="arcp-test-phone") as phone:
        yield SimpleNamespace(
            paste=lambda: phone.submit(paste, app, world.headers()),
            state=lambda: app.test_client().get("/desk/state", headers=owner).get_json()["pastes"],
            post=lambda path, body: app.test_client().post(path, json=body, headers=owner),
            get=lambda path, headers=owner: app.test_client().get(path, headers=headers),
            world=world,
        )
        oversight.close()


def paste(app: Any, headers: dict[str, str]) -> Any:
    """The screen itself as the view: it is where it is."""
    client, png = app.test_client(), io.BytesIO()
    Image.fromarray(np.full((40, 60, 4), 200, np.uint8)).save(png, "PNG")
    png.seek(0)
    clip = client.post("/clips", data={"image": (png, "c.png")}, headers=headers).get_json()["clip"]
    view = Path(__file__).parents[2] / "mobile_client_stub" / "samples" / "desktop.png"
    with view.open("rb") as file:
        data = {"view": (file, "v.png"), "clip": clip, "placement": json.dumps({"x": 960, "y": 540, "scale": 1})}
        return client.post("/paste", data=data, headers=headers)


def until(value: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (found := value()):
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.05)
    return found


def test_a_yes_pastes(asked: SimpleNamespace) -> None:
    running: Future[Any] = asked.paste()
    (question,) = until(lambda: asked.state()["questions"])
    assert question["application"] == "poster"
    assert question["device"] == asked.world.access.devices.all()[0].id
    assert asked.world.driver.pasted == []
    assert asked.get(f"/desk/question/{question['id']}.png").data.startswith(b"\x89PNG")
    assert asked.get("/status", headers=asked.world.headers()).get_json()["asking"] is True
    assert asked.post("/desk/answer", {"question": question["id"], "yes": True}).status_code == 200
    assert running.result().get_json()["status"] == "pasted"
    assert asked.state()["questions"] == []
    assert [done["application"] for done in asked.state()["pastes"]] == ["Editor"]


def test_a_no_does_not_and_says_so(asked: SimpleNamespace) -> None:
    running: Future[Any] = asked.paste()
    (question,) = until(lambda: asked.state()["questions"])
    asked.post("/desk/answer", {"question": question["id"], "yes": False})
    answer = running.result()
    assert (answer.status_code, answer.get_json()["reason"]) == (422, "not_allowed")
    assert "kept" in answer.get_json()["message"]
    assert asked.world.driver.pasted == []


def test_a_phone_cannot_answer_for_the_computer(asked: SimpleNamespace) -> None:
    client = create_app(asked.world.agent, asked.world.access).test_client()
    assert client.post("/desk/answer", json={}, headers=asked.world.headers()).status_code == 404
    refused = asked.get("/desk/state", headers=asked.world.headers())
    assert refused.status_code == 401


def test_silence_is_a_no_and_brings_the_window_up(tmp_path: Path) -> None:
    fetched: list[int] = []
    watch = Oversight(tmp_path / "settings.json", answer_seconds=0.2)
    watch.fetch = lambda: fetched.append(1)
    watch.asks = True
    assert watch.allows("phone", "clip", "Inkscape") is False
    assert fetched == [1]
    watch.public()  # the window is open and looks
    assert watch.allows("phone", "clip", "Inkscape") is False
    assert fetched == [1]
    assert watch.public()["questions"] == []


def test_nobody_is_asked_unless_it_is_wanted(oversight: Oversight) -> None:
    assert oversight.allows("phone", "clip", "Inkscape")


def test_this_computers_own_commands_are_not_asked(oversight: Oversight) -> None:
    oversight.asks = True
    assert oversight.allows("this-computer", "clip", "Inkscape")


def test_the_end_of_the_agent_is_a_no(oversight: Oversight) -> None:
    oversight.asks = True
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(oversight.allows("phone", "clip", "Inkscape")))
    thread.start()
    until(lambda: oversight.waits("phone"))
    oversight.close()
    thread.join()
    assert answers == [False]


def test_the_setting_is_kept_and_changed_in_the_window(asked: SimpleNamespace, tmp_path: Path) -> None:
    assert asked.post("/desk/ask", {"first": False}).status_code == 200
    assert Oversight(tmp_path / "settings.json").asks is False
    asked.post("/desk/ask", {"first": True})
    assert Oversight(tmp_path / "settings.json").asks is True
    assert asked.post("/desk/ask", {"first": "yes"}).status_code == 400


def test_a_damaged_setting_asks_nobody(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("[1")
    assert Oversight(tmp_path / "settings.json").asks is False
