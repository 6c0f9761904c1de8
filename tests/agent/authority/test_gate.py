"""The one gate: who may ask for which act, that nothing goes round it, and what is written down of an act that was done."""

import ast
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.authority.gate import ACTS, Gate
from agent.authority.person import Person
from agent.console.handlers import Handlers
from agent.console.request import Request
from agent.console.sent_file import NO_FILE, SentFile
from agent.health.look import ViewBuilder
from agent.session.discs import Discs
from agent.session.keeper import SessionKeeper
from recorder.disk import journal
from recorder.disk.durable import read_json
from recorder.session.record import Session
from tests.agent.room import CASE, Room
from wording import Exit, Fault

AGENT = Path(__file__).parents[3] / "agent"
SERVICE_UID = 4242  # of the agent, in these tests
ROOT, SERVICE, MEMBER = Person(0, "root"), Person(SERVICE_UID, "room-agent"), Person(1000, "li")
COMMAND = re.compile(r"[a-z]+\.[a-z]+")
READING = {"session.status"}  # changes nothing
START = {
    "case": CASE.number,
    "cause": CASE.cause,
    "handlers": list(CASE.handlers),
    "interviewee": CASE.interviewee,
    "planned_minutes": 1,
    "override_by": "甲",
    "override_reason": "测试",
}


class Denying(Gate):
    """Notes what it is asked, and lets nothing pass."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, own_uid=SERVICE_UID)
        self.asked: list[str] = []

    def check(self, act: str, person: Person) -> None:
        self.asked.append(act)
        raise Fault("act-not-allowed", "run-as-service-user", exit_code=Exit.REFUSED, act=act, uid=person.uid)


@dataclass
class Sent(SentFile):
    """A file that came with a command, as ``agent.console.sent_file`` gives it."""

    content: bytes

    def read(self, most: int) -> bytes:
        return self.content

    def size(self) -> int:
        return len(self.content)


@dataclass
class Console:
    """The agent's commands over real folders; each is sent as the person who is named."""

    room: Room
    gate: Gate
    keeper: SessionKeeper = field(init=False)
    handlers: Handlers = field(init=False)

    def __post_init__(self) -> None:
        room = self.room
        self.keeper = room.keeper()
        self.keeper.resume()
        discs = Discs(room.places, self.keeper, ("stdio:/nowhere/1.img",), 2)
        views = ViewBuilder(room.config, now=lambda: room.now_ns)
        self.handlers = Handlers(
            room.config,
            self.keeper,
            discs,
            self.gate,
            look=lambda: views.look(self.keeper.current, self.keeper.room_ns(), self.keeper.utc_ns(), None),
            later=lambda function: function(),
            feed=lambda: None,
        )

    def send(
        self, command: str, person: Person, arguments: Mapping[str, Any] | None = None, file: SentFile = NO_FILE
    ) -> dict[str, Any]:
        """The line that the console would send back. file: what the client sends along."""
        request = Request(command, arguments or {}, person, file=file)
        self.handlers.handle(request)
        return request.wait(10)

    def do(self, command: str, person: Person, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The answer of a command that must succeed."""
        line = self.send(command, person, arguments)
        assert line["ok"], line
        answer: dict[str, Any] = line["answer"]
        return answer

    def acts(self) -> list[dict[str, Any]]:
        """The journal of acts, its chain checked."""
        return [dict(entry) for entry in journal.read(self.room.places.acts)]


@pytest.fixture
def room(tmp_path: Path) -> Room:
    room = Room(tmp_path / "data", tmp_path / "run")
    room.tracks()
    return room


@pytest.fixture
def console(room: Room) -> Iterator[Console]:
    console = Console(room, Gate(room.places.acts, own_uid=SERVICE_UID))
    yield console
    console.keeper.close()
    console.gate.close()


def report(room: Room) -> dict[str, Any]:
    """A self-check's report, as the command sends it."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "schema": "interview-room-selfcheck/1",
        "at": at,
        "passed": True,
        "failed_checks": [],
        "room": {"id": room.config.room.id},
    }


def tree(folder: Path) -> dict[str, str]:
    """Every file below the folder with its digest."""
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def commands() -> set[str]:
    """Every command that the code of the agent's console, or of its command line, names."""
    found: set[str] = set()
    for path in (AGENT / "console" / "handlers.py", AGENT / "console" / "client.py", *sorted((AGENT / "commands").glob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Dict):
                found |= {key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("ask", "_ask")
                and node.args
            ):
                found |= {arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)}
            if isinstance(node, ast.Compare):
                found |= {c.value for c in node.comparators if isinstance(c, ast.Constant) and isinstance(c.value, str)}
    return {name for name in found if COMMAND.fullmatch(name)}


