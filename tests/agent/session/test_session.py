"""The session's life: refusals, start, stop, seal, and what a death between any two steps leaves."""

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent import app
from agent.devices.kind import DeviceHealth
from agent.health.devices import devices
from agent.session import catalogue
from agent.session.closing import composer_done
from agent.session.folder import track_heads
from agent.session.rules import StartRequest, session_id, spoken
from agent.session.sealing import sealing
from recorder.clock.instants import PICTURE_NS, SECOND_NS, boottime_ns
from recorder.disk import journal
from recorder.faults import BadInput, EvidenceFault, NotFound, StorageFault
from recorder.process.status import ComposerStatus
from recorder.process.wanted import Wanted
from recorder.session.record import Case, Session
from recorder.session.tracks import TRACKS
from recorder.verify.session import verify_session
from tests.agent.room import CASE, LOTS, PERSON, START_UTC_NS, Room
from wording import Exit
from wording.refusals import Refused, fault_from
from wording.times import instant_of


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "agent")


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path / "数据 盘", tmp_path / "run")


# -- start --


def test_start_writes_session_journal_epoch_and_wanted(room: Room) -> None:
    keeper, session = room.started()
    assert session.start_ns == START_UTC_NS - START_UTC_NS % PICTURE_NS
    assert session.official_start == "2026-11-21T09:30:05.280+08:00"
    assert session.id == "20261121T093005-room-01"
    assert room.wanted() == Wanted(session.id, session.start_ns, None, CASE.number, True)
    assert room.stored(session) == session == keeper.active
    kinds = [line["kind"] for line in room.lines(session)]
    assert kinds == ["started", "tie"]
    started, tie = room.lines(session)
    assert started["case"]["handlers"] == ["张三", "李四"]
    assert tie["room_ns"] - tie["boottime_ns"] == room.utc_shift_ns
    folder = room.places.session(session.id)
    assert {p.name for p in folder.iterdir()} >= {"tracks", "composite", "transcript", "disc", "epochs"}
    assert {p.name for p in (folder / "tracks").iterdir()} == set(TRACKS)


def test_start_is_refused_with_every_reason_at_once(room: Room) -> None:
    room.tracks()
    room.track(
        "closeup",
        "connecting",
        last_packet_ns=None,
        fault=BadInput("camera-host-unknown", "check-name", name="closeup", host="h").as_dict(),
    )
    (room.places.status / "microphone.json").unlink()
    keeper = room.keeper()
    keeper.resume()
    request = StartRequest(Case(" ", "", ("",), "\t"), 0, override_by="甲")
    with pytest.raises(Refused) as refused:
        room.start(keeper, request, selfcheck_at="", free_bytes=1 << 30)
    said = str(refused.value)
    parts = ["--case", "--cause", "--handler", "--interviewee", "--planned-minutes is 0", "An override needs a name and a reason"]
    parts += [
        "no self-check",
        "GB free",
        "The close-up camera delivers nothing",
        "The host h of the camera closeup is not known.",
    ]
    parts += ["process of track Microphone"]
    for part in parts:
        assert part in said
    assert refused.value.exit_code == Exit.REFUSED
    assert room.wanted() == Wanted() and list(room.places.sessions.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"selfcheck_passed": False, "failed_checks": ("camera-light:closeup",)}, "did not pass: camera-light:closeup"),
        ({"selfcheck_age_s": 31 * 60.0}, "31 minutes old; 30 are allowed"),
        ({"selfcheck_age_s": -300.0}, "-5 minutes old"),
        ({"selfcheck_at": ""}, "no self-check yet"),
    ],
)
def test_selfcheck_is_required_and_a_named_person_overrides_it(room: Room, changes: dict[str, Any], reason: str) -> None:
    room.tracks()
    keeper = room.keeper()
    keeper.resume()
    with pytest.raises(Refused, match=reason):
        room.start(keeper, **changes)
    session = room.start(keeper, StartRequest(CASE, 120, "孙七", "相机检查误报"), **changes)
    assert session.selfcheck["override"] == {"by": "孙七", "reason": "相机检查误报", "asked": PERSON.as_json()}
    assert room.lines(session, "started")[0]["selfcheck"]["override"]["by"] == "孙七"


