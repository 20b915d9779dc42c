"""Paired devices on disk, and the window in which one more can pair."""

from __future__ import annotations

import json
import stat
import threading
import time
from pathlib import Path

import pytest

from desktop_agent.devices import (
    MAX_ATTEMPTS,
    WINDOW_SECONDS,
    DeviceStore,
    PairingWindow,
    clean_name,
    short_code,
)
from desktop_agent.errors import NotFound, Unauthorized


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> DeviceStore:
    return DeviceStore(tmp_path / "private" / "devices.json")


def test_a_device_is_found_by_its_token_alone_and_the_file_does_not_hold_it(store: DeviceStore, tmp_path: Path) -> None:
    device, token = store.add("Pixel 7")
    other, _ = store.add("iPhone")
    path = tmp_path / "private" / "devices.json"
    assert store.find(token) == device != other
    assert store.find(token[:-1]) is None
    assert store.find("") is None
    assert len(token) >= 43  # 256 bits, base64
    assert token not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_the_stored_hash_is_no_token(store: DeviceStore) -> None:
    device, _ = store.add("Pixel 7")
    assert store.find(device.token_hash) is None


def test_revoking_in_another_process_counts_at_once(store: DeviceStore, tmp_path: Path) -> None:
    device, token = store.add("Pixel 7")
    _, kept = store.add("iPhone")
    assert store.find(token) is not None
    DeviceStore(tmp_path / "private" / "devices.json").revoke(device.id)
    assert store.find(token) is None
    assert store.find(kept) is not None
    with pytest.raises(NotFound, match="devices"):
        store.revoke(device.id)


def test_a_rejoined_device_keeps_its_id_and_its_old_token_ends(store: DeviceStore) -> None:
    device, old = store.add("Pixel 7", "192.168.1.5")
    again, new = store.rejoin(device.id, "Pixel 7", "10.0.0.5")
    assert (again.id, again.host) == (device.id, "10.0.0.5")
    assert store.find(old) is None
    assert store.find(new) == again
    assert len(store.all()) == 1


def test_devices_that_pair_at_once_are_all_kept(store: DeviceStore) -> None:
    threads = [threading.Thread(target=store.add, args=(f"phone {i}",)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(device.name for device in store.all()) == sorted(f"phone {i}" for i in range(12))


@pytest.mark.parametrize("content", ["", "{", '{"a": 1}', '[{"id": 1}]', "[1]"])
def test_a_damaged_file_lets_nobody_in(store: DeviceStore, tmp_path: Path, content: str) -> None:
    _, token = store.add("phone")
    time.sleep(0.01)
    (tmp_path / "private" / "devices.json").write_text(content)
    assert store.all() == []
    assert store.find(token) is None


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Pixel 7", "Pixel 7"),
        ("  a \n\t b  ", "a b"),
        ("\x1b[31mred\x1b[0m\r\nid  admin", "[31mred[0mid admin"),
        ("x" * 500, "x" * 40),
        ("\u202egpj.exe", "gpj.exe"),
        ("", "phone"),
    ],
)
def test_names_are_fit_to_print(given: str, kept: str) -> None:
    assert clean_name(given) == kept


def test_a_token_works_once() -> None:
    window = PairingWindow()
    token = window.open()
    window.redeem(token)
    with pytest.raises(Unauthorized) as refused:
        window.redeem(token)
    assert refused.value.code == "pairing_closed"
    assert not window.is_open


def test_a_token_expires_by_the_monotonic_clock_whatever_the_time_of_day(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    window = PairingWindow(clock)
    token = window.open()
    monkeypatch.setattr(time, "time", lambda: 4e9)  # the time of day jumps decades ahead
    clock.now += WINDOW_SECONDS - 1
    assert window.is_open
    assert window.seconds_left == pytest.approx(1)
    clock.now += 1
    assert not window.is_open
    with pytest.raises(Unauthorized) as refused:
        window.redeem(token)
    assert refused.value.code == "pairing_closed"


def test_the_window_counts_as_open_until_the_device_is_known(tmp_path: Path) -> None:
    """The listener for phones closes when there is neither a window nor a device: there is no moment with neither."""
    window, store = PairingWindow(), DeviceStore(tmp_path / "devices.json")
    token = window.open()
    seen: list[bool] = []
    watcher = threading.Thread(target=lambda: seen.append(window.is_open or bool(store.all())))
    with window.redeemed(token):
        watcher.start()
        watcher.join(0.2)
        assert seen == []  # it waits for the outcome
        store.add("phone")
    watcher.join()
    assert seen == [True]
    assert not window.is_open


def test_five_wrong_tokens_close_the_window() -> None:
    window = PairingWindow()
    token = window.open()
    for attempt in range(MAX_ATTEMPTS):
        assert window.is_open, attempt
        with pytest.raises(Unauthorized) as refused:
            window.redeem(f"guess {attempt}")
        assert refused.value.code == "wrong_code"
    with pytest.raises(Unauthorized):
        window.redeem(token)


def test_guessing_from_many_threads_gets_no_more_than_five_tries() -> None:
    window = PairingWindow()
    window.open()
    codes: list[str] = []

    def guess(number: int) -> None:
        with pytest.raises(Unauthorized) as refused:
            window.redeem(f"guess {number}")
        codes.append(refused.value.code)

    threads = [threading.Thread(target=guess, args=(i,)) for i in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes.count("wrong_code") == MAX_ATTEMPTS


def test_a_new_window_ends_the_old_token() -> None:
    window = PairingWindow()
    old, new = window.open(), window.open()
    with pytest.raises(Unauthorized):
        window.redeem(old)
    window.redeem(new)


def test_a_closed_window_takes_no_token() -> None:
    window = PairingWindow()
    with pytest.raises(Unauthorized):
        window.redeem("")
    token = window.open()
    window.close()
    with pytest.raises(Unauthorized):
        window.redeem(token)


def test_short_codes_are_four_digits_that_follow_from_the_token() -> None:
    codes = {short_code(PairingWindow().open()) for _ in range(200)}
    assert all(len(code) == 4 and code.isdigit() for code in codes)
    assert len(codes) > 150
    assert short_code("a") == short_code("a") != short_code("b")


def test_the_file_is_json_that_a_person_can_read(store: DeviceStore, tmp_path: Path) -> None:
    store.add("Pixel 7", "192.168.1.5")
    fields = json.loads((tmp_path / "private" / "devices.json").read_text())
    assert fields[0]["name"] == "Pixel 7"
    assert len(fields[0]["token_hash"]) == 64
