"""What a broker can do to a room's feed and to ``room-agent watch``: be ignored, be refused, or be left."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.feed.contract import SCHEMA
from agent.feed.outbox import Outbox
from agent.feed.room import GUIDANCE_A_MINUTE, Feed, FeedSettings, read_guidance
from agent.feed.watch import CAUSES, NAME_CHARACTERS, Rooms, SequenceCheck, as_line
from agent.selfcheck.check import Scene
from agent.selfcheck.checks import broker as broker_check
from drivers.mqtt import MqttMessage
from tests.agent.selfcheck_samples import config
from tests.equipment.hostile_broker import HostileBroker, message
from tests.equipment.lacking_broker import LackingBroker
from tests.equipment.process import HOST, wait_for

ROOM = "interview-room/v1/centre-01/room-01"
TOPIC = f"{ROOM}/guidance"
GOOD: dict[str, Any] = {
    "schema": SCHEMA,
    "type": "guidance",
    "id": "g-1",
    "time": "2026-11-21T01:40:00.000Z",
    "text": "请出示证件",
}
DEEP = b"[" * 30_000 + b"]" * 30_000

UNUSABLE = [
    b"",
    b"\xff\xfe\xff",
    b"{",
    DEEP,
    b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    b"1" * 60_000,
    b"null",
    b"[]",
    b'"text"',
    *(
        json.dumps({**GOOD, field: value}).encode()
        for field, value in (
            ("id", 5),
            ("id", "x" * 65),
            ("id", "g\n1"),
            ("text", None),
            ("text", ""),
            ("text", "x" * 2001),
            ("text", "\ud800"),
            ("text", {"en": "x"}),
            ("schema", 1e308),
            ("schema", []),
        )
    ),
]


@pytest.mark.parametrize("payload", UNUSABLE, ids=lambda payload: ascii(payload[:20]))
def test_guidance_that_is_none_is_refused(payload: bytes) -> None:
    assert read_guidance(payload) is None


def steps(broker: HostileBroker) -> list[tuple[str, str]]:
    """Id and step of the answers that the broker was given."""
    said = [told["data"] for told in broker.published if told["type"] == "event"]
    return [(data["guidance"], data["step"]) for data in said]


def test_one_connection_outlives_all_that_a_broker_says(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is not for this room is ignored and counted; what is, but cannot be used, is answered as refused."""
    elsewhere: list[str | bytes] = [
        b"\xff\xfe",
        f"{ROOM}/\0guidance",
        f"{ROOM}/x\0",
        "interview-room/v1/other/room-01/guidance",
        "",
    ]
    says = b"".join(message(topic, json.dumps(GOOD).encode()) for topic in elsewhere)
    says += b"".join(message(TOPIC, payload) for payload in UNUSABLE)
    says += message(TOPIC, json.dumps(GOOD).encode())
    outbox = Outbox(tmp_path / "outbox")
    with HostileBroker(says) as broker:
        feed = Feed(FeedSettings("centre-01", "room-01", broker.reach()), outbox)
        feed.start()
        wait_for(lambda: ("g-1", "not-shown") in steps(broker), "the good text is answered", 10)
        assert feed.connected and feed.lost_reason is None
        feed.stop()
        assert len(broker.connects) == 1
        assert steps(broker) == [("", "refused")] * len(UNUSABLE) + [("g-1", "not-shown")]
    assert feed.ignored == len(elsewhere)
    assert not [record for record in caplog.records if record.exc_info or record.levelname == "ERROR"]
    outbox.close()


def test_a_flood_of_guidance_is_answered_sixty_times_a_minute(tmp_path: Path) -> None:
    says = b"".join(message(TOPIC, json.dumps(GOOD | {"id": f"g-{n}"}).encode()) for n in range(100))
    outbox = Outbox(tmp_path / "outbox")
    with HostileBroker(says) as broker:
        feed = Feed(FeedSettings("centre-01", "room-01", broker.reach()), outbox)
        feed.start()
        wait_for(lambda: feed.ignored == 100 - GUIDANCE_A_MINUTE, "the rest is ignored", 10)
        wait_for(lambda: len(steps(broker)) == GUIDANCE_A_MINUTE, "the answers are there", 10)
        feed.stop()
    outbox.close()