def test_an_override_that_was_not_needed_is_not_on_the_record(room: Room) -> None:
    room.tracks()
    keeper = room.keeper()
    keeper.resume()
    assert room.start(keeper, StartRequest(CASE, 120, "孙七", "以防万一")).selfcheck["override"] is None


def test_the_disk_must_hold_the_planned_length(room: Room) -> None:
    """3 tracks of 4 Mbit/s and 5 of composite: 17 Mbit/s are 15.3 GB in 120 minutes."""
    room.tracks()
    keeper = room.keeper()
    keeper.resume()
    with pytest.raises(Refused) as refused:
        room.start(keeper, free_bytes=(5 << 30) + 15_299_000_000)
    assert refused.value.exit_code == Exit.STORAGE
    assert room.start(keeper, free_bytes=(5 << 30) + 15_300_000_000).state == "recording"


def test_a_second_start_is_refused(room: Room) -> None:
    keeper, session = room.started()
    with pytest.raises(Refused, match=f"{session.id} has been running since"):
        room.start(keeper)
    assert len(catalogue.folders(room.places)) == 1


def test_a_stale_packet_is_no_delivery(room: Room) -> None:
    room.tracks()
    room.track("overview", "armed", last_packet_ns=room.now_ns - 4 * SECOND_NS)
    keeper = room.keeper()
    keeper.resume()
    with pytest.raises(Refused, match="The overview camera delivers nothing"):
        room.start(keeper)


def test_refusals_travel_over_the_socket(room: Room) -> None:
    keeper = room.keeper()
    keeper.resume()
    with pytest.raises(Refused) as refused:
        room.start(keeper, StartRequest(Case("", "", (), ""), 5))
    back = fault_from(json.loads(json.dumps(refused.value.as_dict())))
    assert back.say("en") == refused.value.say("en") and back.say("zh") == refused.value.say("zh")
    assert back.exit_code == refused.value.exit_code


def test_two_sessions_in_one_second_get_two_folders(room: Room) -> None:
    """The wall clock was set back by the length of the session before."""
    keeper, first = room.sealed()
    room.utc_shift_ns -= 60_500 * 1_000_000
    room.tracks()
    second = room.start(keeper)
    assert second.id == first.id + "-2"


def test_nothing_stays_of_a_start_that_cannot_be_made_known(room: Room) -> None:
    room.tracks()
    keeper = room.keeper()
    keeper.resume()
    room.places.wanted.unlink()
    (room.places.wanted / "in the way").mkdir(parents=True)
    with pytest.raises(StorageFault, match=r"wanted\.json"):
        room.start(keeper)
    assert keeper.active is None and catalogue.folders(room.places) == []
    (room.places.wanted / "in the way").rmdir()
    room.places.wanted.rmdir()
    keeper.tick(room.alive(), LOTS)
    assert room.wanted() == Wanted()
    assert room.start(keeper).state == "recording"


# -- stop --


@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.999, 1.0, 59.5, 3 * 3600 + 0.3])
def test_stop_gives_the_next_whole_second_after_the_start(room: Room, after_s: float) -> None:
    keeper, session = room.started()
    room.pass_s(after_s)
    stopped = keeper.stop("赵六", "询问结束", asked=PERSON)
    assert stopped.stop_ns is not None
    seconds, rest = divmod(stopped.stop_ns - session.start_ns, SECOND_NS)
    assert rest == 0 and seconds >= 1
    assert 0 <= stopped.stop_ns - (room.now_ns + room.utc_shift_ns) <= SECOND_NS
    assert room.wanted().stop_ns == stopped.stop_ns and room.stored(session) == stopped
    assert room.lines(session, "stopping")[0]["by"] == "赵六"


def test_stop_without_start_twice_and_without_a_person(room: Room) -> None:
    keeper = room.keeper()
    keeper.resume()
    with pytest.raises(Refused, match="No session is running"):
        keeper.stop("赵六", "x", asked=PERSON)
    room.tracks()
    session = room.start(keeper)
    with pytest.raises(Refused) as refused:
        keeper.stop(" ", "", asked=PERSON)
    assert len(refused.value.reasons) == 2 and refused.value.exit_code == Exit.INPUT
    assert room.stored(session).state == "recording"
    stopped = keeper.stop("赵六", "x", asked=PERSON)
    with pytest.raises(Refused, match=f"official end is {instant_of(stopped.official_end, 'en')}"):
        keeper.stop("赵六", "x", asked=PERSON)


