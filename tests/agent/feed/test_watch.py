"""Watching: the count of messages and losses, the table, the recorder, and the command's loop against a real broker."""

import io
import json
import os
import pty
import random
import re
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.config.model import parse
from agent.feed.contract import ROOT
from agent.feed.outbox import Outbox
from agent.feed.room import Feed, FeedSettings
from agent.feed.watch import CLEAR, Rooms, SequenceCheck, WatchSettings, as_line, listen, watch, watch_settings
from drivers.mqtt import FeedFault, Link, MqttMessage
from tests.agent.broker_fixture import CENTRE, PASSWORD, ROOMS, PrivateBroker
from tests.agent.contract import complaints
from tests.agent.room_samples import SESSION, room, without
from tests.equipment.process import Child, free_port, wait_for
from wording import Fault

BOOT = "0b2f5c1a-0000-4000-8000-000000000001"


def missing(*seqs: int | None) -> list[int]:
    check = SequenceCheck()
    for seq in seqs:
        check.add("r", "b", seq)
    assert check.messages == len(seqs)
    holes = check.holes().get(("r", "b"), [])
    assert check.lost() == len(holes)
    return holes


def test_a_whole_stream_has_no_hole_wherever_it_begins() -> None:
    assert missing(0, 1, 2, 3) == []
    assert missing(17, 18, 19) == []


def test_a_missing_number_is_lost_until_it_comes() -> None:
    assert missing(4, 5, 8, 9) == [6, 7]
    assert missing(4, 5, 8, 9, 6) == [7]
    assert missing(4, 5, 8, 9, 7, 6) == []


def test_repetitions_the_will_and_what_came_before_are_no_losses() -> None:
    assert missing(4, 5, 5, 4, 6, 6) == []
    assert missing(4, None, 5, None) == []
    assert missing(4, 5, 2, 6) == []


def test_any_order_with_repetitions_gives_the_same_count() -> None:
    chance = random.Random(1)
    for _trial in range(50):
        lost = set(chance.sample(range(1, 100), 7))
        rest = [n for n in range(1, 101) if n not in lost] * 2
        chance.shuffle(rest)
        assert missing(0, 100, *rest) == sorted(lost - {100})


def test_what_the_broker_kept_begins_nothing_but_fills_a_hole() -> None:
    check = SequenceCheck()
    check.add("r", "b", 3, retained=True)
    check.add("r", "b", 900, retained=True)
    check.add("r", "b", 1000)
    assert check.lost() == 0
    check.add("r", "b", 1003)
    check.add("r", "b", 1001, retained=True)
    assert check.holes() == {("r", "b"): [1002]}


def test_rooms_and_boots_are_counted_apart() -> None:
    check = SequenceCheck()
    for room_, boot, seq in (("r", "b", 5), ("r", "c", 0), ("s", "b", 9), ("r", "b", 7), ("r", "c", 1), ("s", "b", 12)):
        check.add(room_, boot, seq)
    assert (check.lost(), check.lost("r"), check.lost("s"), check.lost("t")) == (3, 1, 2, 0)


def test_a_great_hole_takes_no_great_memory() -> None:
    check = SequenceCheck()
    check.add("r", "b", 0)
    check.add("r", "b", 10_000_000)
    assert check.lost() == 9_999_999
    assert len(check.holes()["r", "b"]) == SequenceCheck.MISSING


def said(kind: str, room_: str = "room-01", **fields: object) -> MqttMessage:
    base = {"type": kind, "centre": CENTRE, "room": room_, "boot": BOOT, "seq": 1, "historical": False}
    topic = f"{ROOT}/{CENTRE}/{room_}/{'device/overview' if kind == 'device' else kind}"
    return MqttMessage(topic, json.dumps({**base, **fields}).encode(), 1, False)


def health(room_: str = "room-01", **fields: object) -> MqttMessage:
    told: dict[str, object] = {"overall": "ok", "room_state": "recording", "recorded_s": 3725.4, "causes": []}
    return said("health", room_, **{**told, **fields})


def cells(rooms: Rooms, now_s: float) -> list[list[str]]:
    return [re.split(" {2,}", line) for line in rooms.table(now_s, "en").splitlines()[1:]]


@pytest.mark.parametrize(
    "told",
    [
        {"recorded_s": None},
        {"recorded_s": "long"},
        {"recorded_s": float("nan")},
        {"recorded_s": float("inf")},
        {"causes": [{}]},
        {"causes": 3},
        {"causes": ["climate"]},
        {"seq": True},
        {"seq": "4"},
    ],
)
def test_a_message_that_cannot_be_read_ends_no_view_and_changes_nothing(told: dict[str, object]) -> None:
    rooms = Rooms()
    rooms.take(said("state", online=True), 0.0)
    rooms.take(health(seq=2), 1.0)
    (before,) = cells(rooms, 2.0)
    fields: dict[str, object] = {"seq": 3, "overall": "failed", "room_state": "idle", "recorded_s": 1.0, "causes": [], **told}
    assert rooms.take(said("health", **fields), 2.0) is None  # type: ignore[arg-type]  # the room is left as it is
    (after,) = cells(rooms, 2.0)
    assert after[:6] == before[:6], "all but when it was heard"


