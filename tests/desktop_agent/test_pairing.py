"""Pairing over real listeners: who gets in, how often, with which certificate, and what follows the network."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import requests
import urllib3
from PIL import Image

from desktop_agent.access import COOKIE, Access
from desktop_agent.devices import DeviceStore, PairingWindow
from desktop_agent.lan import LanFace
from desktop_agent.listener import listening
from desktop_agent.pairing import Inviter
from mobile_client_stub.client import AgentClient, NotPaired, Pairing, Unreachable, pair
from tests.desktop_agent.conftest import World

LOOPBACK = "127.0.0.1"


@pytest.fixture
def served(world: World, tmp_path: Path) -> Iterator[SimpleNamespace]:
    """An agent with nobody paired, whose "local network" is the loopback address."""
    from desktop_agent.app import create_app

    access = Access(DeviceStore(tmp_path / "paired.json"), PairingWindow(), "local-token")
    app = create_app(world.agent, access, name="Studio PC")
    addresses = [LOOPBACK]
    lan = LanFace(app, access, LOOPBACK, 0, tmp_path / "tls", addresses=lambda: list(addresses))
    inviter = Inviter(access)
    inviter.serve("http://127.0.0.1:1", lan)
    try:
        yield SimpleNamespace(access=access, lan=lan, inviter=inviter, app=app, agent=world.agent, addresses=addresses)
    finally:
        lan.close()


def post_pair(url: str, token: str, name: str = "phone") -> requests.Response:
    with pytest.warns(urllib3.exceptions.InsecureRequestWarning):
        return requests.post(f"{url}/pair", json={"token": token, "name": name}, verify=False, timeout=20)


def test_the_python_phone_pairs_by_the_whole_address_and_pins_the_certificate(served: SimpleNamespace) -> None:
    invitation = served.inviter.invite()
    pairing = pair(invitation.url, "Python")
    assert pairing.fingerprint == served.lan.certificate.fingerprint
    with AgentClient(pairing) as client:
        assert client.status()["name"] == "Studio PC"
    assert [device.name for device in served.access.devices.all()] == ["Python"]


def test_a_changed_certificate_is_refused(served: SimpleNamespace) -> None:
    pairing = pair(served.inviter.invite().url)
    with AgentClient(Pairing(pairing.url, pairing.token, "ab" * 32)) as client, pytest.raises(Unreachable) as refused:
        client.status()
    assert refused.value.code == "changed_certificate"


def test_another_certificate_in_the_code_ends_the_pairing_before_the_token_is_sent(served: SimpleNamespace) -> None:
    url = served.inviter.invite().url
    with pytest.raises(Unreachable):
        pair(f"{url.rsplit('.', 1)[0]}.{'ab' * 32}")
    assert served.access.pairing.is_open
    assert served.access.devices.all() == []


def test_both_screens_show_the_same_code(served: SimpleNamespace) -> None:
    invitation = served.inviter.invite()
    answer = post_pair(served.lan.url, served.access.pairing.token).json()
    assert answer["code"] == invitation.code == served.access.last_code
    assert answer["computer"] == "Studio PC"


def test_the_code_on_the_screen_is_read_by_a_camera(served: SimpleNamespace) -> None:
    import segno

    invitation = served.inviter.invite()
    text = ""
    for scale in (6, 5, 7, 8, 4):  # a person's camera takes more than one look, too
        out = io.BytesIO()
        segno.make(invitation.url, error="m").save(out, kind="png", scale=scale, border=4)
        picture = np.asarray(Image.open(out).convert("L"))
        readers = (cv2.QRCodeDetector(), cv2.QRCodeDetectorAruco())  # OpenCV's readers miss a code now and then
        text = next((found for reader in readers if (found := reader.detectAndDecode(picture)[0])), "")
        if text:
            break
    assert text == invitation.url
    token, _, fingerprint = text.partition("#")[2].partition(".")
    assert token == served.access.pairing.token
    assert fingerprint == served.lan.certificate.fingerprint
    assert invitation.svg().startswith("<svg")
    assert "style=" not in invitation.svg()


def test_a_replayed_token_is_refused(served: SimpleNamespace) -> None:
    served.inviter.invite()
    token, url = served.access.pairing.token, served.lan.url
    assert post_pair(url, token).status_code == 200
    again = post_pair(url, token)
    assert (again.status_code, again.json()["errors"][0]["code"]) == (401, "pairing_closed")
    assert len(served.access.devices.all()) == 1


def test_five_wrong_tokens_close_the_window_and_the_listener(served: SimpleNamespace) -> None:
    served.inviter.invite()
    token, url = served.access.pairing.token, served.lan.url
    answers = [post_pair(url, f"wrong {i}").json()["errors"][0]["code"] for i in range(5)]
    assert answers == ["wrong_code"] * 5
    served.lan.refresh()
    assert not served.lan.is_open
    assert served.access.devices.all() == []
    with pytest.raises(requests.ConnectionError):
        requests.post(f"{url}/pair", json={"token": token}, verify=False, timeout=5)


def test_the_network_is_served_only_while_pairing_or_paired(served: SimpleNamespace) -> None:
    assert served.lan.url is None
    served.inviter.invite()
    port = served.lan.url.rsplit(":", 1)[1]
    served.access.pairing.close()
    served.lan.refresh()
    assert served.lan.url is None
    device, _ = served.access.devices.add("phone")
    served.lan.refresh()
    assert served.lan.url.endswith(f":{port}")  # the same address as before: nothing to scan
    served.access.devices.revoke(device.id)
    deadline = time.monotonic() + 10
    while served.lan.is_open and time.monotonic() < deadline:  # its own thread notices
        time.sleep(0.05)
    assert not served.lan.is_open


def test_a_new_address_gets_a_new_certificate_without_a_restart(served: SimpleNamespace) -> None:
    pairing = pair(served.inviter.invite().url)
    first = served.lan.certificate
    served.addresses[:] = [LOOPBACK, "127.0.0.2"]
    served.lan.refresh()
    assert "127.0.0.2" in served.access.hosts
    assert served.lan.certificate.fingerprint != first.fingerprint
    with AgentClient(pairing) as client, pytest.raises(Unreachable):
        client.status()
    moved = Pairing(pairing.url, pairing.token, served.lan.certificate.fingerprint)
    with AgentClient(moved) as client:
        assert client.status()["devices"] == 1


def test_a_phone_that_scans_again_is_the_same_device(served: SimpleNamespace) -> None:
    url = served.inviter.invite().url
    first = pair(url, "Pixel 7")
    served.inviter.invite()
    with pytest.warns(urllib3.exceptions.InsecureRequestWarning):
        answer = requests.post(
            f"{served.lan.url}/pair",
            json={"token": served.access.pairing.token, "name": "Pixel 7"},
            headers={"Authorization": f"Bearer {first.token}"},
            verify=False,
            timeout=20,
        )
    assert answer.status_code == 200
    assert [device.id for device in served.access.devices.all()] == [answer.json()["device"]]
    with AgentClient(first) as client, pytest.raises(NotPaired):
        client.status()


@pytest.mark.parametrize(
    ("host", "name", "same"),
    [
        ("192.168.1.5", "Pixel 7", True),  # paired at an address that this computer has no more
        (LOOPBACK, "Pixel 7", False),  # a second phone of the same kind, here and now
        ("192.168.1.5", "Pixel 8", False),
    ],
)
def test_after_moving_to_another_network_a_rescan_rejoins(
    served: SimpleNamespace, host: str, name: str, same: bool
) -> None:
    old, _ = served.access.devices.add("Pixel 7", host)
    pair(served.inviter.invite().url, name)
    devices = served.access.devices.all()
    assert (devices[0].id == old.id and len(devices) == 1) == same
    assert len(devices) == (1 if same else 2)


def test_the_cookie_is_for_the_page_alone(served: SimpleNamespace) -> None:
    served.inviter.invite()
    answer = post_pair(served.lan.url, served.access.pairing.token)
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    for attribute in ("Secure", "HttpOnly", "SameSite=Strict"):
        assert attribute in cookie


def test_a_phone_can_forget_the_computer(served: SimpleNamespace) -> None:
    pairing = pair(served.inviter.invite().url)
    headers = {"Authorization": f"Bearer {pairing.token}"}
    authority = str(served.lan.certificate.authority)
    answers = [requests.delete(f"{pairing.url}/pair", headers=headers, verify=authority, timeout=20) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 401]
    assert served.access.devices.all() == []


def test_after_a_restart_the_phone_needs_no_code(served: SimpleNamespace, tmp_path: Path, coffee_photo: bytes) -> None:
    from desktop_agent.app import create_app

    pairing = pair(served.inviter.invite().url)
    with AgentClient(pairing) as client:
        clip = client.add_clip(small_png())
    port = int(pairing.url.rsplit(":", 1)[1])
    served.lan.close()
    access = Access(DeviceStore(tmp_path / "paired.json"), PairingWindow(), "another-local-token")
    again = LanFace(
        create_app(served.agent, access), access, LOOPBACK, port, tmp_path / "tls", addresses=lambda: [LOOPBACK]
    )
    try:
        assert again.certificate is not None
        assert again.certificate.fingerprint == pairing.fingerprint
        with AgentClient(pairing) as client:
            assert [kept["clip"] for kept in client.clips()] == [clip]
    finally:
        again.close()


def small_png() -> bytes:
    out = io.BytesIO()
    Image.new("RGBA", (8, 8), (255, 0, 0, 128)).save(out, "PNG")
    return out.getvalue()


def test_a_loopback_agent_pairs_without_a_certificate(world: World, tmp_path: Path) -> None:
    from desktop_agent.app import create_app

    access = Access(DeviceStore(tmp_path / "paired.json"), PairingWindow(), "local-token")
    inviter = Inviter(access)
    with listening(create_app(world.agent, access), LOOPBACK, 0) as port:
        inviter.serve(f"http://{LOOPBACK}:{port}", None)
        pairing = pair(inviter.invite().url)
        with AgentClient(pairing) as client:
            assert client.status()["devices"] == 1
    assert pairing.fingerprint is None


def test_no_invitation_stands_without_an_open_window(served: SimpleNamespace) -> None:
    assert served.inviter.current() is None
    invitation = served.inviter.invite()
    assert served.inviter.current().url == invitation.url
    served.access.pairing.close()
    assert served.inviter.current() is None


def test_a_phone_on_a_cable_gets_its_own_localhost(monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from desktop_agent import runtime
    from desktop_agent.__main__ import main

    invited = {
        "url": "https://192.0.2.5:8766/#one-time.abcdef", "code": "1234", "seconds": 180, "agent": "http://127.0.0.1:8765"
    }  # fmt: skip
    monkeypatch.setattr(runtime, "ask_running", lambda path: invited)
    shown = CliRunner().invoke(main, ["pair", "--usb"])
    assert shown.exit_code == 0, shown.output
    assert "adb reverse tcp:8765 tcp:8765" in shown.output
    assert "http://localhost:8765/#one-time\n" in shown.output