# --- who may what ---


ALLOWED = [(act, person, ACTS[act] == "group" or person is not MEMBER) for act in ACTS for person in (ROOT, SERVICE, MEMBER)]


@pytest.mark.parametrize(("act", "person", "may"), ALLOWED, ids=[f"{act}-{person.login}" for act, person, _ in ALLOWED])
def test_each_act_is_allowed_or_refused_as_the_table_says(act: str, person: Person, may: bool, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "acts.jsonl", own_uid=SERVICE_UID)
    if may:
        gate.check(act, person)
        return
    with pytest.raises(Fault) as refused:
        gate.check(act, person)
    assert (refused.value.code, refused.value.exit_code) == ("act-not-allowed", Exit.REFUSED)
    for language in ("en", "zh"):
        said = refused.value.say(language) + refused.value.say_mend(language)
        assert str(person.uid) in said and act in said and "sudo -u room-agent" in said  # who asked, for what, and who may


def test_the_acts_of_the_service_are_those_that_go_behind_the_room() -> None:
    """The members of the group lead interviews; what a session starts on, and what lies beside it, is the service's."""
    assert {act for act, who in ACTS.items() if who == "service"} == {
        "session.complete",
        "disc.author",
        "selfcheck.store",
        "calibration.store",
    }


def test_the_agents_own_user_is_the_service_where_nothing_else_is_said(tmp_path: Path) -> None:
    Gate(tmp_path / "acts.jsonl").check("disc.author", Person(os.getuid()))


