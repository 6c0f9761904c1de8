"""What follows the seal: transcripts, exceptions, discs. The burner's results are hand-written, as its worker writes them."""

import json
import queue
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.authority.gate import Gate
from agent.authority.person import Person
from agent.config.model import parse
from agent.console.handlers import Handlers
from agent.console.request import Request
from agent.console.sent_file import SentFile
from agent.health.look import ViewBuilder
from agent.session import catalogue, transcripts
from agent.session.discs import Discs
from agent.session.keeper import SessionKeeper
from agent.session.rules import SecondPerson
from recorder.disk.durable import make_folder, read_json, write_json
from recorder.disk.locks import exclusive
from recorder.faults import BadInput, EvidenceFault
from recorder.session.record import Session
from recorder.verify.session import verify_session
from tests.agent.room import PERSON, Room, config_text
from wording import Exit, Fault
from wording.refusals import Refused

AGREES = "询问时间：2026年11月21日09时30分至09时31分\n"
DIFFERS = "询问时间：2026年11月21日08时30分至09时31分\n"


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path / "数据", tmp_path / "run")


def attach(room: Room, keeper: SessionKeeper, session: Session, text: str, name: str = "笔录.txt") -> Session:
    folder = room.places.session(session.id)
    judged = transcripts.judge(catalogue.read_session(folder), name, text.encode(), 60, asked=PERSON)
    facts = {"file": transcripts.store(folder, judged), **judged.facts}
    return keeper.change(folder, lambda s: s.with_transcript(facts), "transcript", **facts)


def accept(
    room: Room,
    keeper: SessionKeeper,
    session: Session,
    by: str,
    reason: str = "书写不同",
    *,
    asked: Person = PERSON,
    mode: SecondPerson = "name",
) -> Session:
    folder = room.places.session(session.id)
    facts = transcripts.excepted(catalogue.read_session(folder), by, reason, asked, mode)
    return keeper.change(folder, lambda s: s.with_transcript(facts), "exception", **dict(facts["exception"]))


def result(room: Room, job: str, session: Session, verified: int, **more: Any) -> None:
    """What the worker leaves for a finished job."""
    discs = [{"device": "/dev/sr0", "image": "/dev/sr0", "verified": verified > 0, "sha256": "ab", "fault": None}]
    known = {
        "job": job,
        "session": session.id,
        "copies": 2,
        "verified": verified,
        "image_sha256": "ab",
        "discs": discs,
        "fault": None,
    }
    write_json(make_folder(room.places.burn / "jobs") / f"{job}.json", {**known, **more})


# -- transcripts --


def test_the_newest_transcript_counts_and_all_are_kept(room: Room) -> None:
    keeper, session = room.sealed()
    assert attach(room, keeper, session, DIFFERS).state == "sealed"
    assert attach(room, keeper, session, AGREES).state == "matched"
    changed = attach(room, keeper, session, DIFFERS)
    assert changed.state == "sealed" and changed.transcript is not None
    assert changed.transcript["verdict"] == "mismatch" and changed.transcript["file"] == "transcript/笔录.txt"
    folder = room.places.session(session.id)
    assert {p.name: p.read_text() for p in (folder / "transcript").iterdir()} == {"笔录.txt": DIFFERS, "笔录-2.txt": AGREES}
    assert room.stored(session) == changed == keeper.current
    assert [line["verdict"] for line in room.lines(session, "transcript")] == ["mismatch", "match", "mismatch"]
    assert verify_session(folder).ok


@pytest.mark.parametrize("name", ["../../etc/passwd", "C:\\案卷\\笔录.txt", "/abs/笔录.txt"])
def test_only_the_file_s_name_is_kept(room: Room, name: str) -> None:
    keeper, session = room.sealed()
    changed = attach(room, keeper, session, AGREES, name)
    assert changed.transcript is not None
    assert changed.transcript["file"] in ("transcript/passwd", "transcript/笔录.txt")


@pytest.mark.parametrize("name", ["", ".", "..", "/", ".hidden", "a\nb.txt", "长" * 61 + ".txt"])
def test_names_that_cannot_be_kept(room: Room, name: str) -> None:
    keeper, session = room.sealed()
    with pytest.raises(BadInput, match="file name"):
        attach(room, keeper, session, AGREES, name)