def test_a_broker_that_sends_too_much_is_named_and_left_alone_between_attempts(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    with HostileBroker(b"\x32\xff\xff\xff\x7f") as broker:
        feed = Feed(FeedSettings("centre-01", "room-01", broker.reach()), outbox)
        feed.start()
        wait_for(lambda: feed.lost_reason is not None, "a reason", 5)
        assert feed.lost_reason is not None and feed.lost_reason.code == "mqtt-broker-sends-too-large-packet"
        assert not feed.connected
        feed.stop()
        assert len(broker.connects) <= 3
    outbox.close()


# the command room's reader


def said(room: str, **fields: object) -> MqttMessage:
    base = {"type": "health", "centre": "centre-01", "room": room, "boot": "b", "seq": 1, "overall": "ok"}
    return MqttMessage(f"interview-room/v1/centre-01/{room}/health", json.dumps(base | fields).encode(), 1, False)


def test_the_view_of_all_rooms_is_bounded() -> None:
    rooms = Rooms()
    for number in range(Rooms.MOST + 10):
        rooms.take(said(f"room-{number}"), 0.0)
    assert len(rooms.rows) == Rooms.MOST
    causes = [{"device": f"d{n}" * 500, "status": "failed"} for n in range(CAUSES + 10)]
    rooms.take(said("room-1", overall="x" * 5000, causes=causes), 0.0)
    row = rooms.rows["centre-01/room-1"]
    assert row.overall == "x" * NAME_CHARACTERS and len(row.not_ok) == CAUSES
    assert all(len(device) <= NAME_CHARACTERS for device in row.not_ok)
    assert rooms.take(said("r" * 1000), 0.0) is None


def test_the_boots_that_are_counted_are_bounded() -> None:
    check = SequenceCheck()
    for number in range(SequenceCheck.STREAMS + 10):
        check.add("r", f"b{number}", 0)
        check.add("r", f"b{number}", 2)
    assert check.lost() == SequenceCheck.STREAMS


def test_what_can_be_read_but_is_too_deep_to_be_written_is_a_line_all_the_same() -> None:
    """Reading and writing nested JSON end at different depths; no depth may end the view."""
    at = datetime(2026, 11, 21, tzinfo=UTC)
    for depth in (1, 500, *range(900, 1000), 5_000, 30_000):
        line = as_line(MqttMessage("t", b"[" * depth + b"]" * depth, 1, False), at)
        assert line.startswith('{"received_at": "2026-11-21T00:00:00.000Z"') and "\n" not in line
    halves = as_line(MqttMessage("t\x1b", rb'"\ud800"', 1, False), at)
    assert halves.encode() and "\x1b" not in halves


# a password that travels in clear


@pytest.mark.parametrize(
    ("section", "unwise"),
    [
        ('tls = false\npassword_env = "MQTT_OF_A_TEST"\nuser = "centre-01/room-01"', True),
        ("tls = false", False),
        ('password_env = "MQTT_OF_A_TEST"', False),
        ('enabled = false\ntls = false\npassword_env = "MQTT_OF_A_TEST"', False),
    ],
)
def test_a_password_without_tls_is_warned_of(section: str, unwise: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQTT_OF_A_TEST", "geheim")
    with LackingBroker() as broker:  # which lacks nothing here
        settings = config(tmp_path, f"[mqtt]\nhost = '{HOST}'\nport = {broker.port}\n{section}\n")
        assert [fault.code for fault in settings.warnings] == ["mqtt-password-in-clear"] * unwise
        if unwise:
            outcome = broker_check.look(Scene(settings), "")
            assert outcome.status == "warning" and "centre-01/room-01" in outcome.what.say("en")
            assert "geheim" not in outcome.what.say("en") + outcome.mend.say("zh")