def test_an_act_that_is_in_no_table_is_never_allowed(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        Gate(tmp_path / "acts.jsonl").check("session.remove", ROOT)


# --- nothing goes round the gate ---


def test_the_commands_are_found() -> None:
    assert {"session.start", "session.status", "transcript.attach", "disc.authored", "calibration.store"} <= commands()
    assert len(commands()) >= 12


def test_every_command_but_the_reading_ones_asks_the_gate_first(room: Room, tmp_path: Path) -> None:
    """The gate lets nothing pass: each command is refused by it, before its arguments are looked at, and nothing is written."""
    gate = Denying(tmp_path / "acts.jsonl")
    console = Console(room, gate)
    before = tree(room.root)
    for command in sorted(commands() - READING):
        gate.asked.clear()
        answer = console.send(command, ROOT)
        assert answer["ok"] is False and answer["fault"]["code"] == "act-not-allowed", (command, answer)
        assert len(gate.asked) == 1 and gate.asked[0] in ACTS, command
    gate.asked.clear()
    console.do("session.status", MEMBER)
    assert gate.asked == []
    assert tree(room.root) == before and not (tmp_path / "acts.jsonl").exists()


def test_every_act_of_the_table_is_asked_for_by_some_command(room: Room, tmp_path: Path) -> None:
    gate = Denying(tmp_path / "acts.jsonl")
    console = Console(room, gate)
    for command in sorted(commands()):
        console.send(command, ROOT)
    inside = set(ACTS) - set(gate.asked)
    assert inside == {"session.override", "disc.extra"}  # asked for inside session.start and disc.burn: see below


@pytest.mark.parametrize("command", sorted(act for act, who in ACTS.items() if who == "service"))
def test_a_refused_act_writes_nothing_and_says_who_may(command: str, console: Console, room: Room) -> None:
    of_command: dict[str, dict[str, Any]] = {
        "session.complete": {"session": "x", "by": "甲"},
        "disc.author": {"session": "x"},
        "selfcheck.store": {"report": report(room)},
        "calibration.store": {"cameras": {"overview": CALIBRATION}},
    }
    before = tree(room.root)
    answer = console.send(command, MEMBER, of_command[command])
    assert answer["ok"] is False
    fault = Fault.from_dict(answer["fault"])
    assert (fault.code, fault.exit_code) == ("act-not-allowed", Exit.REFUSED)
    assert "room-agent" in fault.say_mend("en") and "room-agent" in fault.say_mend("zh") and "1000" in fault.say("zh")
    assert tree(room.root) == before and console.acts() == []


def test_a_start_with_an_override_asks_for_both(room: Room, tmp_path: Path) -> None:
    class Noting(Gate):
        asked: tuple[str, ...] = ()

        def check(self, act: str, person: Person) -> None:
            self.asked += (act,)
            super().check(act, person)

    gate = Noting(tmp_path / "acts.jsonl", own_uid=SERVICE_UID)
    console = Console(room, gate)
    console.do("session.start", MEMBER, START)
    assert gate.asked == ("session.start", "session.override")
    console.keeper.close()
    gate.close()


# --- what stays of an act ---


CALIBRATION = {
    "latency_ms": 120.0,
    "spread_ms": 4.0,
    "claps": 5,
    "kind": "clap",
    "microphone_ms": 0.0,
    "at": "2026-11-21T01:20:00.000Z",
    "by": "技术员",
    "version": "1",
    "device": {"manufacturer": "ACME", "model": "C", "serial": "1"},
}


def last(console: Console) -> dict[str, Any]:
    """The newest line of the journal of acts, without what the chain adds."""
    return {key: value for key, value in console.acts()[-1].items() if key in ("kind", "act", "uid", "login", "session")}


def as_act(act: str, person: Person, session: str | None = None) -> dict[str, Any]:
    return {"kind": "act", "act": act, "uid": person.uid, "login": person.login, "session": session}


def ended(console: Console) -> Session:
    """A session that MEMBER started and ended, sealed."""
    room = console.room
    started = console.do("session.start", MEMBER, START)["session"]
    room.pass_s(59.5)
    room.tracks()
    console.do("session.stop", MEMBER, {"by": "赵六", "reason": "询问结束"})
    room.pass_s(1)
    current = console.keeper.current
    assert current is not None and current.id == started
    room.finished(current)
    room.until(console.keeper, lambda: console.keeper.active is None)
    return room.stored(current)


def test_start_and_stop_stand_in_the_acts_and_in_the_sessions_own_records(console: Console, room: Room) -> None:
    session = ended(console)
    assert [{k: a[k] for k in ("act", "uid", "login", "session")} for a in console.acts()] == [
        {"act": act, "uid": 1000, "login": "li", "session": session.id} for act in ("session.override", "session.stop")
    ]
    assert session.asked == {"uid": 1000, "login": "li"}
    assert session.stop is not None and session.stop["asked"] == {"uid": 1000, "login": "li"}
    [started] = room.lines(session, "started")
    [stopping] = room.lines(session, "stopping")
    assert started["asked"] == {"uid": 1000, "login": "li"} == stopping["asked"]
    manifest = read_json(room.places.session(session.id) / "manifest.json")
    assert manifest["asked"] == {"uid": 1000, "login": "li"}  # the seal covers it


def attach(console: Console, session: Session, person: Person, text: str) -> dict[str, Any]:
    """The transcript is judged in a thread of its own, which answers the request."""
    return console.send("transcript.attach", person, {"session": session.id, "name": "笔录.txt"}, Sent(text.encode()))


def test_transcript_and_exception_stand_in_both_with_who_asked(console: Console, room: Room) -> None:
    session = ended(console)
    answer = attach(console, session, SERVICE, "询问时间：2020年01月01日09时30分至10时45分\n")
    assert answer["ok"] and last(console) == as_act("transcript.attach", SERVICE, session.id)
    [line] = room.lines(session, "transcript")
    assert line["asked"] == SERVICE.as_json()
    console.do("transcript.accept", MEMBER, {"session": session.id, "by": "孙七", "reason": "表述不同"})
    assert last(console) == as_act("transcript.accept", MEMBER, session.id)
    [line] = room.lines(session, "exception")
    assert (line["by"], line["asked"]) == ("孙七", MEMBER.as_json())


def test_discs_images_and_later_composing_stand_in_both(console: Console, room: Room) -> None:
    session = ended(console)
    attach(console, session, MEMBER, "询问时间：2020年01月01日09时30分至10时45分\n")
    console.do("transcript.accept", MEMBER, {"session": session.id, "by": "孙七", "reason": "表述不同"})
    ticket = console.do("disc.author", SERVICE, {"session": session.id})["ticket"]
    assert last(console) == as_act("transcript.accept", MEMBER, session.id), "no image is made yet"
    image = {"session": session.id, "image": "/x.iso", "sha256": "0" * 64, "bytes": 5, "ticket": ticket}
    assert console.send("disc.authored", SERVICE, image, Sent(b"12345"))["ok"]
    assert last(console) == as_act("disc.author", SERVICE, session.id)
    [line] = room.lines(session, "authored")
    assert (line["image"], line["bytes"], line["asked"]) == ("/x.iso", 5, SERVICE.as_json())
    console.do("session.complete", ROOT, {"session": session.id, "by": "技术员"})
    assert last(console) == as_act("session.complete", ROOT, session.id)
    job = console.do("disc.burn", MEMBER, {"session": session.id, "drives": []})["job"]
    assert last(console) == as_act("disc.burn", MEMBER, session.id)
    console.do("disc.cancel", ROOT, {"session": session.id, "by": "赵六", "reason": "光盘用错"})
    assert last(console) == as_act("disc.cancel", ROOT, session.id)
    complete, burn, cancel = room.lines(session, "act")
    assert (complete["act"], complete["by"], complete["asked"]) == ("session.complete", "技术员", ROOT.as_json())
    assert (burn["act"], burn["copies"], burn["asked"]) == ("disc.burn", 2, MEMBER.as_json())
    assert (cancel["act"], cancel["job"], cancel["by"], cancel["asked"]) == ("disc.cancel", job, "赵六", ROOT.as_json())


def test_an_image_is_noted_by_whoever_was_given_the_ticket_and_as_it_can_be(console: Console, room: Room) -> None:
    """Everything else leaves the session's journal as it was, byte for byte."""
    session = ended(console)
    journal_file = room.places.session(session.id) / "journal.jsonl"
    before = journal_file.read_bytes()
    ticket = console.do("disc.author", SERVICE, {"session": session.id})["ticket"]
    good: dict[str, Any] = {"session": session.id, "image": "/x.iso", "sha256": "0" * 64, "bytes": 5, "ticket": ticket}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"image": "x" * 20_000_000}, "argument-type-wrong"),
        ({"image": "x" * 5000}, "image-description-unusable"),
        ({"image": "录" * 1366}, "image-description-unusable"),
        ({"image": ""}, "image-description-unusable"),
        ({"sha256": "not a digest"}, "image-description-unusable"),
        ({"sha256": "A" * 64}, "image-description-unusable"),
        ({"bytes": -5}, "image-description-unusable"),
        ({"bytes": 1 << 60}, "image-description-unusable"),
        ({"bytes": 6}, "image-file-has-other-size"),
        ({"ticket": ""}, "image-not-asked-for"),
        ({"ticket": "0" * 64}, "image-not-asked-for"),
        ({"ticket": "票"}, "image-not-asked-for"),
    ]
    for change, code in wrong:
        answer = console.send("disc.authored", SERVICE, {**good, **change}, Sent(b"12345"))
        assert answer["fault"]["code"] == code, change
    assert console.send("disc.authored", SERVICE, good)["fault"]["code"] == "sent-file-missing"
    assert console.send("disc.authored", ROOT, good, Sent(b"12345"))["fault"]["code"] == "image-not-asked-for"
    assert console.send("disc.authored", MEMBER, good, Sent(b"12345"))["fault"]["code"] == "act-not-allowed"
    assert journal_file.read_bytes() == before
    assert console.send("disc.authored", SERVICE, good, Sent(b"12345"))["ok"]
    after = journal_file.read_bytes()
    assert console.send("disc.authored", SERVICE, good, Sent(b"12345"))["fault"]["code"] == "image-not-asked-for", "once"
    assert journal_file.read_bytes() == after != before


