"""From looks at the room to device status, overall condition, events and messages: pure, against the schemas."""

import json
import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.devices.kind import DeviceHealth, Limits
from agent.feed import messages
from agent.feed.contract import topic_root
from agent.feed.outbox import Row
from agent.health.devices import concerns, devices, not_looking, overall
from agent.health.events import Event, events
from agent.health.machine_load import Machine
from agent.health.room_view import DiskView, RoomView, SelfcheckView
from drivers.ports import ClockState
from recorder.clock.instants import SECOND_NS, rfc3339
from recorder.process.status import BurnerStatus, TrackStatus
from tests.agent.contract import complaints
from tests.agent.room_samples import PERSONAL, SESSION, SESSION_ID, TRACKS, changed, room, without
from wording import Fault
from wording.text import catalogue

NOW = 1000 * SECOND_NS
TWO = Limits(drives=2)
FAULT = Fault("camera-host-unknown", "check-camera-host-and-name-server", host="192.168.1.64", name="overview")
BOOT = "0b2f5c1a-0000-4000-8000-000000000001"


def good() -> RoomView:
    return room(NOW)


def recording() -> RoomView:
    return room(NOW, state="recording", session=SESSION)


def device(view: RoomView, name: str, limits: Limits = TWO) -> DeviceHealth:
    return next(d for d in devices(view, limits) if d.id == name)


def cause(found: DeviceHealth) -> str:
    assert found.cause is not None
    return found.cause.code


@pytest.mark.parametrize("view", [good(), recording(), room(NOW, state="sealing", session=SESSION)])
def test_in_a_good_room_everything_is_ok(view: RoomView) -> None:
    found = devices(view, TWO)
    assert [d.id for d in found] == [*TRACKS, "climate", "composer", "drive-1", "drive-2", "disk", "clock", "agent"]
    assert {d.status for d in found} == {"ok"}
    assert overall(found) == "ok"


@pytest.mark.parametrize("process", [*TRACKS, "composer", "climate", "burner"])
def test_a_process_that_does_not_answer_fails(process: str) -> None:
    found = {d.id: d for d in devices(without(good(), process), TWO)}
    concerned = {"drive-1", "drive-2"} if process == "burner" else {process}
    assert {name for name, d in found.items() if d.status != "ok"} == concerned
    assert {found[name].status for name in concerned} == {"failed"}
    assert overall(found.values()) == ("failed" if process in TRACKS else "degraded")


def test_nothing_is_ok_where_nothing_is_known() -> None:
    empty = RoomView(boottime_ns=NOW, room_ns=NOW, state="idle", statuses={}, required=TRACKS, expected=())
    assert [d.id for d in devices(empty, TWO) if d.status == "ok"] == ["agent"], "which looks"
    assert overall(devices(empty, TWO)) == "failed"


def test_what_the_room_does_not_have_is_absent_and_no_concern() -> None:
    view = replace(without(good(), "climate", "burner"), expected=(*TRACKS, "composer"))
    found = devices(view)
    assert {d.id for d in found if d.status == "absent"} == {"climate"}
    assert overall(found) == "ok"


@pytest.mark.parametrize("name", TRACKS)
def test_a_track_without_packets_fails_after_three_seconds(name: str) -> None:
    assert device(changed(good(), name, last_packet_ns=NOW - 3 * SECOND_NS), name).status == "ok"
    late = device(changed(good(), name, last_packet_ns=NOW - 3 * SECOND_NS - 1), name)
    assert late.status == "failed"
    assert "delivered nothing for 3 s" in str(late.cause)


def test_a_track_that_has_just_begun_is_unknown_and_then_fails() -> None:
    began = {"state": "connecting", "last_packet_ns": None}
    assert device(changed(good(), "closeup", since_ns=NOW - 10 * SECOND_NS, **began), "closeup").status == "unknown"
    assert device(changed(good(), "closeup", since_ns=NOW - 11 * SECOND_NS, **began), "closeup").status == "failed"
    told = device(changed(good(), "closeup", since_ns=NOW, fault=FAULT.as_dict(), **began), "closeup")
    assert (told.status, cause(told)) == ("failed", FAULT.code)
    starting = changed(good(), "closeup", state="starting", since_ns=0, last_packet_ns=None)
    assert device(starting, "closeup").status == "failed"