# -- the minutes --


def test_a_tie_and_an_anchor_each_minute(room: Room) -> None:
    keeper, session = room.started()
    folder = room.places.session(session.id)
    track = journal.Journal(folder / "tracks" / "overview" / "journal.jsonl")
    for n in range(5):
        track.append("open", file=f"{n}.mkv")
    for _ in range(3 * 240):
        room.pass_s(0.25)
        keeper.tick(room.alive(), LOTS)
    assert len(room.lines(session, "tie")) == 4
    anchors = room.lines(session, "anchor")
    assert len(anchors) == 3
    assert anchors[-1]["heads"]["overview"] == {"entries": 5, "sha256": track.head.sha256}
    assert "closeup" not in anchors[-1]["heads"]


def test_heads_come_from_the_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "tracks" / "overview" / "journal.jsonl"
    path.parent.mkdir(parents=True)
    written = journal.Journal(path)
    for n in range(2000):
        written.append("segment", file=f"{n:06d}.mkv", text="长" * 20)
    with path.open("ab") as file:
        file.write(b'{"seq": 2000, "torn')
    assert track_heads(tmp_path, ["overview"])["overview"] == {"entries": 2000, "sha256": written.head.sha256}


def test_a_step_of_the_wall_clock_is_on_the_record_and_moves_nothing(room: Room) -> None:
    keeper, session = room.started()
    keeper.tick(room.alive(), LOTS)
    room.utc_shift_ns -= 3600 * SECOND_NS
    room.pass_s(10)
    keeper.tick(room.alive(), LOTS)
    keeper.tick(room.alive(), LOTS)
    events = [e for e in room.lines(session, "event") if e["event"] == "clock-step"]
    assert [e["step_s"] for e in events] == [-3600.0]
    stopped = keeper.stop("赵六", "x", asked=PERSON)
    assert stopped.stop_ns == session.start_ns + 11 * SECOND_NS


def test_a_slewed_clock_is_no_step(room: Room) -> None:
    keeper, session = room.started()
    for _ in range(100):
        room.utc_shift_ns += 10_000_000
        keeper.tick(room.alive(), LOTS)
    assert room.lines(session, "event") == []


# -- the disk --


def test_nearing_a_full_disk_the_composite_is_given_up_first(room: Room) -> None:
    """Invariant 7. Three tracks of 4 Mbit/s and 5.096 of composite for ten minutes are 1.2822 GB."""
    keeper, session = room.started()
    keeper.tick(room.alive(), 1_282_200_000)
    assert room.wanted().composite
    keeper.tick(room.alive(), 1_282_199_999)
    keeper.tick(room.alive(), 1)
    assert room.wanted() == Wanted(session.id, session.start_ns, None, CASE.number, False)
    assert [e["event"] for e in room.lines(session, "event")] == ["disk-low"]
    again = room.keeper()
    again.resume()
    assert not room.wanted().composite


# -- sealing --


def test_sealing_waits_for_every_track_and_the_composer(room: Room) -> None:
    keeper, session = room.started()
    room.pass_s(10)
    room.tracks("recording", session=session.id)
    room.composer("recording", session=session.id)
    keeper.stop("赵六", "x", asked=PERSON)
    keeper.tick(room.alive(), LOTS)
    assert keeper.waiting_for == list(TRACKS)
    room.track("overview", "finished", session=session.id, finished=session.id)
    room.track("closeup", "finished", session=session.id, finished="20200101T000000-room-01")
    keeper.tick(room.alive(), LOTS)
    assert keeper.waiting_for == ["closeup", "microphone"]
    room.tracks("finished", session=session.id, finished=session.id)
    keeper.tick(room.alive(), LOTS)
    assert keeper.waiting_for == ["composer"]
    room.composer("finished", session=session.id, finished=session.id)
    room.until(keeper, lambda: keeper.active is None)
    sealed = room.stored(session)
    assert sealed.state == "sealed" and keeper.current == sealed
    assert sealed.coverage is not None and set(sealed.coverage) == set(TRACKS)
    assert room.wanted() == Wanted()
    assert [line["kind"] for line in room.lines(session)][-2:] == ["anchor", "sealed"]


