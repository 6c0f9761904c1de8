"""The look at the room: what the status files, the disk and the self-check make of it."""

from pathlib import Path
from typing import Any

import pytest

from agent.config.model import parse
from agent.devices.kinds import meant
from agent.health.look import ViewBuilder, not_on_disk
from agent.health.room_view import RoomView
from agent.session.capacity import composite_bps
from recorder.clock.instants import SECOND_NS, boot_id
from recorder.disk.durable import make_folder, write_json
from recorder.process.status import ClimateStatus
from recorder.session.tracks import TRACKS
from tests.agent.room import PERSON, Room, config_text


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path / "root", tmp_path / "run")


def look(room: Room, builder: ViewBuilder | None = None, **changes: Any) -> RoomView:
    utc_ns = room.now_ns + room.utc_shift_ns
    facts = {"session": None, "room_ns": utc_ns, "utc_ns": utc_ns, "clock": None, **changes}
    return (builder or ViewBuilder(room.config, now=lambda: room.now_ns)).look(**facts)


def selfcheck(room: Room, at: str = "2026-11-21T01:30:00.000Z", *, passed: bool = True) -> None:
    report = {"schema": "interview-room-selfcheck/1", "at": at, "passed": passed, "failed_checks": [] if passed else ["x"]}
    write_json(make_folder(room.places.selfcheck) / "latest.json", report)


def test_ready_means_a_valid_selfcheck_and_every_track_delivering(room: Room) -> None:
    builder = ViewBuilder(room.config, now=lambda: room.now_ns)
    room.tracks()
    assert look(room, builder).state == "idle"
    selfcheck(room)
    assert look(room, builder).state == "ready"
    room.track("closeup", "connecting", last_packet_ns=None)
    assert look(room, builder).state == "idle"
    room.tracks()
    selfcheck(room, passed=False)
    assert look(room, builder).state == "idle"
    selfcheck(room, "2026-11-21T00:59:00.000Z")  # 31 minutes ago
    view = look(room, builder)
    assert view.state == "idle" and view.selfcheck is not None and view.selfcheck.passed and not view.selfcheck.valid
    (room.places.selfcheck / "latest.json").unlink()
    assert look(room, builder).selfcheck is None


def test_recording_is_read_off_the_disk(room: Room) -> None:
    """Invariant 8."""
    _, session = room.started()
    room.pass_s(10)
    room.tracks("recording", session=session.id, last_disk_ns=room.now_ns - 2 * SECOND_NS)
    view = look(room, session=session, room_ns=session.start_ns + 10 * SECOND_NS)
    assert (view.state, not_on_disk(view), view.recorded_s) == ("recording", [], 10.0)
    room.track("overview", "recording", session=session.id, last_disk_ns=room.now_ns - 4 * SECOND_NS)
    room.track("microphone", "armed", last_disk_ns=None)
    (room.places.status / "closeup.json").unlink()
    assert not_on_disk(look(room, session=session)) == list(TRACKS)


def test_what_the_session_before_wrote_last_is_not_this_one_s(room: Room) -> None:
    keeper, before = room.sealed()
    room.tracks("finished", session=before.id, finished=before.id, last_disk_ns=room.now_ns - SECOND_NS)
    session = room.start(keeper)
    assert not_on_disk(look(room, session=session)) == list(TRACKS)
    room.track("closeup", "recording", session=session.id, last_disk_ns=room.now_ns)
    assert not_on_disk(look(room, session=session)) == ["overview", "microphone"]


def test_recorded_ends_with_the_official_end(room: Room) -> None:
    keeper, session = room.started()
    room.pass_s(4.5)
    stopped = keeper.stop("赵六", "x", asked=PERSON)
    view = look(room, session=stopped, room_ns=session.start_ns + 60 * SECOND_NS)
    assert (view.state, view.recorded_s) == ("sealing", 5.0)


def test_a_stale_status_and_a_stale_reading_are_none(room: Room) -> None:
    room.tracks()
    reading: dict[str, Any] = {"reading_ns": room.now_ns - 9 * SECOND_NS, "temperature_c": -3.5, "humidity_pct": 40.0}
    ClimateStatus(name="climate", pid=1, boot_id=boot_id(), version="", at_ns=room.now_ns, **reading).write(room.places.status)
    assert look(room).temperature_c == -3.5
    room.pass_s(2)
    assert look(room).temperature_c is None and set(look(room).statuses) == {*TRACKS, "climate"}
    room.pass_s(2)
    assert look(room).statuses == {}


def test_hours_left_count_only_measured_rates(room: Room) -> None:
    room.tracks()
    disk = look(room).disk
    assert disk is not None and disk.hours_left is not None
    assert disk.hours_left == pytest.approx(disk.free_bytes * 8 / 3600 / (3 * 4e6 + composite_bps(room.config)), rel=0.01)
    room.track("overview", "armed", bitrate_bps=0.0)
    disk = look(room).disk
    assert disk is not None and disk.hours_left is None


def test_the_processes_follow_the_configuration(room: Room) -> None:
    assert tuple(kind.id for kind in meant(room.config)) == (*TRACKS, "composer")
    text = config_text(room.root, room.run).replace(
        "enabled = false\n[burner]\ndrives = []", 'enabled = true\n[burner]\ndrives = ["/dev/sr0"]'
    )
    assert tuple(kind.id for kind in meant(parse(text))) == (*TRACKS, "climate", "composer", "burner")