def test_nested_json_without_end_is_no_message() -> None:
    rooms, deep = Rooms(), MqttMessage(f"{ROOT}/{CENTRE}/room-01/health", b"[" * 200_000, 1, True)
    assert rooms.take(deep, 0.0) is None
    assert json.loads(as_line(deep, datetime.now(UTC)))["message"].startswith("[[")


def test_a_room_speaks_for_itself_alone() -> None:
    """The broker guards the topics, not what stands in the messages."""
    rooms, other = Rooms(), {"centre": CENTRE, "room": "room-02"}
    for kind, fields in (("health", other), ("health", {"centre": "elsewhere"}), ("health", {"type": "state", "online": False})):
        assert rooms.take(said(kind, **fields), 0.0) is None
    assert rooms.rows == {}


def test_the_table_shows_each_room() -> None:
    rooms = Rooms()
    rooms.take(said("state", online=True), 0.0)
    rooms.take(health(seq=4), 1.0)
    rooms.take(said("state", "room-02", online=False, seq=None), 2.0)
    assert cells(rooms, 3.0) == [
        [f"{CENTRE}/room-01", "yes", "ok", "recording", "1 h 02 min 05 s", "-", "2 s ago", "2"],
        [f"{CENTRE}/room-02", "NO", "?", "?", "?", "?", "1 s ago", "0"],
    ]
    assert "1小时02分05秒" in rooms.table(3.0, "zh")


def test_the_table_names_what_is_not_in_order() -> None:
    rooms = Rooms()
    rooms.take(said("state", online=True), 0.0)
    rooms.take(health(overall="failed", causes=[{"device": "closeup", "status": "failed", "text": None}]), 0.0)
    assert "FAILED" in rooms.table(1.0, "en")
    assert "closeup FAILED" in rooms.table(1.0, "en")
    zh = rooms.table(1.0, "zh").splitlines()
    assert "closeup 故障" in zh[1]
    assert zh[0].startswith("功能室")


def test_the_table_does_not_take_the_past_for_the_present() -> None:
    rooms = Rooms()
    rooms.take(said("state", online=True), 0.0)
    rooms.take(health(), 0.0)
    rooms.take(said("state", online=False, historical=True, seq=2), 1.0)
    rooms.take(health(overall="failed", historical=True, seq=3), 1.0)
    assert cells(rooms, 2.0)[0][1:3] == ["yes", "ok"]
    assert cells(rooms, 16.0)[0][1:4] == ["yes", "?", "?"]


@pytest.mark.parametrize("payload", [b"", b"no json", b"[]", b"{}", b'{"type":"health"}', b"\xff\xfe"])
def test_a_message_that_is_none_is_left_out(payload: bytes) -> None:
    rooms = Rooms()
    assert rooms.take(MqttMessage(f"{ROOT}/{CENTRE}/room-01/health", payload, 1, False), 0.0) is None
    assert rooms.take(replace(health(), topic="other/topic"), 0.0) is None
    assert (rooms.rows, rooms.check.messages) == ({}, 0)


# Against a broker.


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateBroker]:
    running = PrivateBroker(tmp_path_factory.mktemp("watch")).start()
    yield running
    running.stop()


def settings(broker: PrivateBroker, name: str) -> WatchSettings:
    return WatchSettings(broker.reach("collector"), f"watch-{name}", f"{ROOT}/{CENTRE}/{name}/#")


def speak(broker: PrivateBroker, name: str, outbox: Path) -> None:
    """A room that comes, is looked at, loses a camera, and goes in good order."""
    box = Outbox(outbox)
    feed = Feed(FeedSettings(CENTRE, name, broker.room(name)), box)
    feed.update(room(state="recording", session=SESSION))
    feed.start()
    wait_for(lambda: feed.connected, "the feed is connected", 8)
    feed.update(without(room(state="recording", session=SESSION), "closeup"))
    feed.stop()
    box.close()


@contextmanager
def listening(reader: WatchSettings) -> Iterator[tuple[Rooms, list[dict[str, Any]]]]:
    """Listens with a place that the broker keeps for a minute: the rooms, and the lines of ``watch --json``, as they come."""
    stop, ready, rooms = threading.Event(), threading.Event(), Rooms()
    lines: list[dict[str, Any]] = []

    def turn(fault: Fault | None) -> None:
        if fault is None:
            ready.set()

    def take(message: MqttMessage) -> None:
        lines.append(json.loads(as_line(message, datetime.now(UTC))))
        rooms.take(message, time.monotonic())

    def work() -> None:
        listen(reader, take, stop.is_set, on_turn=turn, session_expiry_s=60)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert ready.wait(5)
    try:
        yield rooms, lines
    finally:
        stop.set()
        thread.join(5)


