"""Readers of files that another process, another version or another hand wrote, and of what a person types or attaches."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from zoneinfo import ZoneInfo

from agent.authority.gate import Gate
from agent.authority.person import Person
from agent.commands.context import light_settings
from agent.commands.gaps import with_gaps
from agent.config.model import parse
from agent.config.problems import ConfigFault
from agent.console.server import ConsoleServer
from agent.selfcheck.result import load_latest
from agent.session.catalogue import read_session
from burner.work.jobs import Job, JobStore
from recorder.capture import latency
from recorder.disk import journal
from recorder.disk.journal import Journal
from recorder.evidence.signature import read_public_key
from recorder.process import local_socket
from recorder.process.status import ComposerStatus, TrackStatus, read_status
from recorder.process.wanted import Wanted
from recorder.session.epoch import Epoch, read_tie
from recorder.session.files import ahead_ns, stored_until_ns
from recorder.session.record import private_texts, sealed_without
from recorder.transcript.comparing import compare
from recorder.transcript.document import read_transcript, times_of
from tests.agent.authority.test_gate import Console
from tests.agent.room import CASE, PERSON, Room
from tests.fuzz.target import LANGUAGES, Target, folder_alone, plain
from wording.fault import Fault
from wording.refusals import fault_from
from wording.sentence import Sentence

MADE = Path(__file__).parents[1] / "recorder" / "verify" / "version_0_1_0"
SAMPLE = Path(__file__).parents[2] / "config.example.toml"
ZONE = ZoneInfo("Asia/Shanghai")
START_NS = 1_795_224_605_280_000_000  # 2026-11-21T09:30:05.280+08:00


def _of(pattern: str) -> list[bytes]:
    """Files of the session that version 0.1.0 recorded."""
    return [path.read_bytes() for path in sorted(MADE.glob(f"*/{pattern}"))]


def _put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def chained(data: bytes) -> bytes:
    """Lines of JSON as a journal whose chain holds; what is none is left out."""
    lines: list[bytes] = []
    for line in data.split(b"\n"):
        with suppress(ValueError, RecursionError):
            if isinstance(entry := json.loads(line), dict):
                prev = sha256(lines[-1]).hexdigest() if lines else journal.ZERO
                told = {**entry, "seq": len(lines), "prev": prev}
                lines.append(json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass"))
    return b"".join(line + b"\n" for line in lines)


# of the recording processes


def wanted(data: bytes, folder: Path) -> None:
    found = Wanted.read(_put(folder / "wanted.json", data))
    assert found.session is None or isinstance(found.session, str)
    assert isinstance(found.start_ns, int) and isinstance(found.composite, bool)


def status(data: bytes, folder: Path) -> None:
    """A hint, never a reason to stop."""
    found = read_status(_put(folder / "overview.json", data))
    assert found is None or isinstance(found.at_ns, int)
    if isinstance(found, TrackStatus):
        assert found.slow_ns >= 0


def status_seeds() -> list[bytes]:
    about = {"pid": 1, "boot_id": "b", "version": "0.1.0", "at_ns": 5, "state": "recording", "session": "s"}
    track = TrackStatus(name="overview", fps=1.0, **about)  # type: ignore[arg-type]
    composer = ComposerStatus(name="composer", lost=["closeup"], damaged={"overview": 1}, **about)  # type: ignore[arg-type]
    return [json.dumps({"kind": each.KIND, **asdict(each)}).encode() for each in (track, composer)]


def tie(data: bytes, folder: Path) -> None:
    found = Epoch(read_tie(_put(folder / "epoch.json", data)))
    assert isinstance(found.room_ns(1), int) and isinstance(found.boottime_ns(1), int)


def session(data: bytes, folder: Path) -> None:
    _put(folder / "s" / "session.json", data)
    found = read_session(folder / "s")
    assert isinstance(found.left_tracks, frozenset)
    found.wanted(Wanted())
    record = found.as_dict()
    assert all(isinstance(text, str) for text in private_texts(record))
    for told in sealed_without(record):
        for language in LANGUAGES:
            plain(told.say(language))


def chain(data: bytes, folder: Path) -> None:
    """Read, opened for writing, and gone on with; or a fault."""
    path = _put(folder / "journal.jsonl", data)
    entries = list(journal.read(path))
    writer = Journal(path, wall=lambda: "")
    writer.append("x")
    writer.close()
    assert len(list(journal.read(path))) >= len(entries) + 1


def chain_of_anything(data: bytes, folder: Path) -> None:
    chain(chained(data), folder)


def bounds(data: bytes, folder: Path) -> None:
    """What is taken from journals as they are is a number; the gaps of a running session are told or not told."""
    track = _put(folder / "s" / "tracks" / "closeup" / "journal.jsonl", data)
    _put(folder / "s" / "journal.jsonl", data)
    assert isinstance(stored_until_ns(folder / "s", "b"), int)
    assert isinstance(ahead_ns(folder / "s", "b", synchronised=True), int)
    track.write_bytes(chained(data))
    told = with_gaps({"session": "s", "path": str(folder / "s")})
    json.dumps(told)


def calibration(data: bytes, folder: Path) -> None:
    path = _put(folder / "calibration.json", data)
    latency.read(path)
    assert latency.latency_ns(path, "closeup", None) >= 0


CALIBRATION = json.dumps(
    {
        "schema": latency.SCHEMA,
        "cameras": {
            "closeup": {
                **{"latency_ms": 120.5, "spread_ms": 4.0, "claps": 7, "kind": "clap", "microphone_ms": 0.0},
                **{"at": "2026-11-21T01:30:05Z", "by": "赵", "version": "0.1.0"},
                "device": {"manufacturer": "a", "model": "b", "serial": "c"},
            }
        },
    }
).encode()


# of the agent and the burner


def burner(data: bytes, folder: Path) -> None:
    """An order, the note of an interrupted run, and the results of others."""
    job = Job("s-001", "s", ("/dev/sr0",), 2)
    store = JobStore(folder)
    for place in ("progress/s-001.json", "jobs/s-000.json"):
        _put(folder / "burn" / place, data)
    left = store.left(job)
    assert left is None or isinstance(left.discs, tuple)
    assert store.verified_before(job, "x") >= 0
    _put(folder / "burn" / "wanted.json", data)
    found = store.wanted()
    assert found is None or (found.copies >= 1 and "/" not in found.id and found.drives)


BURNER = (
    b'{"job": "s-001", "session": "s", "drives": ["/dev/sr0", "stdio:/x"], "copies": 2, "extra": false}',
    b'{"step": "verifying", "discs": [{"device": "/dev/sr0", "begun": true, "fault": null}], "label": "EV20261121_001",'
    b' "image_bytes": 1, "image_sha256": "ab", "content_sha256": "x", "damaged": []}',
    b'{"job": "s-000", "session": "s", "content_sha256": "x", "discs": [{"device": "/dev/sr0", "verified": true}]}',
)


def report(data: bytes, folder: Path) -> None:
    """The newest self-check counts as done, or as not done."""
    settings = parse(f'[storage]\nroot = "{folder}"\nrun = "{folder / "run"}"\n')
    _put(settings.storage.places.selfcheck / "latest.json", data)
    found = load_latest(settings)
    assert found is None or (found.at and found.valid(0) in (True, False))


REPORT = b'{"schema": "interview-room-selfcheck/2", "at": "2026-11-21T01:25:40.112Z", "passed": true, "failed_checks": []}'


def fault(data: bytes) -> None:
    """A fault or a sentence out of a file or an answer is said bounded and escaped, whatever it holds. May raise KeyError."""
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        return
    for language in LANGUAGES:
        plain(Sentence.from_json(told).say(language))
        if isinstance(told, dict):
            read = fault_from(told)
            plain(read.say(language), lines=True)
            plain(read.say_mend(language), lines=True)
            json.dumps(read.as_dict())


FAULT = Fault("camera-frozen", "check-name", name="overview", seconds=3, inner=Sentence("yes"))


def configuration(data: bytes, folder: Path) -> None:
    """The text of a configuration: each problem is told with its line."""
    text = data.decode(errors="replace")
    with suppress(Fault):
        light_settings(_put(folder / "config.toml", data))
    try:
        parse(text)
    except ConfigFault as problems:
        assert problems.problems
        raise


def public_key(data: bytes, folder: Path) -> None:
    read_public_key(_put(folder / "device.pub", data))


def transcript(data: bytes) -> None:
    """Its name on a line, then the file: its times are found and compared, or a fault says why not."""
    name, _, content = data.partition(b"\n")
    document = read_transcript(name.decode(errors="replace") or "x", content)
    found = compare(times_of(document, ZONE), START_NS, START_NS + 3_600_000_000_000, ZONE, 60)
    json.dumps(found.as_json(), ensure_ascii=False).encode()
    for reason in found.reasons:
        for language in LANGUAGES:
            plain(reason.say(language))
    assert found.start is None or isinstance(found.start, datetime)


TRANSCRIPTS = (
    "笔录.txt\n询问笔录\n询问时间：2026年11月21日09时30分至2026年11月21日10时30分\n询问地点：办案中心\n".encode(),
    "x.txt\n询问时间：二〇二六年十一月二十一日上午九时三十分至当日十时三十分\n".encode(),
    b'x.json\n{"interview_start": "2026-11-21T09:30:05+08:00", "interview_end": "2026-11-21T10:30+08:00", "text": "x"}',
    b"x.txt\nInterview time: 2026-11-21 09:30:05 to 2026-11-21 10:30:05\n",
)
TIMES = tuple(
    word.encode() for word in ("年", "月", "日", "时", "分", "秒", "至", "上午", "下午", "询问时间：", "次日", "三十", "24:00")
)


# the agent's socket


@contextmanager
def console_server(folder: Path) -> Iterator[Path]:
    """A console whose agent answers everything at once."""
    path = folder / "agent.sock"
    server = ConsoleServer(path)
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            item = server.requests.get()
            if not callable(item):
                item.succeed({"command": item.command, "arguments": list(item.arguments)})

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield path
    ended.set()
    server.requests.put(lambda: None)
    thread.join(5)
    server.close()


def console_line(data: bytes, path: Path) -> None:
    """Whatever a client sends, it is answered with one JSON line."""
    with local_socket.connect(path, 5.0) as connection:
        connection.sendall(data.replace(b"\n", b" ") + b"\n")
        answer = connection.makefile("rb").readline()
    assert json.loads(answer)["ok"] in (True, False)


@contextmanager
def console(folder: Path) -> Iterator[Console]:
    """The agent's commands over real folders, with every track armed."""
    room = Room(folder / "data", folder / "run")
    room.tracks()
    gate = Gate(room.places.acts, own_uid=4711)
    standing = Console(room, gate)
    yield standing
    standing.keeper.close()
    gate.close()


