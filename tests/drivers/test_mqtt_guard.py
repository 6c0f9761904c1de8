"""A broker that sends more than it may is cut off before it costs memory, and what it sends else cannot break the connection."""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from drivers.mqtt import LARGEST, FeedFault, Link, MqttMessage
from drivers.mqtt_guard import Breached, Guard
from tests.equipment.broker import _make_certificates
from tests.equipment.hostile_broker import CONNACK, HostileBroker, message, packet, variable

ROOT = Path(__file__).parents[2]
MOST = 268_435_455  # bytes that a fixed header can announce
ROOM = "interview-room/v1/centre-01/room-01"
TOO_LARGE = "mqtt-broker-sends-too-large-packet"
BREAKS = "mqtt-broker-breaks-the-protocol"


def followed(guard: Guard, data: bytes) -> int:
    """Reads as a socket would; gives how many bytes the guard let through."""
    place = 0
    while place < len(data):
        piece = data[place : place + guard.room]
        place += len(piece)
        guard.take(piece)
    return place


def test_packets_within_the_bound_pass_whatever_their_lengths_are() -> None:
    chance = random.Random(7)
    lengths = [0, 1, 127, 128, 16_383, 16_384, *(chance.randrange(60_000) for _ in range(30))]
    data = b"".join(packet(0x30, bytes(length)) + packet(0xD0, b"") for length in lengths)
    guard = Guard(LARGEST)
    assert followed(guard, data) == len(data)
    assert (guard.breach, guard.room) == (None, 1)


@pytest.mark.parametrize("more", [0, 1])
def test_the_bound_holds_to_the_byte(more: int) -> None:
    data = packet(0x30, bytes(LARGEST - 4 + more))
    guard = Guard(LARGEST)
    if not more:
        assert followed(guard, data) == LARGEST
        return
    with pytest.raises(Breached):
        followed(guard, data)
    assert (guard.breach, guard.announced) == ("size", LARGEST + 1)


@pytest.mark.parametrize(
    ("data", "breach"),
    [
        (b"\x30\xff\xff\xff\x7f", "size"),
        (b"\x20\xff\xff\xff\x7f", "size"),
        (b"\x30\x80\x80\x80\x80\x01", "length"),
        (b"\x34\x05hello", "QoS 2"),
        (b"\x36\x05hello", "QoS 2"),
        (b"\0\5\xff\xff\xff\x7f", "type 0"),
    ],
)
def test_what_is_refused(data: bytes, breach: str) -> None:
    guard = Guard(LARGEST)
    with pytest.raises(Breached):
        followed(guard, data)
    assert guard.breach == breach


MEASURED = """
import re, sys
from pathlib import Path
from drivers.mqtt import Broker, FeedFault, Link
port, ca_file = int(sys.argv[1]), sys.argv[2]
link = Link(Broker("127.0.0.1", port, tls=bool(ca_file), ca_file=ca_file), "room")
try:
    link.open()
    for _ in range(200):
        link.poll(0.1)
    print("nothing")
except FeedFault as fault:
    most = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())  # getrusage: of the parent, too
    print(fault.code, fault.values.get("size"), int(most[1]) // 1024)
"""


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "TLS"])
def test_a_packet_of_256_mib_costs_no_memory(secured: bool, tmp_path: Path) -> None:
    """The broker does send it; the room's process stays below 150 MiB and says why it hung up."""
    files: dict[str, Any] = {}
    if secured:
        _make_certificates(tmp_path)
        files = {"certificate": str(tmp_path / "server.pem"), "key": str(tmp_path / "server.key")}
    ca_file = str(tmp_path / "ca.pem") if secured else ""
    with HostileBroker(b"\x32" + variable(MOST), endless=MOST, **files) as broker:
        command = [sys.executable, "-c", MEASURED, str(broker.reach().port), ca_file]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    code, size, mebibytes = run.stdout.split()
    assert (code, int(size), run.stderr) == (TOO_LARGE, MOST + 5, "")
    assert int(mebibytes) < 150
    assert broker.sent < 64 << 20, "the broker could not get rid of it"


