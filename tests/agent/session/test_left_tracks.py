"""A track that cannot journal its end: a person ends the waiting, and nothing of that track can be written during the seal."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.session.keeper import SessionKeeper
from recorder.clock.instants import SECOND_NS
from recorder.disk import journal
from recorder.disk.durable import storage_fault, write_json
from recorder.disk.locks import exclusive, lock_holder
from recorder.faults import AlreadyRunning, EvidenceFault, StorageFault
from recorder.session.record import Session
from recorder.session.tracks import TRACKS
from recorder.track.storing import DiskWriter, StoringSettings
from recorder.verify.session import verify_session
from tests.agent.live import START, STOP, LiveAgent
from tests.agent.room import LOTS, PERSON, Room
from tests.live_room import wait_for
from wording import Exit
from wording.refusals import Refused

ROOT = Path(__file__).parents[3]
FULL = storage_fault(Path("tracks/overview"), OSError(5, os.strerror(5))).as_dict()
BY, WHY = "赵六", "磁盘损坏"


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path / "数据 盘", tmp_path / "run")


def stopped(room: Room, *, wait_s: float = 61.5) -> tuple[SessionKeeper, Session]:
    """A session of 10 s whose overview has not finished, so long after the stop; the others have."""
    keeper, session = room.started()
    track = journal.Journal(room.places.session(session.id) / "tracks" / "overview" / "journal.jsonl")
    track.append("begin", session=session.id, track="overview", start_ns=session.start_ns, boot_id="b", software="1", device={})
    track.close()
    room.pass_s(10)
    stopped = keeper.stop("赵六", "询问结束", asked=PERSON)
    room.pass_s(wait_s)
    room.finished(session)
    (room.places.status / "overview.json").unlink()
    keeper.tick(room.alive(), LOTS)
    assert keeper.waiting_for == ["overview"]
    return keeper, stopped


HOLD = """
import sys, time
from pathlib import Path
from recorder.disk.locks import exclusive
with exclusive(Path(sys.argv[1]), "overview"):
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def process(lock: Path) -> Iterator["subprocess.Popen[str]"]:
    """A track's process, as far as its lock tells."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, cwd=ROOT, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        try:
            yield child
        finally:
            child.kill()


def test_a_dead_track_is_left_behind_and_the_record_says_who_and_why(room: Room) -> None:
    keeper, session = stopped(room)
    assert keeper.may_leave_in_s == 0
    left = keeper.leave(f" {BY} ", WHY, room.alive(), asked=PERSON)
    entry = {"by": BY, "reason": WHY, "tracks": ["overview"], "asked": PERSON.as_json()}
    assert left.left == [entry] == room.stored(session).left
    assert keeper.may_leave_in_s is None or keeper.waiting_for == ["overview"]
    room.until(keeper, lambda: keeper.active is None)
    sealed = room.stored(session)
    assert sealed.state == "sealed" and sealed.left == [entry]
    [line] = room.lines(session, "left")
    assert {key: line[key] for key in entry} == entry
    folder = room.places.session(session.id)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert manifest["left"] == [entry]
    [gap] = manifest["tracks"]["overview"]["gaps"]
    assert (gap["from_ns"], gap["to_ns"]) == (session.start_ns, session.stop_ns)
    assert verify_session(folder).ok
    with exclusive(room.places.lock("overview"), "overview"):
        pass  # its process may come again
    room.tracks()
    assert room.start(keeper).state == "recording"


def reasons(room: Room, keeper: SessionKeeper, by: str = BY, why: str = WHY) -> list[str]:
    with pytest.raises(Refused, match="No track was left behind") as refused:
        keeper.leave(by, why, room.alive(), asked=PERSON)
    return [str(reason) for reason in refused.value.reasons]


def test_when_no_track_may_be_left_behind(room: Room) -> None:
    keeper = room.keeper()
    keeper.resume()
    assert "No session is being sealed" in reasons(room, keeper)[0]
    keeper.close()
    keeper, session = stopped(room, wait_s=40.25)
    assert session.stop_ns is not None
    assert keeper.may_leave_in_s == pytest.approx((session.stop_ns - keeper.room_ns()) / SECOND_NS + 60)
    [why] = reasons(room, keeper)
    assert "waited for 20 s more" in why or "waited for 21 s more" in why
    room.pass_s(21)
    room.finished(session)
    assert "waits for no track" in reasons(room, keeper)[0]
    room.track("overview", "recording", session=session.id)
    room.track("closeup", "connecting", session=session.id)
    assert [why.split(" ")[1] for why in reasons(room, keeper)] == ["Overview", "Close-up"]
    assert len(reasons(room, keeper, " ", "a\nb")) == 4
    room.track("overview", "failed", session=session.id, fault=FULL)
    assert "Close-up is alive" in reasons(room, keeper)[0]
    assert room.stored(session).left is None and room.lines(session, "left") == []


def test_a_session_that_runs_has_no_track_to_leave(room: Room) -> None:
    keeper, session = room.started()
    room.pass_s(100)
    assert f"Session {session.id} is still running" in reasons(room, keeper)[0]
    assert keeper.may_leave_in_s is None


def test_a_track_whose_disk_refuses_loses_its_process_and_cannot_come_back_during_the_seal(room: Room) -> None:
    real, go_on, begun = room.keeper()._sealer._seal, threading.Event(), threading.Event()

    def seal(folder: Path, session: Session) -> Any:
        begun.set()
        assert go_on.wait(20)
        return real(folder, session)

    room.seal = seal
    lock = room.places.lock("overview")
    with process(lock) as child:
        keeper, session = stopped(room)
        room.track("overview", "failed", session=session.id, fault=FULL)
        keeper.leave(BY, WHY, room.alive(), asked=PERSON)
        assert child.poll() is None and not begun.is_set()
        room.until(keeper, begun.is_set)
        assert child.wait(10) == -signal.SIGKILL
    with pytest.raises(AlreadyRunning), exclusive(lock, "overview"):
        pass
    assert lock_holder(lock) is None, "nobody takes the agent for the track"
    go_on.set()
    room.until(keeper, lambda: keeper.active is None)
    with exclusive(lock, "overview"):
        assert lock_holder(lock) == os.getpid()
    assert verify_session(room.places.session(session.id)).ok


def test_a_seal_that_fails_lets_the_track_come_back(room: Room) -> None:
    """Between two attempts it may find its end after all."""
    real, attempts = room.keeper()._sealer._seal, []

    def seal(folder: Path, session: Session) -> Any:
        attempts.append(folder)
        if len(attempts) == 1:
            raise StorageFault("file-not-writable", "check-data-disk-health", path=folder, why="No space left on device")
        return real(folder, session)

    room.seal = seal
    keeper, session = stopped(room)
    keeper.leave(BY, WHY, room.alive(), asked=PERSON)
    room.until(keeper, lambda: keeper.fault is not None)
    with process(room.places.lock("overview")) as child:
        keeper.tick(room.alive(), LOTS)
        assert child.poll() is None
        room.pass_s(11)
        room.finished(session)
        room.until(keeper, lambda: keeper.active is None)
        assert child.poll() is None, "it finished: nothing is to be kept from it"


def test_an_agent_that_comes_remembers_it(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """It died between session.json and the journal's line; another track is left behind afterwards."""
    keeper, session = stopped(room)

    def refuses(*_: object) -> int:
        raise OSError(5, os.strerror(5))

    with monkeypatch.context() as on_the_disk:
        on_the_disk.setattr(os, "pwrite", refuses)
        keeper.leave(BY, WHY, room.alive(), asked=PERSON)
    assert room.lines(session, "left") == []
    keeper.close()
    again = room.keeper()
    again.resume()
    assert [line["tracks"] for line in room.lines(session, "left")] == [["overview"]]
    (room.places.status / "closeup.json").unlink()
    again.tick(room.alive(), LOTS)
    assert again.waiting_for == ["closeup"]
    again.leave("孙七", "也坏了", room.alive(), asked=PERSON)
    room.until(again, lambda: again.active is None)
    assert [(line["by"], line["tracks"]) for line in room.lines(session, "left")] == [(BY, ["overview"]), ("孙七", ["closeup"])]
    assert verify_session(room.places.session(session.id)).ok