def gone(lines: list[dict[str, Any]]) -> bool:
    """Whether the room said its last word."""
    return any(line["message"].get("reason") == "stopped" for line in list(lines))


def test_a_listener_hears_everything_and_counts(broker: PrivateBroker, tmp_path: Path) -> None:
    name = ROOMS[40]
    with listening(settings(broker, name)) as (rooms, lines):
        speak(broker, name, tmp_path / "o")
        wait_for(lambda: gone(lines), "the last word of the room", 5)
    assert rooms.check.messages == len(lines) and rooms.check.lost() == 0
    assert {line["message"]["type"] for line in lines} >= {"state", "health", "device", "event"}
    for line in lines:
        assert complaints(line["topic"], line["message"]) == []
        assert line["qos"] == 1
    assert lines[-1]["message"]["online"] is False


def test_a_listener_loses_nothing_when_its_own_connection_breaks(broker: PrivateBroker, tmp_path: Path) -> None:
    name = ROOMS[41]
    reader = settings(broker, name)
    with listening(reader) as (rooms, lines):
        thief = Link(reader.broker, reader.client_id, session_expiry_s=60)
        thief.open()  # throws the listener out, and keeps its place without reading on
        speak(broker, name, tmp_path / "o")
        thief.drop()
        wait_for(lambda: gone(lines), "the last word of the room", 10)
    assert rooms.check.lost() == 0
    assert {line["message"]["type"] for line in lines} >= {"health", "event"}


def test_json_gives_one_line_a_message_and_ends_in_time(broker: PrivateBroker, tmp_path: Path) -> None:
    name, out = ROOMS[42], io.StringIO()
    thread = threading.Thread(target=speak, args=(broker, name, tmp_path / "o"))
    thread.start()
    rooms = watch(settings(broker, name), language="en", json=True, seconds=2.5, out=out)
    thread.join(10)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(lines) == rooms.check.messages > 5
    assert {"received_at", "topic", "retained", "qos", "message"} == set(lines[0])


def test_without_a_terminal_the_table_is_printed(broker: PrivateBroker, tmp_path: Path) -> None:
    name, out = ROOMS[43], io.StringIO()
    speak(broker, name, tmp_path / "o")
    watch(settings(broker, name), language="zh", json=False, seconds=0.8, out=out)
    assert CLEAR not in out.getvalue()
    assert f"{CENTRE}/{name}  否" in out.getvalue()


def test_on_a_terminal_it_redraws_until_ctrl_c(broker: PrivateBroker, tmp_path: Path) -> None:
    name = ROOMS[44]
    code = (
        "import signal, sys; from drivers.mqtt import Broker; from agent.feed.watch import *\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # who started the tests may have it ignored
        f"b = Broker('127.0.0.1', {broker.port}, 'collector', {PASSWORD!r}, True, {str(broker.ca_file)!r})\n"
        f"watch(WatchSettings(b, 'tty', {ROOT + '/' + CENTRE + '/' + name + '/#'!r}), language='en', json=False); print('ENDED')"
    )
    master, slave = pty.openpty()
    child = Child(
        "watch", ["/bin/sh", "-c", 'exec "$0" -c "$1" > "$2"', sys.executable, code, os.ttyname(slave)], tmp_path / "log"
    )
    shown = b""

    def read_until(text: bytes) -> None:
        nonlocal shown
        deadline = time.monotonic() + 8
        while text not in shown:
            assert time.monotonic() < deadline, (text, shown[-500:], child.log.read_text())
            if select.select([master], [], [], 0.1)[0]:
                shown += os.read(master, 65536)

    try:
        read_until(b"No room has been heard yet.")
        speak(broker, name, tmp_path / "o")
        read_until(name.encode())
        assert shown.count(CLEAR.encode()) >= 2
        child.signal(signal.SIGINT)
        read_until(b"ENDED")
    finally:
        child.end()
        os.close(master)
        os.close(slave)
    assert "Traceback" not in child.log.read_text()


def test_a_broker_that_is_not_there_is_a_fault(broker: PrivateBroker) -> None:
    away = replace(settings(broker, "x"), broker=replace(broker.reach("collector"), port=free_port()))
    with pytest.raises(FeedFault, match="does not answer"):
        watch(away, language="en", json=True, seconds=1, out=io.StringIO())


def test_the_reader_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "p").write_text("room-secret\n")
    config = parse(f'[mqtt]\nuser = "centre-01/room-01"\npassword_file = "{tmp_path}/p"\n')
    assert watch_settings(config).broker.user == "centre-01/room-01"
    monkeypatch.setenv("ROOM_AGENT_WATCH_USER", "collector")
    monkeypatch.setenv("ROOM_AGENT_WATCH_PASSWORD", "other")
    chosen = watch_settings(config)
    assert (chosen.broker.user, chosen.broker.password) == ("collector", "other")
    assert chosen.client_id != FeedSettings("centre-01", "room-01", chosen.broker).client_id