def test_a_dead_composer_is_waited_for_5_s_and_then_given_up(room: Room) -> None:
    keeper, session = room.started()
    keeper.stop("赵六", "x", asked=PERSON)
    room.tracks("finished", session=session.id, finished=session.id)
    keeper.tick(room.alive(), LOTS)
    room.pass_s(4.9)
    room.tracks("finished", session=session.id, finished=session.id)
    keeper.tick(room.alive(), LOTS)
    assert keeper.waiting_for == ["composer"] and room.wanted().composite
    room.pass_s(0.2)
    room.tracks("finished", session=session.id, finished=session.id)
    room.until(keeper, lambda: keeper.active is None)
    assert [e["event"] for e in room.lines(session, "event")] == ["composite-unfinished"]


@pytest.mark.parametrize(
    "case",
    [
        ("recording", True, True, 6, "wait"),  # it works: it is given a minute
        ("recording", True, True, 61, "give up"),
        ("recording", True, False, 62, "wait"),  # until its part is closed
        ("waiting", True, False, 62, "wait"),  # until it has said that it writes no more
        ("waiting", True, False, 66, "finished"),
        ("failed", True, True, 4, "wait"),
        ("failed", True, True, 6, "give up"),
        (None, True, True, 6, "wait"),  # alive and too busy for a status
        (None, False, True, 6, "give up"),
        (None, False, False, 0, "finished"),
        ("recording", True, False, 70, "finished"),  # it hangs
    ],
)
def test_what_the_seal_makes_of_a_composer(room: Room, case: tuple[str | None, bool, bool, int, str]) -> None:
    state, locked, wanted, waited_s, expected = case
    _, session = room.started()
    status = ComposerStatus(name="composer", pid=1, boot_id="", version="", state=state, session=session.id) if state else None
    assert composer_done(session, status, locked=locked, wanted=wanted, waited_ns=waited_s * SECOND_NS) == expected


def test_a_seal_that_fails_is_shown_and_tried_again(room: Room) -> None:
    real = room.keeper()._sealer._seal
    attempts: list[int] = []

    def seal(folder: Path, session: Session) -> Any:
        attempts.append(room.now_ns)
        if len(attempts) == 1:
            raise StorageFault("file-not-writable", "check-data-disk-health", path=folder, why="No space left on device")
        return real(folder, session)

    room.seal = seal
    keeper, session = room.started()
    keeper.stop("赵六", "x", asked=PERSON)
    room.finished(session)
    room.until(keeper, lambda: keeper.fault is not None)
    assert room.stored(session).state == "sealing"
    room.pass_s(11)
    room.finished(session)
    room.until(keeper, lambda: keeper.active is None)
    assert keeper.fault is None and attempts == [attempts[0], attempts[0] + 11 * SECOND_NS]


def test_a_track_that_does_not_finish_keeps_the_session_sealing_and_a_restart_goes_on(room: Room) -> None:
    keeper, session = room.started()
    keeper.stop("赵六", "x", asked=PERSON)
    room.track("overview", "finished", session=session.id, finished=session.id)
    room.track("microphone", "finished", session=session.id, finished=session.id)
    room.pass_s(100)
    for _ in range(3):
        keeper.tick(room.alive(), LOTS)
    keeper.close()
    again = room.keeper()
    again.resume()
    again.tick(room.alive(), LOTS)
    assert again.active is not None and again.waiting_for == list(TRACKS)  # the others' statuses are too old by now
    room.finished(session)
    room.until(again, lambda: again.active is None)
    assert room.stored(session).state == "sealed"


# -- a death between any two steps --


START_SYNCS, STOP_SYNCS = 12, 6  # how often each syncs; a death before any of them is tried


class Death(BaseException):
    """The process ends here."""