def test_recording_is_believed_only_from_the_disk() -> None:
    assert device(changed(recording(), "overview", last_disk_ns=NOW - 3 * SECOND_NS), "overview").status == "ok"
    for last in (NOW - 3 * SECOND_NS - 1, None):
        found = device(changed(recording(), "overview", last_disk_ns=last), "overview")
        assert found.status == "failed"
        assert cause(found) == "session-nothing-reaches-disk"
    early = replace(changed(recording(), "overview", last_disk_ns=None, state="armed"), recorded_s=2.0)
    assert device(early, "overview").status == "ok"


def test_a_track_with_a_fault_is_degraded_or_failed() -> None:
    with_fault = device(changed(good(), "overview", fault=FAULT.as_dict()), "overview")
    assert (with_fault.status, cause(with_fault)) == ("degraded", FAULT.code)
    assert overall(devices(changed(good(), "overview", fault=FAULT.as_dict()), TWO)) == "degraded"
    disk = Fault("file-not-writable", "check-data-disk-health", path="/data", why="No space left on device")
    failed = device(changed(recording(), "overview", state="failed", fault=disk.as_dict()), "overview")
    assert (failed.status, cause(failed)) == ("failed", disk.code)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"code": 1},
        {"code": "x", "mend": "y", "exit_code": 999},
        {"text": 1},
        {"text": "x", "mend": "y", "exit_code": 999},
    ],
)
def test_a_fault_that_cannot_be_read_is_still_a_fault(broken: dict[str, object]) -> None:
    assert device(changed(good(), "overview", fault=broken), "overview").status == "degraded"


def test_the_climate_sensor() -> None:
    assert device(changed(good(), "climate", state="silent"), "climate").status == "failed"
    assert device(changed(good(), "climate", state="absent"), "climate").status == "absent"
    old = device(changed(good(), "climate", reading_ns=NOW - 11 * SECOND_NS), "climate")
    assert old.status == "failed"
    assert {m.name: m.value for m in old.measurements} == {"temperature": None, "humidity": None, "reading_age": 11.0}
    starting = {"state": "starting", "reading_ns": None}
    assert device(changed(good(), "climate", since_ns=NOW, **starting), "climate").status == "unknown"
    assert device(changed(good(), "climate", since_ns=NOW - 11 * SECOND_NS, **starting), "climate").status == "failed"


def test_what_is_configured_and_not_found_concerns() -> None:
    unplugged = devices(changed(good(), "climate", state="absent"), TWO)
    assert [(d.id, d.status) for d in unplugged if concerns(d)] == [("climate", "absent")]
    assert overall(unplugged) == "degraded"
    one_drive = devices(changed(good(), "burner", drives=[{"state": "blank"}, {"state": "absent"}]), TWO)
    assert [(d.id, d.status) for d in one_drive if concerns(d)] == [("drive-2", "absent")]
    assert overall(one_drive) == "degraded"


def test_the_composer() -> None:
    assert device(changed(recording(), "composer", last_disk_ns=NOW - 4 * SECOND_NS), "composer").status == "failed"
    behind = device(changed(recording(), "composer", lag_ms=2500.0), "composer")
    assert behind.status == "degraded"
    assert "2.5 s behind" in str(behind.cause)
    assert device(changed(good(), "composer", state="failed", fault=FAULT.as_dict()), "composer").status == "failed"


def test_the_drives() -> None:
    one = changed(good(), "burner", drives=[{"device": "/dev/sr0", "state": "written"}])
    assert [device(one, n).status for n in ("drive-1", "drive-2")] == ["ok", "unknown"]
    faulty: list[dict[str, object]] = [{"state": "failed", "fault": FAULT.as_dict()}, {"state": "absent"}]
    both = changed(good(), "burner", drives=faulty)
    assert [device(both, n).status for n in ("drive-1", "drive-2")] == ["failed", "absent"]
    assert overall(devices(both, TWO)) == "degraded"
    needed = replace(both, required=(*TRACKS, "burner"))
    assert overall(devices(needed, TWO)) == "failed"
    half = changed(needed, "burner", drives=[faulty[0], {"state": "blank"}])
    assert overall(devices(half, TWO)) == "degraded"