def command(data: bytes, standing: Console) -> None:
    """A command with any arguments is done or refused; it is never a defect of the agent, and its answer is a line."""
    try:
        told = json.loads(data)
        name, arguments = str(told["command"]), dict(told.get("arguments") or {})
        name.encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):  # as the console answers by itself
        return
    for person in (PERSON, Person(4711, "room-agent")):
        answer = standing.send(name, person, arguments)
        assert len(json.dumps(answer, ensure_ascii=False).encode()) < 1 << 20
        if not answer["ok"]:
            assert answer["fault"]["code"] != "agent-command-failed", answer["fault"]
            read = fault_from(answer["fault"])
            for language in LANGUAGES:
                plain(read.say(language), lines=True)
                plain(read.say_mend(language), lines=True)


def command_seeds() -> list[bytes]:
    start = {"case": CASE.number, "cause": CASE.cause, "handlers": list(CASE.handlers), "interviewee": CASE.interviewee}
    attached = {"session": "last", "name": "笔录.txt", "content": base64.b64encode(TRANSCRIPTS[0]).decode()}
    asked = (
        ("session.start", {**start, "planned_minutes": 1}),
        ("session.start", {**start, "override_by": "甲", "override_reason": "测试"}),
        ("session.status", {"session": "last"}),
        ("session.stop", {"by": "张三", "reason": "结束"}),
        ("session.seal", {"by": "张三", "reason": "x", "without": ["microphone"]}),
        ("transcript.attach", attached),
        ("transcript.accept", {"session": "last", "by": "孙七", "reason": "x"}),
        ("disc.burn", {"session": "last", "drives": ["/dev/sr0"], "copies": 2, "extra": False}),
        ("disc.authored", {"session": "last", "image": "/x.iso", "sha256": "ab" * 32, "bytes": 1}),
        ("selfcheck.store", {"report": json.loads(REPORT) | {"room": {"id": "room-01"}}}),
        ("calibration.store", {"cameras": json.loads(CALIBRATION)["cameras"]}),
    )
    return [json.dumps({"command": name, "arguments": arguments}).encode() for name, arguments in asked]


