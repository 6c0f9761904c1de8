"""The agent of this version takes up a session that the agent of version 0.1.0 began, and ends and seals it."""

import json
import shutil
import time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from agent.authority.person import Person
from recorder.clock.instants import SECOND_NS, boot_id, rfc3339
from recorder.session.record import Session
from recorder.verify.session import verify_session
from tests.agent.live import STOP, LiveAgent
from tests.agent.room import LOTS, Room
from tests.recorder.sample_session import rechained

BEGUN = Path(__file__).parents[2] / "recorder" / "verify" / "version_0_1_0" / "begun"
PERSON = Person(1000, "li")


@pytest.fixture
def room(tmp_path: Path) -> Room:
    """What the dead agent of version 0.1.0 left: the session's folder and wanted.json."""
    room = Room(tmp_path / "data", tmp_path / "run")
    [begun] = (path for path in BEGUN.iterdir() if path.is_dir())
    shutil.copytree(begun, room.places.session(begun.name))
    room.places.wanted.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(BEGUN / "wanted.json", room.places.wanted)
    room.pass_s(30)
    return room


def begun_record(room: Room) -> dict[str, object]:
    [folder] = room.places.sessions.iterdir()
    record: dict[str, object] = json.loads((folder / "session.json").read_text(encoding="utf-8"))
    return record


def test_the_fixture_is_of_version_0_1_0_and_still_open(room: Room) -> None:
    record = begun_record(room)
    assert record["schema"] == "interview-room-session/1" and record["state"] == "recording"
    assert "asked" not in record


def test_it_is_taken_up_as_it_was_begun(room: Room) -> None:
    record = begun_record(room)
    keeper = room.keeper()
    keeper.resume()
    taken = keeper.active
    assert isinstance(taken, Session) and keeper.fault is None
    for field in ("id", "state", "start_ns", "official_start", "planned_minutes", "timezone"):
        assert getattr(taken, field) == record[field]
    assert taken.case.interviewee == "王五" and taken.case.handlers == ("张三", "李四") and taken.asked is None
    wanted = room.wanted()
    assert (wanted.session, wanted.start_ns, wanted.stop_ns, wanted.composite) == (record["id"], record["start_ns"], None, True)
    keeper.close()


def test_its_journal_goes_on_where_version_0_1_0_stopped_writing(room: Room) -> None:
    keeper = room.keeper()
    keeper.resume()
    assert keeper.active is not None
    lines = room.lines(keeper.active)  # the chain is checked
    assert [line["kind"] for line in lines] == ["started", "tie", "event", "tie"]
    assert (lines[2]["event"], lines[2]["boot_id"]) == ("agent-started", boot_id())
    assert keeper.active.start_ns < keeper.room_ns() < keeper.active.start_ns + 60 * SECOND_NS
    keeper.close()


def test_it_is_ended_sealed_and_verified_by_this_version(room: Room) -> None:
    keeper = room.keeper()
    keeper.resume()
    room.tracks("recording")
    keeper.tick(room.alive(), LOTS)
    stopped = keeper.stop("赵六", "询问结束", PERSON)
    assert stopped.stop_ns is not None and (stopped.stop_ns - stopped.start_ns) % SECOND_NS == 0
    room.pass_s(2)
    room.finished(stopped)
    room.until(keeper, lambda: keeper.active is None)
    stored = room.stored(stopped)
    assert stored.state == "sealed" and stored.stop == {"by": "赵六", "reason": "询问结束", "asked": PERSON.as_json()}
    report = verify_session(room.places.session(stored.id))
    assert report.ok and report.sealed, [f.say() for f in report.findings if not f.ok]
    manifest = json.loads((room.places.session(stored.id) / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["official_start"] == stored.official_start and manifest["case"]["interviewee"] == "王五"


def test_a_stop_that_version_0_1_0_gave_out_and_did_not_finish_is_finished(room: Room) -> None:
    """The agent of version 0.1.0 wrote the official end into session.json and died before the journal had it."""
    [folder] = room.places.sessions.iterdir()
    record = begun_record(room)
    assert isinstance(record["start_ns"], int)
    ended = {"state": "sealing", "stop_ns": record["start_ns"] + 20 * SECOND_NS, "official_end": "2026-11-21T09:30:25.280+08:00"}
    changed = {**record, **ended, "stop": {"by": "赵六", "reason": "询问结束"}}
    (folder / "session.json").write_text(json.dumps(changed, ensure_ascii=False), encoding="utf-8")
    keeper = room.keeper()
    keeper.resume()
    active = keeper.active
    assert active is not None and active.state == "sealing"
    [stopping] = room.lines(active, "stopping")
    assert (stopping["stop_ns"], stopping["by"]) == (ended["stop_ns"], "赵六")
    assert room.wanted().stop_ns == ended["stop_ns"]
    room.finished(active)
    room.until(keeper, lambda: keeper.active is None)
    assert verify_session(folder).ok


def begun_a_minute_ago(room: LiveAgent) -> dict[str, Any]:
    """Lays the session down as if version 0.1.0 had begun it a minute ago, before this boot; its record."""
    [begun] = (path for path in BEGUN.iterdir() if path.is_dir())
    folder = Path(shutil.copytree(begun, room.places.session(begun.name)))
    record: dict[str, Any] = json.loads((folder / "session.json").read_text(encoding="utf-8"))
    start_ns = (time.time_ns() // SECOND_NS - 60) * SECOND_NS
    later, official = start_ns - record["start_ns"], rfc3339(start_ns, ZoneInfo(record["timezone"]))
    times = {"start_ns": start_ns, "official_start": official}

    def shift(entries: list[dict[str, Any]]) -> None:
        started, tie = entries
        started |= times
        tie |= {"utc_ns": tie["utc_ns"] + later, "room_ns": tie["room_ns"] + later}

    journal_path = folder / "journal.jsonl"
    journal_path.write_bytes(rechained(journal_path.read_bytes(), shift))
    [epoch] = (folder / "epochs").glob("*.json")
    told = json.loads(epoch.read_text(encoding="utf-8"))
    epoch.write_text(json.dumps({**told, "utc_ns": told["utc_ns"] + later}))
    (folder / "session.json").write_text(json.dumps({**record, **times}, ensure_ascii=False), encoding="utf-8")
    wanted = json.loads((BEGUN / "wanted.json").read_text(encoding="utf-8"))
    room.places.wanted.write_text(json.dumps({**wanted, "start_ns": start_ns}, ensure_ascii=False), encoding="utf-8")
    return {**record, **times}


def test_a_real_agent_goes_on_with_it_to_the_seal(tmp_path: Path) -> None:
    """The command line alone: status, stop, verify."""
    with LiveAgent(tmp_path) as room:
        record = begun_a_minute_ago(room)
        with room.agent():
            status = room.command("session", "status", "--json").json()
            assert (status["session"]["id"], status["state"]) == (record["id"], "recording")
            assert status["session"]["official_start"] == record["official_start"]
            assert 55 < status["recorded_s"] < 120
            stopped = room.command(*STOP, "--json")
            assert stopped.code == 0, (stopped.out, stopped.err)
        told = stopped.json()
        assert (told["session"], told["state"], told["official_start"]) == (record["id"], "sealed", record["official_start"])
        assert room.command("verify", told["path"]).code == 0
    folder = room.places.session(str(record["id"]))
    kinds = [json.loads(line)["kind"] for line in (folder / "journal.jsonl").read_text(encoding="utf-8").splitlines()]
    assert kinds[:4] == ["started", "tie", "event", "tie"] and "stopping" in kinds and kinds[-1] == "sealed"
