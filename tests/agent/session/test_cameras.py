"""A camera that is another than the accepted one: told at once, and the next session asks a person, once for all that changed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.authority.gate import Gate
from agent.health.devices import devices
from agent.health.events import events
from agent.health.look import ViewBuilder
from agent.health.room_view import RoomView
from agent.session.cameras import AcceptedCameras
from agent.session.rules import StartRequest
from recorder.capture import camera_changes
from recorder.session.tracks import CAMERAS
from tests.agent.authority.test_gate import MEMBER, SERVICE_UID, START, Console
from tests.agent.room import CASE, Room
from wording import Exit, Fault

KNOWN = {
    "manufacturer": "Maker",
    "model": "M-1",
    "firmware": "1.0",
    "serial": "S1",
    "hardware": "aa:bb",
    "address": "192.0.2.1:80",
}
ACCEPT = {"camera": "overview", "by": "李明", "reason": "更换"}
PLAIN = {key: value for key, value in START.items() if not key.startswith("override")}


@pytest.fixture
def room(tmp_path: Path) -> Room:
    room = Room(tmp_path / "data", tmp_path / "run")
    room.tracks()
    seen(room)
    return room


def seen(room: Room, **changes: str) -> None:
    """What the two cameras say of themselves; changes: of the overview."""
    room.track("closeup", **{**KNOWN, "serial": "S2", "address": "192.0.2.2:80"})
    room.track("overview", **{**KNOWN, **changes})


@pytest.fixture
def accepted(room: Room) -> AcceptedCameras:
    """Both cameras were seen once."""
    found = AcceptedCameras(room.places.accepted_cameras)
    found.take_first(room.alive())
    return found


@pytest.fixture
def console(room: Room, accepted: AcceptedCameras) -> Iterator[Console]:
    one = Console(room, Gate(room.places.acts, own_uid=SERVICE_UID))
    yield one
    one.keeper.close()
    one.gate.close()


def stored(room: Room) -> dict[str, Any]:
    cameras: dict[str, Any] = json.loads(room.places.accepted_cameras.read_text(encoding="utf-8"))["cameras"]
    return cameras


def view(room: Room) -> RoomView:
    return ViewBuilder(room.config, now=lambda: room.now_ns).look(None, room.now_ns, room.now_ns, None)


def test_a_camera_that_was_never_seen_is_taken_as_it_is_and_the_file_says_so(room: Room, accepted: AcceptedCameras) -> None:
    assert {name: entry["how"] for name, entry in stored(room).items()} == dict.fromkeys(CAMERAS, "first-seen")
    assert stored(room)["overview"]["identity"] == KNOWN
    assert accepted.changed(room.alive()) == {}
    before = room.places.accepted_cameras.stat().st_ino
    seen(room, firmware="2.0")
    accepted.take_first(room.alive())
    assert room.places.accepted_cameras.stat().st_ino == before, "only the first time"


def test_a_camera_that_has_delivered_nothing_is_not_taken_for_one_without_a_name(room: Room) -> None:
    room.track("overview")
    found = AcceptedCameras(room.places.accepted_cameras)
    found.take_first(room.alive())
    assert list(stored(room)) == ["closeup"]


@pytest.mark.parametrize("what", ["serial", "firmware", "model", "hardware", "address"])
def test_a_change_is_told_at_once(room: Room, accepted: AcceptedCameras, what: str) -> None:
    before = view(room)
    assert before.changed_cameras == {}
    seen(room, **{what: "other"})
    after = view(room)
    fault = after.changed_cameras["overview"]
    [event] = [event for event in events(before, after) if event.kind == "camera-changed"]
    assert event.data == {"device": "overview", "cause": fault, "mend": fault}
    [device] = [device for device in devices(after) if device.id == "overview"]
    assert (device.status, device.cause) == ("degraded", fault)
    assert "other" in fault.say("zh") and KNOWN[what] in fault.say("en")
    assert not [event for event in events(after, view(room)) if event.kind == "camera-changed"], "once"


def reasons(answer: dict[str, Any]) -> list[str]:
    assert answer["ok"] is False
    return [reason["code"] for reason in answer["fault"]["reasons"]]


def test_the_next_start_asks_a_person_once_for_all_that_changed(console: Console, room: Room) -> None:
    seen(room, serial="S9", firmware="2.0", address="192.0.2.77:80")
    answer = console.send("session.start", MEMBER, PLAIN)
    assert "camera-changed" in reasons(answer)
    [fault] = [Fault.from_dict(each) for each in answer["fault"]["reasons"] if each["code"] == "camera-changed"]
    assert "S9" in fault.say("en") and "2.0" in fault.say("zh") and "192.0.2.77:80" in fault.say("en")
    assert "room-agent camera accept overview" in fault.say_mend("zh")
    done = console.do("camera.accept", MEMBER, ACCEPT)
    assert {change["what"] for change in done["changes"]} == {"serial", "firmware", "address"}
    assert "camera-changed" not in reasons(console.send("session.start", MEMBER, PLAIN))
    [act] = console.acts()
    assert (act["act"], act["uid"], act["camera"], act["by"]) == ("camera.accept", 1000, "overview", "李明")
    assert {"what": "serial", "before": "S1", "now": "S9"} in act["changes"]
    entry = stored(room)["overview"]
    assert (entry["how"], entry["by"], entry["reason"], entry["asked"]["uid"]) == ("accepted", "李明", "更换", 1000)
    assert entry["identity"]["serial"] == "S9" and stored(room)["closeup"]["how"] == "first-seen"


def test_an_override_lets_a_session_start_and_stands_in_its_record(console: Console, room: Room) -> None:
    seen(room, serial="S9")
    console.do("session.start", MEMBER, START)
    current = console.keeper.current
    assert current is not None
    override = current.selfcheck["override"]
    assert (override["by"], override["reason"], override["asked"]["uid"]) == ("甲", "测试", 1000)
    assert room.places.accepted_cameras.exists() and stored(room)["overview"]["identity"]["serial"] == "S1", "nobody accepted it"


def test_a_changed_camera_alone_needs_an_override_that_is_recorded(room: Room, accepted: AcceptedCameras) -> None:
    seen(room, serial="S9")
    changed = tuple(view(room).changed_cameras.values())
    keeper = room.keeper()
    keeper.resume()
    with pytest.raises(Fault, match="S9"):
        room.start(keeper, changed_cameras=changed)
    session = room.start(keeper, StartRequest(CASE, 120, "甲", "测试"), changed_cameras=changed)
    override = session.selfcheck["override"]
    assert session.selfcheck["passed"] and (override["by"], override["reason"]) == ("甲", "测试")
    keeper.close()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({**ACCEPT, "by": " "}, "option-missing-or-empty"),
        ({**ACCEPT, "reason": ""}, "option-missing-or-empty"),
        ({**ACCEPT, "reason": "x" * 500}, "option-too-long"),
        ({**ACCEPT, "camera": "microphone"}, "camera-unknown"),
        ({**ACCEPT, "camera": "x" * 5000}, "camera-unknown"),
        ({**ACCEPT, "camera": "closeup"}, "camera-as-accepted"),
    ],
)
def test_what_is_not_accepted(console: Console, room: Room, arguments: dict[str, str], code: str) -> None:
    seen(room, serial="S9")
    before = room.places.accepted_cameras.read_bytes()
    assert reasons(console.send("camera.accept", MEMBER, arguments)) == [code]
    assert console.acts() == [] and room.places.accepted_cameras.read_bytes() == before


def test_a_camera_that_delivers_nothing_cannot_be_accepted(console: Console, room: Room) -> None:
    room.track("overview")
    answer = console.send("camera.accept", MEMBER, ACCEPT)
    assert reasons(answer) == ["camera-not-seen-to-accept"] and answer["fault"]["exit_code"] == Exit.DEVICE


def test_a_record_that_cannot_be_read_is_asked_about_and_never_written_over_by_itself(console: Console, room: Room) -> None:
    room.places.accepted_cameras.write_text("{", encoding="utf-8")
    AcceptedCameras(room.places.accepted_cameras).take_first(room.alive())
    assert room.places.accepted_cameras.read_text(encoding="utf-8") == "{"
    assert "camera-changed" in reasons(console.send("session.start", MEMBER, PLAIN))
    console.do("camera.accept", MEMBER, ACCEPT)
    known = camera_changes.read(room.places.accepted_cameras)
    assert known is not None and known["overview"].how == "accepted"