def test_a_track_that_comes_back_finds_the_seal_and_writes_nothing(room: Room) -> None:
    keeper, session = stopped(room)
    wanted = room.wanted()
    keeper.leave(BY, WHY, room.alive(), asked=PERSON)
    room.until(keeper, lambda: keeper.active is None)
    wanted.write(room.places.wanted)  # as it reads it if it was quicker than the agent
    folder = room.places.session(session.id)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    storing = DiskWriter(StoringSettings("overview", room.root, 10 * SECOND_NS, 10 * SECOND_NS, "1"))
    storing.turn()
    assert storing.stored.session == session.id and storing.stored.ended
    storing.leave()
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_who_left_a_track_cannot_be_changed_afterwards(room: Room) -> None:
    keeper, session = stopped(room)
    keeper.leave(BY, WHY, room.alive(), asked=PERSON)
    room.until(keeper, lambda: keeper.active is None)
    path = room.places.session(session.id) / "session.json"
    path.write_text(path.read_text("utf-8").replace(WHY, "其他"), "utf-8")
    assert not verify_session(path.parent).ok
    data = json.loads(path.read_text("utf-8"))
    with pytest.raises(EvidenceFault, match="field left"):
        Session.from_dict({**data, "left": [{"by": BY}]}, path)


def test_on_the_command_line(tmp_path: Path) -> None:
    with LiveAgent(tmp_path) as room:
        room.selfcheck()
        room.silent.add("overview")
        with room.agent() as agent:
            seal = ("session", "seal", "--by", BY, "--reason", WHY)
            early = room.command(*seal)
            assert early.code == Exit.REFUSED and "No session is being sealed." in early.err
            room.silent.clear()
            wait_for(lambda: len(list(room.places.status.glob("*.json"))) == len(TRACKS) + 1, "the tracks are there")
            started = room.command(*START, "--json").json()
            room.silent.add("overview")
            assert room.command(*STOP, "--no-wait").code == 0
            wait_for(lambda: room.command("session", "status", "--json").json()["waiting_for"] == ["overview"], "it waits")
            assert "session seal" not in room.command("session", "status").out
            early = room.command(*seal, "--language", "zh")
            assert early.code == Exit.REFUSED and "还须等待" in early.err, early
            agent.send_signal(signal.SIGKILL)
            agent.wait(15)
        path = Path(started["path"]) / "session.json"
        facts = json.loads(path.read_text("utf-8"))
        write_json(path, {**facts, **{key: facts[key] - 100 * SECOND_NS for key in ("start_ns", "stop_ns")}})
        with room.agent():
            dead = "Overview: its process does not answer"
            told = wait_for(lambda: dead in (s := room.command("session", "status").out) and s, "it is dead")
            assert "room-agent session seal --by NAME --reason TEXT" in told
            assert room.command("session", "seal", "--by", " ", "--reason", "x").code == Exit.INPUT
            done = room.command(*seal)
            assert done.code == 0 and "Left behind: Overview" in done.out + done.err, done
            assert "Overview: 0.00 % covered" in done.out
            assert room.command("session", "status", "--json").json()["session"]["left"][0]["by"] == BY