def test_what_belongs_to_no_session_stands_in_the_acts(console: Console, room: Room) -> None:
    console.do("selfcheck.store", SERVICE, {"report": report(room)})
    assert last(console) == as_act("selfcheck.store", SERVICE)
    assert read_json(room.places.selfcheck / "latest.json")["passed"] is True
    console.do("calibration.store", ROOT, {"cameras": {"overview": CALIBRATION}})
    assert last(console) == as_act("calibration.store", ROOT)
    assert json.loads(room.places.calibration.read_text(encoding="utf-8"))["cameras"]["overview"]["by"] == "技术员"


def test_a_command_that_failed_is_no_act(console: Console) -> None:
    assert console.send("session.stop", MEMBER, {"by": "赵六", "reason": "x"})["ok"] is False  # no session runs
    assert console.acts() == []


def test_no_name_and_no_reason_stands_in_the_journal_of_acts(console: Console, room: Room) -> None:
    """They stand in the session's own records, which are struck from feed and logs."""
    ended(console)
    text = room.places.acts.read_text(encoding="utf-8")
    assert json.loads(text.splitlines()[0])["uid"] == 1000
    for private in ("赵六", "询问结束", "张三", CASE.number, "甲"):
        assert private not in text


def test_a_disk_that_refuses_the_journal_keeps_no_act_from_being_done(tmp_path: Path) -> None:
    """What could not be written is written later, in order."""
    path = tmp_path / "missing" / "acts.jsonl"
    gate = Gate(path, own_uid=SERVICE_UID)
    gate.done("session.start", MEMBER, session="a")
    gate.done("session.stop", ROOT, session="a")
    assert not path.exists()
    path.parent.mkdir()
    gate.flush()
    gate.flush()
    assert [(e["act"], e["uid"]) for e in journal.read(path)] == [("session.start", 1000), ("session.stop", 0)]
    gate.close()
    again = Gate(path, own_uid=SERVICE_UID)
    again.done("disc.burn", MEMBER, session="a")
    assert [e["seq"] for e in journal.read(path)] == [0, 1, 2]
    again.close()