def dying(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Lets the process die before its step-th fsync; what was done before is on the disk."""
    count = [0]
    real = os.fsync

    def fsync(fd: int) -> None:
        if count[0] == step:
            raise Death
        count[0] += 1
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("step", range(START_SYNCS + 1))
def test_a_death_at_any_step_of_a_start(room: Room, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    room.tracks()
    keeper = room.keeper()
    keeper.resume()
    dying(monkeypatch, step)
    died = False
    try:
        room.start(keeper)
    except Death:
        died = True
    monkeypatch.undo()
    assert died == (step < START_SYNCS)
    again = room.keeper()
    again.resume()
    wanted, active = room.wanted(), again.active
    assert wanted.session == (active.id if active else None)
    if active:  # it goes on by itself, with everything in place
        assert room.lines(active, "started") and wanted.start_ns == active.start_ns
        again.stop("赵六", "x", asked=PERSON)
    else:
        assert died
        room.start(again)


@pytest.mark.parametrize("step", range(STOP_SYNCS + 1))
def test_a_death_at_any_step_of_a_stop(room: Room, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    keeper, session = room.started()
    room.pass_s(5)
    dying(monkeypatch, step)
    died = False
    try:
        keeper.stop("赵六", "询问结束", asked=PERSON)
    except Death:
        died = True
    monkeypatch.undo()
    assert died == (step < STOP_SYNCS)
    room.pass_s(1)
    again = room.keeper()
    again.resume()
    active = again.active
    assert active is not None and active.id == session.id
    if active.state == "recording":
        assert died and room.wanted().stop_ns is None
        active = again.stop("赵六", "询问结束", asked=PERSON)
    assert room.wanted().stop_ns == active.stop_ns is not None
    assert len(room.lines(session, "stopping")) == 1


def test_a_restart_clears_what_a_death_after_the_seal_left(room: Room) -> None:
    _, session = room.sealed()
    Wanted(session.id, session.start_ns, session.stop_ns, CASE.number).write(room.places.wanted)
    again = room.keeper()
    again.resume()
    assert room.wanted() == Wanted() and again.active is None and again.current == session


def test_a_pc_that_died_right_after_the_seal_says_so_and_adds_nothing_to_it(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, session = room.started()
    stopped = keeper.stop("赵六", "询问结束", asked=PERSON)
    keeper.close()
    folder = room.places.session(session.id)
    sealing(room.config)(folder, stopped)  # and then the power went
    files = sorted(path for name in ("tracks", "composite", "epochs") for path in (folder / name).rglob("*"))
    monkeypatch.setattr("recorder.session.epoch.boot_id", lambda: "another-boot")
    again = room.keeper()
    again.resume()
    for _ in range(100):
        again.tick({}, 10**12)
        if again.active is None:
            break
        time.sleep(0.05)
    assert again.current is not None and again.current.state == "sealed"
    assert room.wanted() == Wanted()
    assert sorted(path for name in ("tracks", "composite", "epochs") for path in (folder / name).rglob("*")) == files


def test_a_damaged_journal_is_kept_and_the_session_comes_to_its_end(room: Room) -> None:
    keeper, session = room.started()
    keeper.close()
    path = room.places.session(session.id) / "journal.jsonl"
    damaged = path.read_bytes().replace(b"started", b"startet")
    path.write_bytes(damaged)
    again = room.keeper()
    again.resume()
    [event] = [e for e in room.lines(session, "event") if e["event"] == "journal-damaged"]
    assert (path.parent / event["kept_as"]).read_bytes() == damaged and event["line"] == 2
    assert room.lines(session, "started")
    assert again.stop("赵六", "x", asked=PERSON).state == "sealing"


def test_an_agent_comes_up_on_a_full_disk(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, session = room.started()
    keeper.close()

    def full(fd: int) -> None:
        raise OSError(28, os.strerror(28))

    again = room.keeper()
    monkeypatch.setattr(os, "fsync", full)
    again.resume()
    monkeypatch.undo()
    assert again.active == session and room.lines(session, "event") == []
    again.tick(room.alive(), LOTS)
    assert [e["event"] for e in room.lines(session, "event")] == ["agent-started"]
    journal.head_of(room.places.session(session.id) / "journal.jsonl")


def test_an_unreadable_wanted_file_is_made_anew(room: Room) -> None:
    _, session = room.started()
    room.places.wanted.write_text("{torn", encoding="utf-8")
    again = room.keeper()
    again.resume()
    assert room.wanted().session == session.id


def test_a_reboot_with_a_wrong_wall_clock_keeps_room_time_rising(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    _, session = room.started()
    folder = room.places.session(session.id)
    stored = session.start_ns + 600 * SECOND_NS
    journal.Journal(folder / "tracks" / "overview" / "journal.jsonl").append(
        "segment", file="0.mkv", first_ns=session.start_ns, end_ns=stored, bytes=1, sha256="", packets=1, codec="h264"
    )
    monkeypatch.setattr("recorder.session.epoch.boot_id", lambda: "another-boot")
    room.now_ns, room.utc_shift_ns = 20 * SECOND_NS, 0  # 1970
    again = room.keeper()
    again.resume()
    assert again.room_ns() > stored
    assert len(list((folder / "epochs").glob("*.json"))) == 2


# -- a disk that refuses, and one that is slow --


def syncing(monkeypatch: pytest.MonkeyPatch, before: Callable[[Path], None]) -> None:
    """before: called with the path of each file or folder before it is synced."""
    real = os.fsync

    def fsync(fd: int) -> None:
        before(Path(f"/proc/self/fd/{fd}").readlink())
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)


def refuse() -> None:
    raise OSError(5, os.strerror(5))


@pytest.mark.parametrize("refusals", [1, 4], ids=["once", "for a while"])
def test_a_start_that_is_refused_after_session_json_had_arrived_is_undone_for_good(
    room: Room, monkeypatch: pytest.MonkeyPatch, refusals: int
) -> None:
    room.tracks()
    keeper = room.keeper()
    keeper.resume()
    left = [refusals]
    synced: list[tuple[str, bool]] = []

    def before(path: Path) -> None:
        session = next(room.places.sessions.glob("*/session.json"), None)
        if left[0] and path.parent == room.places.sessions and (session or left[0] < refusals):
            left[0] -= 1
            refuse()
        synced.append((path.parent.name, session is not None))

    syncing(monkeypatch, before)
    with pytest.raises(StorageFault):
        room.start(keeper)
    for _ in range(2, refusals):
        with pytest.raises(StorageFault):
            keeper.tick(room.alive(), LOTS)
    keeper.tick(room.alive(), LOTS)
    assert left == [0] and catalogue.folders(room.places) == []
    assert [each for each in synced if each[0] == "sessions"][-1] == ("sessions", False)  # its folder, without it
    again = room.keeper()
    again.resume()
    assert again.active is None and room.wanted() == Wanted()
    assert room.start(keeper).state == "recording"


@pytest.mark.parametrize("refusals", [1, 3], ids=["once", "for a while"])
def test_a_stop_that_is_refused_after_session_json_had_arrived_is_undone(
    room: Room, monkeypatch: pytest.MonkeyPatch, refusals: int
) -> None:
    keeper, session = room.started()
    room.pass_s(5)
    left = [refusals]

    def before(path: Path) -> None:
        if left[0] and (room.stored(session).state == "sealing"):
            left[0] -= 1
            refuse()

    syncing(monkeypatch, before)
    with pytest.raises(StorageFault):
        keeper.stop("赵六", "x", asked=PERSON)
    for _ in range(2, refusals):
        with pytest.raises(StorageFault):
            keeper.tick(room.alive(), LOTS)
    keeper.tick(room.alive(), LOTS)
    assert left == [0] and room.stored(session) == session == keeper.active
    room.pass_s(5)
    stopped = keeper.stop("赵六", "x", asked=PERSON)
    keeper.tick(room.alive(), LOTS)
    assert room.stored(session) == stopped and stopped.stop_ns == session.start_ns + 11 * SECOND_NS


def test_a_slow_disk_does_not_use_up_what_the_tracks_look_back(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sync takes 2.5 s; from the official start until wanted.json is there, less than the 10 s of the pre-roll may pass."""
    room.tracks()
    keeper = room.keeper()
    keeper.resume()
    wanted_ns: list[int] = []

    def slow(_path: Path) -> None:
        if room.wanted().session is not None:
            wanted_ns.append(room.now_ns + room.utc_shift_ns)
        room.pass_s(2.5)

    syncing(monkeypatch, slow)
    session = room.start(keeper)
    assert wanted_ns[0] - session.start_ns < 8 * SECOND_NS
    assert [line["kind"] for line in room.lines(session)] == ["started", "tie"]
    assert room.lines(session, "started")[0]["official_start"] == session.official_start


def test_lines_of_a_clock_step_and_a_full_disk_wait_for_the_disk(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, session = room.started()
    keeper.tick(room.alive(), LOTS)
    room.utc_shift_ns += 60 * SECOND_NS

    def refuses_the_journal(path: Path) -> None:
        if path.name == "journal.jsonl":
            refuse()

    syncing(monkeypatch, refuses_the_journal)
    with pytest.raises(StorageFault):
        keeper.tick(room.alive(), LOTS)
    monkeypatch.undo()
    keeper.tick(room.alive(), LOTS)
    syncing(monkeypatch, refuses_the_journal)
    with pytest.raises(StorageFault):
        keeper.tick(room.alive(), 1)
    monkeypatch.undo()
    keeper.tick(room.alive(), 1)
    assert not room.wanted().composite
    assert [e["event"] for e in room.lines(session, "event")] == ["clock-step", "disk-low"]
    assert len(room.lines(session, "tie")) == 2


def test_a_clock_step_during_the_seal_is_on_the_record(room: Room) -> None:
    real, go_on = room.keeper()._sealer._seal, threading.Event()

    def seal(folder: Path, session: Session) -> Any:
        assert go_on.wait(10)
        return real(folder, session)

    room.seal = seal
    keeper, session = room.started()
    keeper.stop("赵六", "x", asked=PERSON)
    room.finished(session)
    room.until(keeper, lambda: keeper._sealer.busy)
    room.utc_shift_ns += 60 * SECOND_NS
    keeper.tick(room.alive(), LOTS)
    assert room.lines(session, "event") == []  # the seal reads the journal now
    go_on.set()
    room.until(keeper, lambda: keeper.active is None)
    assert [e["step_s"] for e in room.lines(session, "event")] == [60.0]
    assert verify_session(room.places.session(session.id)).ok


def test_a_seal_that_cannot_be_signed_waits_10_s_and_leaves_no_lines(room: Room) -> None:
    real, key = room.keeper()._sealer._seal, room.places.keys / "device.pem"

    def seal(folder: Path, session: Session) -> Any:
        result = real(folder, session)
        if not key.with_name("away").exists():
            key.rename(key.with_name("away"))
        return result

    room.seal = seal
    keeper, session = room.started()
    keeper.stop("赵六", "x", asked=PERSON)
    room.finished(session)
    room.until(keeper, lambda: keeper.fault is not None)
    for _ in range(20):
        keeper.tick(room.alive(), LOTS)
    assert [line["kind"] for line in room.lines(session)][-1] == "anchor" and len(room.lines(session, "anchor")) == 1
    (room.places.keys / "away").rename(key)
    room.seal = None
    keeper._sealer._seal = real
    room.pass_s(10)
    room.finished(session)
    room.until(keeper, lambda: keeper.active is None)
    assert len(room.lines(session, "sealed")) == 1 and verify_session(room.places.session(session.id)).ok


def test_a_disk_that_does_not_tell_its_room_costs_no_composite(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = app.Agent(room.config, room.root / "config.toml", children=False)
    keeper = agent._keeper
    keeper.resume()
    room.now_ns = boottime_ns()
    room.tracks()
    session = room.start(keeper)
    monkeypatch.setattr("shutil.disk_usage", lambda _: refuse())
    agent._tick()
    assert room.wanted() == Wanted(session.id, session.start_ns, None, CASE.number, True)
    keeper.close()


def test_what_keeps_the_agent_from_its_work_is_in_its_looks(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = app.Agent(room.config, room.root / "config.toml", children=False)
    agent._keeper.resume()
    now_ns = boottime_ns()
    monkeypatch.setattr(app, "boottime_ns", lambda: now_ns)

    def broken() -> None:
        raise KeyError("job")

    def health() -> DeviceHealth:
        return next(d for d in devices(agent._look()) if d.id == "agent")

    agent._tick()
    assert health().status == "ok"
    with monkeypatch.context() as hindered:
        hindered.setattr(agent._discs, "tick", broken)
        with pytest.raises(KeyError):
            agent._tick()
    agent._tick()  # between two attempts
    found = health()
    assert found.status == "degraded" and found.cause is not None and "KeyError" in str(found.cause)
    now_ns += 16 * SECOND_NS
    assert health().status == "ok"
    agent._keeper.fault = unsealed = EvidenceFault("file-missing", "restore-keys-folder-from-copy", path="device.pem")
    found = health()
    assert (found.status, found.cause) == ("failed", unsealed)
    agent._keeper.close()


def test_an_idle_room_follows_the_wall_clock_after_a_start_that_failed(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.tracks()
    keeper = room.keeper()
    keeper.resume()

    def no_more_files(*_: object) -> None:
        raise StorageFault("file-not-writable", "check-data-disk-health", path="journal.jsonl", why="Too many open files")

    monkeypatch.setattr("agent.session.folder.Journal", no_more_files)
    with pytest.raises(StorageFault):
        room.start(keeper)
    monkeypatch.undo()
    room.utc_shift_ns += 3600 * SECOND_NS
    assert keeper.room_ns() == room.now_ns + room.utc_shift_ns


# -- files that cannot be read --


def unreadable(path: Path, how: str) -> None:
    path.unlink()
    if how == "error of the disk":
        path.mkdir()  # reading it fails in the system call
    else:
        path.write_text({"torn": "{", "another version": '{"schema": "x/9", "id": "y"}'}[how], encoding="utf-8")


HOWS = ("torn", "another version", "error of the disk")


@pytest.mark.parametrize("how", HOWS)
def test_tracks_go_on_where_the_running_session_cannot_be_read(room: Room, how: str) -> None:
    keeper, session = room.started()
    keeper.close()
    path, wanted = room.places.session(session.id) / "session.json", room.wanted()
    kept = path.read_bytes()
    unreadable(path, how)
    again = room.keeper()
    again.resume()
    again.tick(room.alive(), LOTS)
    assert room.wanted() == wanted and again.active is None and again.unfinished == session.id
    assert again.fault is not None and str(path) in str(again.fault) and again.fault.exit_code == Exit.EVIDENCE
    with pytest.raises(Refused, match=r"delete .*wanted\.json"):
        room.start(again)
    with pytest.raises(Refused, match="cannot be read"):
        again.stop("赵六", "x", asked=PERSON)
    again.tick(room.alive(), LOTS)
    assert room.wanted() == wanted
    unreadable(path, "torn") if how != "error of the disk" else path.rmdir()
    path.write_bytes(kept)
    mended = room.keeper()
    mended.resume()
    assert mended.active == session and mended.fault is None


@pytest.mark.parametrize("how", HOWS)
def test_an_old_session_and_a_track_s_journal_that_cannot_be_read_keep_no_agent_from_starting(room: Room, how: str) -> None:
    keeper, session = room.started()
    keeper.close()
    old = room.places.sessions / "20200101T000000-x"
    old.mkdir()
    for path in (old / "session.json", room.places.session(session.id) / "tracks" / "overview" / "journal.jsonl"):
        path.touch()
        unreadable(path, how)
    again = room.keeper()
    again.resume()
    assert again.active == session and again.fault is None
    assert again.stop("赵六", "x", asked=PERSON).state == "sealing"
    assert len(catalogue.sessions(room.places)[1]) == 1


def test_a_wanted_file_that_the_disk_does_not_give_back_keeps_no_agent_from_starting(room: Room) -> None:
    _, session = room.started()
    unreadable(room.places.wanted, "error of the disk")
    again = room.keeper()
    again.resume()
    assert again.active == session


# -- the catalogue and small things --


def test_sessions_are_found_by_id_beginning_path_and_last(room: Room) -> None:
    keeper, first = room.sealed()
    room.pass_s(5)
    room.tracks()
    second = room.start(keeper)
    places = room.places
    assert catalogue.find(places, first.id).name == first.id
    assert catalogue.find(places, "last").name == second.id
    assert catalogue.find(places, second.id[:14]).name == second.id
    assert catalogue.find(places, str(places.session(first.id))).name == first.id
    with pytest.raises(BadInput, match="More than one"):
        catalogue.find(places, "2026")
    for name in ("", "1999", "../..", "/"):
        with pytest.raises(NotFound):
            catalogue.find(places, name)


def test_a_broken_session_file_hides_no_other(room: Room) -> None:
    _, session = room.started()
    for name, text in (("20200101T000000-x", "{"), ("20200102T000000-x", '{"id": 1}')):
        (room.places.sessions / name).mkdir()
        (room.places.sessions / name / "session.json").write_text(text, encoding="utf-8")
    found, broken = catalogue.sessions(room.places)
    assert found == [session] and len(broken) == 2 and all(isinstance(b, EvidenceFault) for b in broken)


def test_official_times_in_words(room: Room) -> None:
    zone = room.config.room.zone
    assert spoken(START_UTC_NS, zone, "zh") == "2026年11月21日09时30分05秒"
    assert spoken(START_UTC_NS, zone, "en") == "2026-11-21 09:30:05"
    assert session_id(START_UTC_NS, zone, "r-1") == "20261121T093005-r-1"