def test_a_defect_amid_attaching_is_answered_and_raised(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, session = room.sealed()
    config = parse(config_text(room.root, room.run))
    discs, views = Discs(room.places, keeper, (), 2), ViewBuilder(config, now=lambda: room.now_ns)
    steps: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    handlers = Handlers(
        config,
        keeper,
        discs,
        Gate(room.root / "acts.jsonl"),
        look=lambda: views.look(keeper.current, 0, 0, None),
        later=steps.put,
        feed=lambda: None,
    )

    class Sent(SentFile):
        def read(self, most: int) -> bytes:
            return AGREES.encode()

    request = Request("transcript.attach", {"session": session.id, "name": "笔录.txt"}, file=Sent())

    def broken(*_: object) -> str:
        raise LookupError("no more letters")

    monkeypatch.setattr(transcripts, "store", broken)
    handlers.handle(request)
    with pytest.raises(LookupError):
        steps.get(timeout=5.0)()
    answer = request.wait(0.0)
    assert not answer["ok"] and answer["fault"]["values"]["why"] == "LookupError: no more letters"


def test_no_transcript_before_the_seal_and_none_after_the_discs(room: Room) -> None:
    keeper, session = room.started()
    with pytest.raises(Fault, match="not sealed yet") as raised:
        attach(room, keeper, session, AGREES)
    assert raised.value.exit_code == Exit.REFUSED


@pytest.mark.parametrize("by", ["张三", " 李 四 ", "赵六", "ＡＢＣ"])
def test_an_exception_needs_a_second_person(room: Room, by: str) -> None:
    keeper, session = room.sealed()
    attach(room, keeper, session, DIFFERS)
    if by == "ＡＢＣ":
        changed = accept(room, keeper, session, by)
        assert changed.state == "matched" and changed.transcript is not None
        assert changed.transcript["exception"]["by"] == by and changed.transcript["exception"]["verdict"] == "mismatch"
        with pytest.raises(Refused, match="nothing to accept"):
            accept(room, keeper, session, by)
    else:
        with pytest.raises(Refused, match="took part in the interview"):
            accept(room, keeper, session, by)
        assert room.stored(session).state == "sealed"


def test_an_exception_needs_a_reason_and_a_transcript(room: Room) -> None:
    keeper, session = room.sealed()
    with pytest.raises(Refused) as refused:
        accept(room, keeper, session, "孙七", " ")
    assert [r.exit_code for r in refused.value.reasons] == [Exit.INPUT, Exit.REFUSED]


OTHER = Person(1001, "sun")


@pytest.mark.parametrize(
    ("asked", "same"),
    [
        (PERSON, True),
        (Person(PERSON.uid, "sun"), True),
        (Person(1001, PERSON.login), True),
        (OTHER, False),
        (Person(1001, ""), False),
    ],
)
def test_an_exception_that_the_same_login_typed_is_called_so_or_refused(room: Room, asked: Person, same: bool) -> None:
    keeper, session = room.sealed()
    attach(room, keeper, session, DIFFERS)
    if same:
        with pytest.raises(
            Refused, match="cannot accept the exception: it started the session, stopped it, attached the tr"
        ) as no:
            accept(room, keeper, session, "孙七", asked=asked, mode="login")
        assert no.value.exit_code == Exit.REFUSED and "log in" in str(no.value) and room.lines(session, "exception") == []
    folder = room.places.session(session.id)
    stored = accept(room, keeper, session, "孙七", asked=asked, mode="name" if same else "login")
    assert stored.state == "matched" and stored.transcript is not None
    [line] = room.lines(session, "exception")
    assert line["asked"] == asked.as_json() == stored.transcript["exception"]["asked"]
    assert line["remark"] == stored.transcript["exception"]["remark"]
    report = verify_session(folder)
    assert report.ok
    [*told] = [finding for finding in report.findings if finding.code == "exception-typed-by-same-login"]
    if not same:
        assert line["remark"] is None and told == []
        return
    acts: list[dict[str, Any]] = [{"code": code, "values": {}} for code in ("role-started", "role-stopped", "role-attached")]
    assert line["remark"] == {
        "code": "exception-typed-by-same-login",
        "values": {"login": asked.login or "-", "uid": asked.uid, "acts": acts},
    }
    [said] = told
    assert said.note and "also started the session, stopped it, attached the transcript" in said.say("en")


def test_the_remark_needs_no_word_of_the_journal(room: Room) -> None:
    """Whoever asked is in the record: an exception whose line says nothing of it is told all the same."""
    keeper, session = room.sealed()
    attach(room, keeper, session, DIFFERS)
    folder = room.places.session(session.id)
    facts = transcripts.excepted(catalogue.read_session(folder), "孙七", "x", PERSON)
    exception = {key: value for key, value in facts["exception"].items() if key != "remark"}
    silent = {**facts, "exception": exception}
    keeper.change(folder, lambda s: s.with_transcript(silent), "exception", **exception)
    report = verify_session(folder)
    assert report.ok and "exception-typed-by-same-login" in [f.code for f in report.findings if f.note], report.findings


# -- discs --


def discs_of(room: Room, keeper: SessionKeeper) -> Discs:
    return Discs(room.places, keeper, ("/dev/sr0", "/dev/sr1"), 2, now=lambda: room.now_ns)


def ask(discs: Discs, session: Session, *drives: str) -> dict[str, Any]:
    """Orders the discs, as the command does."""
    order = discs.want(session, drives)
    discs.ask(order)
    return order


def test_discs_are_wanted_only_for_a_matched_session(room: Room) -> None:
    keeper, session = room.sealed()
    discs = discs_of(room, keeper)
    with pytest.raises(Fault, match="has no transcript"):
        discs.want(room.stored(session), ())
    attach(room, keeper, session, DIFFERS)
    with pytest.raises(Fault, match="do not agree"):
        discs.want(room.stored(session), ())
    attach(room, keeper, session, AGREES)
    order = ask(discs, room.stored(session))
    written = json.loads((room.places.burn / "wanted.json").read_text())
    asked = {"job": f"{session.id}-001", "session": session.id, "drives": ["/dev/sr0", "/dev/sr1"], "copies": 2, "extra": False}
    assert written == asked and order == {**asked, "finished": False}
    with pytest.raises(Fault, match="is not finished"):
        discs.want(room.stored(session), ("/dev/sr1",))
    with pytest.raises(Fault, match="are being burned"):
        discs.check_idle(session)


def test_results_are_taken_up_once_and_in_order(room: Room) -> None:
    keeper, session = room.sealed()
    attach(room, keeper, session, AGREES)
    discs = discs_of(room, keeper)
    ask(discs, room.stored(session))
    discs.tick()
    result(room, f"{session.id}-001", session, 1)
    discs.tick()
    discs.tick()
    stored = room.stored(session)
    assert stored.state == "matched" and stored.disc is not None and stored.disc["verified"] == 1
    assert ask(discs, stored, "/dev/sr1")["job"] == f"{session.id}-002"
    result(room, f"{session.id}-002", session, 2)
    again = discs_of(room, keeper)  # after a restart of the agent
    again.tick()
    assert room.stored(session).state == "on-disc" and keeper.current == room.stored(session)
    assert [line["job"] for line in room.lines(session, "burned")] == [f"{session.id}-001", f"{session.id}-002"]
    finished = again.want(room.stored(session), ())
    assert finished == {"finished": True, "session": session.id, "copies": 2, "verified": 2, "label": finished["label"]}
    assert again.want(room.stored(session), (), extra=True)["job"] == f"{session.id}-003"
    with pytest.raises(Fault, match="on its discs already"):
        attach(room, keeper, session, AGREES)


@pytest.mark.parametrize("content", ["{torn", "[]", "{}", '{"session": "20200101T000000-gone"}', '{"session": 5}'])
def test_a_result_that_cannot_be_used_stops_nothing(room: Room, content: str) -> None:
    keeper, session = room.sealed()
    attach(room, keeper, session, AGREES)
    discs = discs_of(room, keeper)
    (make_folder(room.places.burn / "jobs") / "20200101T000000-gone-001.json").write_text(content)
    result(room, f"{session.id}-001", session, 2)
    discs.tick()
    assert room.stored(session).state == "on-disc"


def test_a_result_that_was_not_taken_up_keeps_the_transcript_as_it_is(room: Room) -> None:
    """The discs are made: another transcript now, and the session would be on discs that hold the old one."""
    keeper, session = room.sealed()
    attach(room, keeper, session, AGREES)
    discs = discs_of(room, keeper)
    ask(discs, room.stored(session))
    result(room, f"{session.id}-001", session, 1, content_sha256="cd")
    with pytest.raises(Fault, match="are being burned"):
        discs.check_idle(session)
    discs.tick()
    discs.check_idle(session)
    disc = room.stored(session).disc
    assert disc is not None and disc["content_sha256"] == "cd"


def test_a_key_that_cannot_be_used_costs_no_lines_and_no_hurry(room: Room) -> None:
    """A result that cannot be signed is taken up again after 10 s, not with each tick."""
    keeper, session = room.sealed()
    attach(room, keeper, session, AGREES)
    discs = discs_of(room, keeper)
    result(room, f"{session.id}-001", session, 2)
    key = room.places.keys / "device.pem"
    key.rename(key.with_name("away"))
    for _ in range(2):
        with pytest.raises(EvidenceFault, match="is missing"):
            discs.tick()
        for _ in range(9):
            room.pass_s(1)
            discs.tick()
        room.pass_s(1)
    assert room.lines(session, "burned") == []
    key.with_name("away").rename(key)
    discs.tick()
    assert len(room.lines(session, "burned")) == 1 and room.stored(session).state == "on-disc"
    result(room, f"{session.id}-002", session, 2)
    discs.tick()
    assert len(room.lines(session, "burned")) == 2
    assert verify_session(room.places.session(session.id)).ok


def test_a_session_that_cannot_take_its_discs_holds_no_other_up(room: Room) -> None:
    keeper, session = room.sealed()
    attach(room, keeper, session, AGREES)
    older = "20200101T000000-older"
    copy = Path(shutil.copytree(room.places.session(session.id), room.places.session(older)))
    (copy / "session.json").write_text((copy / "session.json").read_text().replace(session.id, older))
    (copy / "journal.jsonl").write_text("no journal\n")
    discs = discs_of(room, keeper)
    for number in (1, 2):
        result(room, f"{older}-00{number}", catalogue.read_session(copy), 2)
        result(room, f"{session.id}-00{number}", session, number)
    with pytest.raises(EvidenceFault, match="journal"):
        discs.tick()
    assert [line["job"] for line in room.lines(session, "burned")] == [f"{session.id}-001", f"{session.id}-002"]
    room.pass_s(10)
    with pytest.raises(EvidenceFault, match="journal"):
        discs.tick()
    assert room.stored(session).state == "on-disc" and catalogue.read_session(copy).disc is None


def test_a_session_that_is_not_sealed_has_one_writer(room: Room) -> None:
    """Invariant 2: its journal belongs to the keeper, whatever command names it."""
    keeper, session = room.started()
    folder = room.places.session(session.id)
    with pytest.raises(Fault, match="not sealed yet"):
        keeper.change(folder, lambda s: s, "authored", image="/x.iso")
    room.pass_s(61)
    keeper.tick(room.alive(), 1 << 50)
    assert [line["kind"] for line in room.lines(session)] == ["started", "tie", "tie", "anchor"]


# -- an order that is taken back --


@pytest.mark.parametrize("names", [("/dev/sr2",), ("/dev/null",), ("stdio:/x",), ("/dev/sr0",) * 5])
def test_only_drives_of_the_configuration_are_ordered(room: Room, names: tuple[str, ...]) -> None:
    keeper, session = room.sealed()
    attach(room, keeper, session, AGREES)
    with pytest.raises(BadInput, match=r"burner\.drives: /dev/sr0, /dev/sr1"):
        discs_of(room, keeper).want(room.stored(session), names)
    order = discs_of(room, keeper).want(room.stored(session), ("/dev/sr1",) * 4)
    assert order["drives"] == ["/dev/sr1"]
    with pytest.raises(Fault, match="This room has no drive"):
        Discs(room.places, keeper, (), 2).want(room.stored(session), ())


def test_a_job_that_waits_without_a_worker_ends_at_once_and_the_session_is_as_it_was(room: Room) -> None:
    keeper, session = room.sealed()
    attach(room, keeper, session, AGREES)
    discs = discs_of(room, keeper)
    with pytest.raises(Fault, match="No discs of session"):
        discs.under_way(room.stored(session))
    job = ask(discs, room.stored(session))["job"]
    result(room, job, session, 1, content_sha256="cd")
    discs.tick()
    second = ask(discs, room.stored(session))["job"]
    assert discs.under_way(room.stored(session)) == second
    discs.cancel(second)
    made = read_json(room.places.burn / "jobs" / f"{second}.json")
    assert made["ok"] is False and (made["verified"], made["discs"], made["content_sha256"]) == (1, [], "cd")
    assert Fault.from_dict(made["fault"]).say("zh") == f"刻录任务 {second} 已取消。"  # type: ignore[arg-type]
    discs.tick()
    stored = room.stored(session)
    assert stored.state == "matched" and stored.disc is not None and stored.disc["verified"] == 1
    discs.check_idle(stored)
    assert ask(discs, stored)["job"].endswith("-003")
    assert verify_session(room.places.session(session.id)).ok


def test_a_worker_that_runs_is_told_by_the_order_and_says_the_result_itself(room: Room) -> None:
    keeper, session = room.sealed()
    attach(room, keeper, session, AGREES)
    discs = discs_of(room, keeper)
    job = ask(discs, room.stored(session))["job"]
    with exclusive(room.places.lock("burner"), "burner"):
        discs.cancel(job)
    assert read_json(room.places.burn / "wanted.json")["cancelled"] is True
    assert not (room.places.burn / "jobs").exists()
    with pytest.raises(Fault, match="are being burned"):
        discs.check_idle(session)