def test_the_broker_is_told_the_bound() -> None:
    with HostileBroker() as broker:
        link = Link(broker.reach(), "room")
        link.open()
        link.close()
    assert b"\x27" + LARGEST.to_bytes(4) in broker.connects[0]


def spoken_to(says: bytes, *, connack: bytes = CONNACK, polls: int = 10) -> tuple[list[MqttMessage], int, str]:
    """A room behind a broker that says this and then waits: the messages, how many were ignored, and the fault's code."""
    got: list[MqttMessage] = []
    with HostileBroker(says, connack=connack) as broker:
        link = Link(broker.reach(), "room", on_message=got.append)
        try:
            link.open(timeout_s=2.0)
            for _ in range(polls):
                link.poll(0.02)
        except FeedFault as fault:
            return got, link.ignored, fault.code
        finally:
            link.drop()
        return got, link.ignored, ""


def test_a_topic_that_is_no_text_is_ignored_and_counted() -> None:
    says = message(b"\xff\xfe", b"x") + message(f"{ROOM}/\0guidance", b"y", mid=2) + message(f"{ROOM}/guidance", b"z", mid=3)
    got, ignored, code = spoken_to(says)
    assert ([each.payload for each in got], ignored, code) == ([b"y", b"z"], 1, "")


@pytest.mark.parametrize(
    ("says", "code"),
    [
        (b"\x32" + variable(MOST), TOO_LARGE),
        (message(f"{ROOM}/guidance", b"x", qos=2), BREAKS),
        (b"\x32\xff\xff\xff\xff\xff", BREAKS),
        (packet(0x32, b"\xff\xff"), "mqtt-connection-lost"),
        (message(f"{ROOM}/guidance", b"x", properties=b"\x26\xff\xff"), "mqtt-connection-lost"),
        (message(f"{ROOM}/guidance", b"x", properties=b"\x26\0\1\0\0\1\0"), "mqtt-connection-lost"),
        (packet(0x40, b""), "mqtt-connection-lost"),
        (packet(0x90, b""), "mqtt-connection-lost"),
        (packet(0xE0, b"\xfe"), "mqtt-connection-lost"),
        (b"\0\0", BREAKS),
        (b"\xf0\0", "mqtt-connection-lost"),
    ],
)
def test_a_packet_that_is_none_is_a_fault_and_nothing_else(says: bytes, code: str, caplog: pytest.LogCaptureFixture) -> None:
    assert spoken_to(says)[2] == code
    assert not [record for record in caplog.records if record.exc_info]


def test_a_broker_that_lets_nothing_be_sent_is_a_fault() -> None:
    """A Receive Maximum of 0, which MQTT 5 forbids (3.2.2.3.3): the room could wait for its turn for ever."""
    assert spoken_to(b"", connack=packet(0x20, b"\0\0\3\x21\0\0"))[2] == "mqtt-broker-hangs-up-at-once"


def test_random_packets_end_in_a_fault_or_in_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Each follows a good CONNACK, or takes its place."""
    chance = random.Random(20261121)
    for _ in range(60):
        body = bytes(chance.randrange(256) for _ in range(chance.randrange(24)))
        says = packet(chance.randrange(256), body)
        *_, code = spoken_to(says, polls=2) if chance.random() < 0.7 else spoken_to(b"", connack=says + CONNACK, polls=2)
        assert code.startswith("mqtt-") or code == "", says
    assert not [record for record in caplog.records if record.exc_info]


def test_properties_without_end_cost_no_time() -> None:
    """paho copies what is left of them after each one: a bound on the packet is a bound on that."""
    many = b"\x26\0\0\0\0" * ((LARGEST - 200) // 5)
    got, _, code = spoken_to(message(f"{ROOM}/guidance", json.dumps("x").encode(), properties=many))
    assert (len(got), code) == (1, "")