TARGETS = (
    Target("wanted", wanted, lambda: _of("wanted.json"), around=folder_alone),
    Target("status", status, status_seeds, around=folder_alone),
    Target("epoch", tie, lambda: _of("*/epochs/*.json"), around=folder_alone),
    Target("session-record", session, lambda: _of("*/session.json"), around=folder_alone),
    Target("journal", chain, lambda: _of("*/tracks/*/journal.jsonl"), cases=40, around=folder_alone),
    Target("journal-chained", chain_of_anything, lambda: _of("*/journal.jsonl"), cases=40, around=folder_alone),
    Target("journal-bounds", bounds, lambda: _of("*/tracks/*/journal.jsonl"), around=folder_alone),
    Target("calibration", calibration, lambda: [CALIBRATION], around=folder_alone),
    Target("burner-files", burner, lambda: BURNER, around=folder_alone),
    Target("selfcheck-report", report, lambda: [REPORT], around=folder_alone, cases=40),
    Target("fault", fault, lambda: [json.dumps(FAULT.as_dict()).encode()], allowed=(KeyError,), cases=300),
    Target(
        "configuration", configuration, lambda: [SAMPLE.read_bytes()], words=(b"[[", b"=", b'"""', b"[mqtt]"), around=folder_alone
    ),
    Target("public-key", public_key, lambda: _of("device.pub"), around=folder_alone),
    Target("transcript", transcript, lambda: TRANSCRIPTS, words=TIMES, cases=150),
    Target("console-line", console_line, lambda: [b'{"command": "session.status", "arguments": {}}'], around=console_server),
    Target("console-command", command, command_seeds, cases=40, around=console),
)