@pytest.mark.parametrize(
    ("disk", "status"),
    [
        (DiskView(1, 2, 4.0), "ok"),
        (DiskView(1, 2, 3.9), "degraded"),
        (DiskView(1, 2, 0.4), "failed"),
        (DiskView(21 << 30, 100 << 30, None), "ok"),
        (DiskView(19 << 30, 100 << 30, None), "degraded"),
        (DiskView(1 << 30, 100 << 30, None), "failed"),
        (None, "failed"),
    ],
)
def test_the_disk(disk: DiskView | None, status: str) -> None:
    view = replace(good(), disk=disk)
    assert device(view, "disk").status == status
    assert overall(devices(view, TWO)) == status


@pytest.mark.parametrize(
    ("clock", "status"),
    [
        (ClockState(True, 0.9, "ntp.centre"), "ok"),
        (ClockState(True, -1.1, "ntp.centre"), "degraded"),
        (ClockState(False, None, "kernel"), "degraded"),
        (None, "unknown"),
    ],
)
def test_the_clock(clock: ClockState | None, status: str) -> None:
    assert device(replace(good(), clock=clock), "clock").status == status


def test_a_room_that_nobody_looks_at_is_unknown() -> None:
    found = [not_looking(d, 12.3) for d in devices(good(), TWO)]
    assert {d.status for d in found} == {"unknown"}
    assert "12 s" in str(found[0].cause)
    assert overall(found) == "degraded"


# Events.


def kinds(found: Iterable[Event]) -> list[tuple[str, object]]:
    return [(e.kind, e.data.get("device")) for e in found]


