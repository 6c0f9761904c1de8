"""Parsers of what comes over the network: from cameras, the time server and the broker."""

import json
import math
import re
from datetime import UTC, datetime
from typing import Any

from agent.feed.contract import SCHEMA, topic_root
from agent.feed.room import read_guidance
from agent.feed.watch import Rooms, as_line
from drivers.clock import PACKET, read_sample
from drivers.discovery import read_answers
from drivers.mqtt import MqttMessage
from drivers.mqtt_guard import Breached, Guard
from tests.equipment import onvif_messages as soap
from tests.equipment.hostile_broker import message, packet
from tests.fuzz.target import LANGUAGES, Target
from tests.fuzz.target import plain as plain_text

CAMERA = "192.168.1.64"
PROBE = "0123456789abcdef0123456789abcdef"
ROOM = topic_root("centre-01", "room-01")
XML_WORDS = (
    *(b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///dev/zero'>]>", b"&b;", b"<![CDATA[", b"]]>", b"<?x ?>", b"xmlns:a=''", b"<a:"),
    *(b"&#0;", b"&#x110000;", b"<tt:", b"</", b"/>", b'token="', b"xsi:nil='true'", b"rtsp://", b"http://[", b"urn:uuid:"),
)


# WS-Discovery


def discovery(data: bytes) -> None:
    """A device is looked for where its answer came from, whatever it says."""
    found = read_answers(data, CAMERA, PROBE)
    assert len(found) <= 8
    for answer in found:
        assert answer.host == CAMERA and 0 <= answer.port <= 65535
        assert len(answer.endpoint) <= 5000 and sum(map(len, answer.scopes)) <= 5000
        assert len(answer.scope("name")) <= 5000


def discovery_seeds() -> list[bytes]:
    return [
        soap.probe_match(f"urn:uuid:{PROBE}", "urn:uuid:8a1f", "closeup", f"http://{CAMERA}:8080/onvif/device_service"),
        soap.probe_match(PROBE, "urn:uuid:8a1f", "", "http://[fe80::1]/x http://10.0.0.1/ https://a/"),
    ]


# NTP


def ntp(data: bytes) -> None:
    sample = read_sample(data, 0x1122334455667788, 0x1122334455667799)
    assert sample is None or (math.isfinite(sample.offset_s) and sample.delay_s >= 0)


def ntp_seeds() -> list[bytes]:
    sent = (0x11223344, 0x55667788)
    return [PACKET.pack(0x24, 2, 6, -20, 1, 2, 3, 4, 5, *sent, 0x11223344, 0x55667790, 0x11223344, 0x55667791)]


# MQTT


def guard(data: bytes) -> None:
    """However the bytes come, the guard has room for no more than the largest packet. May raise Breached."""
    watching, place = Guard(1000), 0
    while place < len(data):
        assert 1 <= watching.room <= 1000
        piece = data[place : place + watching.room]
        place += len(piece)
        watching.take(piece)


GUIDANCE = json.dumps(
    {"schema": SCHEMA, "type": "guidance", "id": "g-1", "time": "2026-11-21T01:40:00.000Z", "text": "请出示执法证件。"},
    ensure_ascii=False,
).encode()


def guidance(data: bytes) -> None:
    found = read_guidance(data)
    assert found is None or (re.fullmatch(r"[A-Za-z0-9._-]{1,64}", found.id) and 0 < len(found.text) <= 2000)
    assert found is None or found.text.encode()


def watch(data: bytes) -> None:
    """The topic on a line, then the message: the view of all rooms takes it or leaves it."""
    topic, _, payload = data.partition(b"\n")
    received = MqttMessage(topic.decode(errors="replace"), payload, 1, False)
    rooms = Rooms()
    rooms.take(received, 100.0)
    for language in LANGUAGES:
        plain_text(rooms.table(101.0, language), lines=True)
    line = as_line(received, datetime(2026, 11, 21, tzinfo=UTC))
    plain_text(line)
    json.loads(line)


def watch_seeds() -> list[bytes]:
    base: dict[str, Any] = {
        "schema": SCHEMA,
        "centre": "centre-01",
        "room": "room-01",
        "boot": "b",
        "seq": 4,
        "historical": False,
    }
    causes = [{"device": "closeup", "status": "failed", "text": {"en": "No answer.", "zh": "没有响应。"}}]
    health = {"type": "health", "overall": "failed", "room_state": "recording", "recorded_s": 60.2, "causes": causes}
    state = {"type": "state", "online": True, "reason": "connected", "version": "0.1.0"}
    return [f"{ROOM}/{told['type']}\n{json.dumps(base | told, ensure_ascii=False)}".encode() for told in (health, state)]


TARGETS = (
    Target("discovery", discovery, discovery_seeds, words=XML_WORDS, cases=250),
    Target("ntp", ntp, ntp_seeds, cases=300),
    Target(
        "mqtt-guard",
        guard,
        lambda: [message("a/b", b"x" * 40) + packet(0xD0, b"") + packet(0x40, b"\0\1"), message("a", b"", qos=0)],
        allowed=(Breached,),
        cases=300,
    ),
    Target("guidance", guidance, lambda: [GUIDANCE], cases=200),
    Target("watch", watch, watch_seeds, cases=200),
)
