"""``room-agent camera accept`` through a real agent."""

import json
import os
from pathlib import Path

from recorder.clock.instants import boot_id, boottime_ns
from recorder.disk import journal
from recorder.process.status import TrackStatus
from tests.agent.live import START, LiveAgent
from tests.live_room import wait_for
from wording import Exit

ACCEPT = ("camera", "accept", "overview", "--by", "李明", "--reason", "固件升级")


def seen(room: LiveAgent, firmware: str) -> None:
    """The overview's track tells who its camera is."""
    now = boottime_ns()
    facts = {"pid": os.getpid(), "boot_id": boot_id(), "version": "", "at_ns": now, "last_packet_ns": now, "state": "armed"}
    who = {"serial": "S1", "firmware": firmware, "address": "192.0.2.1:80"}
    TrackStatus(name="overview", **facts, **who).write(room.places.status)  # type: ignore[arg-type]


def test_a_changed_camera_keeps_a_session_from_starting_until_it_is_accepted(tmp_path: Path) -> None:
    with LiveAgent(tmp_path, silent={"overview"}) as room:
        room.selfcheck()
        seen(room, "1.0")
        with room.agent():
            seen(room, "1.0")
            wait_for(room.places.accepted_cameras.exists, "it was seen first")
            seen(room, "2.0")
            refused = room.command(*START, "--json")
            assert refused.code != Exit.OK and "camera-changed" in refused.out
            seen(room, "2.0")
            answer = room.command(*ACCEPT)
            assert answer.code == Exit.OK, answer
            assert "1.0" in answer.out and "2.0" in answer.out
            seen(room, "2.0")
            again = room.command(*ACCEPT, "--json")
            assert again.code == Exit.REFUSED and "camera-as-accepted" in again.out
    [act] = journal.read(room.places.acts)
    assert (act["act"], act["camera"], act["uid"]) == ("camera.accept", "overview", os.getuid())
    entry = json.loads(room.places.accepted_cameras.read_text(encoding="utf-8"))["cameras"]["overview"]
    assert (entry["by"], entry["reason"], entry["identity"]["firmware"]) == ("李明", "固件升级", "2.0")