def test_the_first_look_and_an_unchanged_room_are_no_events() -> None:
    assert events(None, without(good(), "overview"), TWO) == ()
    assert events(good(), room(NOW + SECOND_NS // 4), TWO) == ()


def test_devices_lost_degraded_and_back() -> None:
    gone = without(good(), "overview")
    assert kinds(events(good(), gone, TWO)) == [("device-lost", "overview")]
    assert kinds(events(gone, good(), TWO)) == [("device-back", "overview")]
    faulty = changed(good(), "overview", fault=FAULT.as_dict())
    assert kinds(events(good(), faulty, TWO)) == [("device-degraded", "overview")]
    assert kinds(events(faulty, gone, TWO)) == [("device-lost", "overview")]
    assert kinds(events(gone, faulty, TWO)) == [("device-degraded", "overview")]
    starting = changed(good(), "overview", state="connecting", last_packet_ns=None, since_ns=NOW)
    assert kinds(events(gone, starting, TWO)) == []
    assert kinds(events(starting, good(), TWO)) == [("device-back", "overview")]
    assert kinds(events(starting, gone, TWO)) == [("device-lost", "overview")]


def test_a_gap_is_an_event_once() -> None:
    one = changed(recording(), "closeup", gaps=1)
    (gap,) = events(recording(), one, TWO)
    assert gap == Event("gap", NOW, {"device": "closeup", "session": SESSION_ID, "gaps": 1})
    assert events(one, one, TWO) == ()
    assert kinds(events(one, changed(recording(), "closeup", gaps=2), TWO)) == [("gap", "closeup")]
    assert kinds(events(good(), changed(recording(), "closeup", gaps=0), TWO)) == [("session", None)]


def test_a_session_begins_and_changes() -> None:
    (began,) = events(good(), recording(), TWO)
    assert began.data == {"session": SESSION_ID, "state": "recording", "previous": None}
    sealed = room(NOW, session={**SESSION, "state": "sealed"})
    (changed_,) = (e for e in events(recording(), sealed, TWO) if e.kind == "session")
    assert changed_.data == {"session": SESSION_ID, "state": "sealed", "previous": "recording"}


def test_a_selfcheck_and_a_burn_end() -> None:
    check = SelfcheckView(1_795_000_600 * SECOND_NS, False, False, ("camera.overview.black",))
    (checked,) = events(good(), replace(good(), selfcheck=check), TWO)
    assert (checked.kind, checked.data) == ("selfcheck", {"passed": False, "failed_checks": ["camera.overview.black"]})
    result = {"job": "7", "session": SESSION_ID, "ok": True, "finished": rfc3339(good().room_ns - 5 * SECOND_NS)}
    (burn,) = events(good(), changed(good(), "burner", last=result), TWO)
    assert (burn.kind, burn.data) == ("burn", {"session": SESSION_ID, "job": "7", "passed": True})
    old = {**result, "finished": rfc3339(good().room_ns - 61 * SECOND_NS)}
    assert events(good(), changed(good(), "burner", last=old), TWO) == ()
    (failed,) = events(good(), changed(good(), "burner", last={**result, "ok": False}), TWO)
    assert failed.data["passed"] is False


def test_what_keeps_the_agent_from_its_work_is_told() -> None:
    needs_a_person = replace(recording(), fault=Fault("file-missing", "restore-keys-folder-from-copy", path="device.pem"))
    found = devices(needs_a_person, TWO)
    assert (device(needs_a_person, "agent").status, overall(found)) == ("failed", "failed")
    assert cause(device(needs_a_person, "agent")) == "file-missing"
    goes_on = replace(
        recording(), hindrance=Fault("file-not-writable", "check-data-disk-health", path="/data", why="No space left on device")
    )
    assert (device(goes_on, "agent").status, overall(devices(goes_on, TWO))) == ("degraded", "degraded")
    assert kinds(events(recording(), needs_a_person, TWO)) == [("device-lost", "agent")]
    assert kinds(events(recording(), goes_on, TWO)) == [("device-degraded", "agent")]
    assert kinds(events(goes_on, recording(), TWO)) == [("device-back", "agent")]


def test_a_low_disk_is_an_event() -> None:
    low = replace(good(), disk=DiskView(5 << 30, 100 << 30, 1.0))
    (event,) = events(good(), low, TWO)
    assert (event.kind, event.data) == ("disk-low", {"status": "degraded", "free_bytes": 5 << 30, "hours_left": 1.0})
    assert kinds(events(low, good(), TWO)) == [("device-back", "disk")]


def test_a_stepped_clock_outside_a_session_is_an_event() -> None:
    later = room(NOW + SECOND_NS)
    assert events(good(), replace(later, room_ns=later.room_ns + SECOND_NS // 4), TWO) == ()
    (step,) = events(good(), replace(later, room_ns=later.room_ns - 30 * SECOND_NS), TWO)
    assert (step.kind, step.data) == ("clock-step", {"step_s": -30.0, "state": "ready"})
    ended = room(NOW + SECOND_NS, session=SESSION)
    assert "clock-step" not in [e.kind for e in events(recording(), replace(ended, room_ns=0), TWO)]


# Messages.


def whole(topic: str, body: dict[str, Any]) -> dict[str, Any]:
    row = Row(1, topic, BOOT, 7, 1_795_000_000 * SECOND_NS, NOW, body)
    message: dict[str, Any] = json.loads(messages.encode(row, "centre-01", "room-01", historical=False))
    assert complaints(f"{topic_root('centre-01', 'room-01')}/{topic}", message) == []
    return message


def everything(view: RoomView) -> list[dict[str, Any]]:
    """Every message of a look, held against the contract."""
    found = devices(view, TWO)
    private = messages.private_words(view.session)
    told = [
        whole("state", messages.state_body(True, "connected", "0.1.0")),
        whole("health", messages.health_body(view, found, Machine(0.5, 1.0, 4, 8, 4), private)),
        whole("session", messages.session_body(view)),
    ]
    told += [whole(f"device/{d.id}", messages.device_body(view, d, d.since_ns, private)) for d in found]
    blank = RoomView(boottime_ns=NOW, room_ns=view.room_ns, state="idle", statuses={}, required=TRACKS)
    for one, other in ((view, blank), (blank, view), (good(), view), (view, good())):
        told += [whole("event", messages.event_body(e, private)) for e in events(one, other, TWO)]
    return told


def awkward_looks() -> list[RoomView]:
    bad = Fault("path-cannot-be-read", "check-camera-user-and-password", path="/x/王五笔录.txt", why="李四光", name="赵六")
    newer = Fault("newer of 王五", "Ask {who}.", path="/x/王五笔录.txt", who="李四光")
    broken = Fault("path-cannot-be-read", "check-camera-user-and-password")
    view = recording()
    for name, fault in (("overview", bad), ("closeup", broken), ("composer", newer)):
        view = changed(view, name, fault=fault.as_dict())
    drives: list[dict[str, object]] = [
        {"state": "failed", "fault": bad.as_dict()},
        {"state": "empty", "medium": "BD-R of 王五", "free_bytes": 5},
    ]
    view = changed(view, "burner", drives=drives, last={"job": "询问 王五", "session": SESSION_ID, "ok": False})
    view = changed(view, "microphone", level_dbfs=-math.inf, peak_dbfs=math.nan, gaps=3, drift_ppm=1.23456789)
    view = replace(view, selfcheck=SelfcheckView(1, False, False, ("赵六 is not there",)), temperature_c=math.nan)
    return [
        view,
        good(),
        recording(),
        room(
            NOW,
            state="sealing",
            session={**SESSION, "state": "sealing", "coverage": {"overview": {"covered": 1.0, "gaps": [1, 2]}}},
        ),
        room(NOW, session={"id": SESSION_ID, "state": "on-disc"}),
        RoomView(boottime_ns=NOW, room_ns=NOW, state="idle", statuses={}, required=()),
        replace(good(), disk=None, clock=ClockState(False, math.inf, "x" * 300), selfcheck=None),
    ]


NEWER, *KNOWN = awkward_looks()


@pytest.mark.parametrize("view", [pytest.param(NEWER, marks=pytest.mark.unknown_code), *KNOWN])
def test_every_message_of_every_room_keeps_to_the_contract_and_names_nobody(view: RoomView) -> None:
    text = json.dumps(everything(view), ensure_ascii=False)
    assert [word for word in PERSONAL if word in text] == []


def test_private_words_are_those_of_the_case_and_the_people() -> None:
    words = messages.private_words(SESSION)
    assert words >= set(PERSONAL)
    assert SESSION_ID not in words
    assert "room-01" not in words
    assert messages.private_words(None) == frozenset()


@pytest.mark.unknown_code
def test_a_transcript_s_name_is_struck_of_a_session_that_the_agent_never_saw() -> None:
    """After a reboot: the burner goes on with a job, and the newest session is another one."""
    path = "/数据/sessions/20260101T000000-room-01/transcript/*** 孙八 笔录#1.txt"
    faults = [
        Fault("transcript-changed-since-attached", "attach-transcript-again", path=path),
        Fault("path-cannot-be-read", "check-disk-mounted-and-readable", path=Path(path), why=f"No such file: '{path}'"),
        Fault(f"No {{field}} of {path}.", f"See {path}."),
        Fault("new-in-another-version", "new-mend", path=path),
    ]
    for fault in faults:
        view = changed(good(), "burner", drives=[{"state": "failed", "fault": fault.as_dict()}])
        drive = device(view, "drive-1")
        assert drive.status == "failed"
        told = json.dumps(
            [
                messages.device_body(view, drive, None, ()),
                messages.health_body(view, devices(view, TWO), Machine(), ()),
                *(messages.event_body(e, ()) for e in events(good(), view, TWO)),
            ],
            ensure_ascii=False,
        )
        assert "transcript/***" in told and "孙八" not in told and "笔录#1" not in told
    said = messages.text_of(faults[0], ())
    assert said and said["en"] == "/数据/sessions/20260101T000000-room-01/transcript/*** changed since it was attached."
    assert messages.plain(f"lost: {path}") == "lost: /数据/sessions/20260101T000000-room-01/transcript/***"


def test_a_health_message_says_what_is_wrong_in_both_languages() -> None:
    view = without(recording(), "closeup")
    health = messages.health_body(view, devices(view, TWO), Machine(), ())
    assert health["overall"] == "failed"
    text = {"en": "The process does not answer.", "zh": "程序没有响应。"}
    assert health["causes"] == [{"device": "closeup", "status": "failed", "text": text}]
    assert health["devices"]["closeup"] == "failed"
    assert (health["session"], health["recorded_s"]) == (SESSION_ID, 60.0)


def test_a_reading_of_a_failed_sensor_is_not_told() -> None:
    silent = changed(good(), "climate", state="silent")
    assert messages.health_body(good(), devices(good(), TWO), Machine(), ())["climate"]["temperature_c"] == 22.5
    assert messages.health_body(silent, devices(silent, TWO), Machine(), ())["climate"]["temperature_c"] is None


def test_what_makes_a_message_due_at_once() -> None:
    def key(view: RoomView) -> object:
        return messages.health_key(view, devices(view, TWO))

    later = replace(room(NOW + SECOND_NS), temperature_c=23.0, recorded_s=61.0)
    assert key(good()) == key(later)
    assert key(good()) != key(without(good(), "overview"))
    assert key(good()) != key(recording())
    older = changed(good(), "overview", last_packet_ns=NOW - 9 * SECOND_NS)
    oldest = changed(good(), "overview", last_packet_ns=NOW - 10 * SECOND_NS)
    assert key(older) == key(oldest)
    assert messages.device_key(device(older, "overview")) == messages.device_key(device(oldest, "overview"))


def test_the_session_message_counts_gaps_while_it_records_and_covers_when_sealed() -> None:
    live = {k: v for k, v in SESSION.items() if k != "coverage"}
    view = changed(room(NOW, state="recording", session=live), "closeup", gaps=2)
    session = messages.session_body(view)["session"]
    assert session["tracks"]["closeup"] == {"covered": None, "gaps": 2}
    sealed = messages.session_body(room(NOW, session=SESSION))["session"]
    assert sealed["tracks"] == {
        "overview": {"covered": 1.0, "gaps": 0},
        "closeup": {"covered": 0.98, "gaps": 2},
        "microphone": {"covered": None, "gaps": None},
    }
    assert sealed["disc"] == {"copies": 2, "verified": 2}
    assert sealed["transcript"] == "excepted"
    assert set(sealed) == {
        *("id", "state", "official_start", "official_end", "planned_minutes", "tracks", "transcript", "disc", "archive")
    }


def test_since_is_told_in_utc() -> None:
    view = good()
    body = messages.device_body(view, device(view, "overview"), NOW - 60 * SECOND_NS, ())
    assert body["since"] == "2026-11-18T11:22:20.000Z"


def test_every_text_has_its_translation() -> None:
    causes: list[Fault] = []
    views = [without(good(), "overview"), replace(good(), disk=None, clock=ClockState(False, None, "kernel"))]
    views += [replace(good(), disk=DiskView(1, 2, 1.0), clock=ClockState(True, 5.0, "k"))]
    views += [replace(good(), disk=DiskView(1, 2, None)), changed(good(), "climate", state="silent")]
    views += [changed(good(), "climate", state="absent"), changed(good(), "overview", last_packet_ns=None, since_ns=0)]
    views += [changed(recording(), "overview", last_disk_ns=None), changed(recording(), "composer", lag_ms=9000.0)]
    views += [changed(good(), "overview", fault={})]
    for view in views:
        for found in devices(view, TWO):
            if found.cause is not None:
                causes.append(found.cause)
    causes += [stale.cause for stale in (not_looking(d, 1) for d in devices(good(), TWO)) if stale.cause is not None]
    told = {code for each in causes for code in (each.code, each.mend)}
    assert len(told) > 20
    assert told <= catalogue().keys()
    for each in causes:
        assert each.say("zh") != each.say("en") and each.say_mend("zh") != each.say_mend("en")


def test_statuses_of_the_wrong_kind_are_failures() -> None:
    view = good()
    swapped = replace(
        view, statuses={**view.statuses, "overview": view.statuses["climate"], "climate": view.statuses["overview"]}
    )
    assert isinstance(swapped.statuses["climate"], TrackStatus)
    assert device(swapped, "overview").status == "failed"
    assert device(swapped, "climate").status == "failed"
    assert isinstance(view.statuses["burner"], BurnerStatus)
