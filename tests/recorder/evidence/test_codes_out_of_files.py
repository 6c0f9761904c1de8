"""What stands in a journal, a manifest or a status file is shown, harmless and bounded, and is never a format string."""

import hashlib
import json
import os
import shutil
import string
import tomllib
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from agent.commands.context import Context
from agent.commands.gaps import gap_lines, gaps_of
from agent.devices.kind import told_fault
from recorder.clock.instants import SECOND_NS, boot_id, boottime_ns
from recorder.disk.durable import encode, read_json, write_json
from recorder.disk.journal import Journal
from recorder.evidence.findings import lines
from recorder.evidence.signature import device_key, sign_manifest
from recorder.process.status import TrackStatus, read_statuses
from recorder.session.lines import cause_of
from recorder.session.record import Session
from recorder.verify.session import verify_session
from tests.agent.live import LiveAgent
from wording import Fault, Language, say
from wording.border import directs
from wording.sentence import Sentence
from wording.text import BEFORE, catalogue, code_of

pytestmark = pytest.mark.unknown_code
MADE = Path(__file__).parents[1] / "verify" / "version_0_1_0"
[SEALED] = (MADE / "sealed").iterdir()
[BEGUN] = (path for path in (MADE / "begun").iterdir() if path.is_dir())
LANGUAGES: tuple[Language, ...] = get_args(Language)
T0 = 1_795_224_605_280_000_000
LONGEST = 30_000  # characters of a line that quotes a file, far below what the file holds
HOSTILE = {
    "a field": "{x}",
    "percent": "%s %d %(name)s %n",
    "an attribute": "{0.__class__.__init__.__globals__}",
    "an attribute of a value": "{name.__class__}",
    "half a field": "{" * 3,
    "a width": "{name:>9999999}",
    "escape sequences": "\x1b[2J\x1b]0;title\x07\x9b31m",
    "right to left": "disc\u202egpj.exe",
    "isolates": "\u2066a\u2067b\u2068c\u2069\u200f\u061c",
    "lines": "fine.\n✓ everything is what was recorded\r\u2028x\u2029",
    "nul": "a\x00b",
    "very long": "長" * 100_000,
    "empty": " ",
}
TEXTS = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
EACH = pytest.mark.parametrize("language", LANGUAGES)


def harmless(told: str) -> None:
    """Nothing in it obeys, turns or ends a line; it is bounded; nothing of the program was looked up by it."""
    assert [c for c in told if directs(c)] == []
    assert len(told) < LONGEST
    for leak in ("<class", "__globals__': ", "function", "<module", "object at 0x"):
        assert leak not in told


def shown_start(text: str) -> str:
    """What of a text must be found in whatever shows it: its first characters, escaped."""
    return "".join(f"\\u{ord(c):04x}" if directs(c) else c for c in text[:12])


# --- the pieces that read ---


@EACH
@TEXTS
def test_an_unknown_code_is_shown_escaped_with_its_values(text: str, language: Language) -> None:
    told = Sentence.from_json({"code": text, "values": {"name": text, "count": 3}}).say(language)
    harmless(told)
    assert shown_start(text) in told and "count=3" in told


@EACH
@TEXTS
def test_a_value_of_a_known_code_is_shown_escaped(text: str, language: Language) -> None:
    told = Sentence.from_json({"code": "file-missing", "values": {"path": text}}).say(language)
    harmless(told)
    assert shown_start(text) in told and told != text


@TEXTS
def test_a_fault_of_another_process_is_shown_escaped(text: str) -> None:
    for data in ({"code": text, "mend": text, "values": {"name": text}}, {"text": text, "mend": text, "values": {"name": text}}):
        fault = Fault.from_dict(data)
        for language in LANGUAGES:
            harmless(fault.say(language))
            harmless(fault.say_mend(language))
            assert shown_start(text) in fault.say(language)


@EACH
@TEXTS
def test_a_cause_of_either_version_is_shown_escaped(text: str, language: Language) -> None:
    for line in (
        {"cause": text, "values": {"x": text}},
        {"cause": text, "fault": {"text": text, "values": {"x": text}}},
        {"cause": text},
    ):
        told = cause_of(line).say(language)
        harmless(told)
        assert shown_start(text) in told


@pytest.mark.parametrize(
    "data", [None, 5, [], "x", {"code": None}, {"values": 3}, {"code": ["a"], "values": {"a": {"b": {"c": {"d": 1}}}}}]
)
def test_what_is_no_sentence_is_shown_all_the_same(data: object) -> None:
    harmless(Sentence.from_json(data).say("zh"))


def test_sentences_inside_sentences_end() -> None:
    data: dict[str, Any] = {"code": "problem-at-seal", "values": {"problem": "x"}}
    for _ in range(200):
        data = {"code": "problem-at-seal", "values": {"problem": data}}
    harmless(Sentence.from_json(data).say("en"))


@EACH
@TEXTS
def test_say_itself_bounds_an_unknown_code_and_its_values(text: str, language: Language) -> None:
    """Whatever reader it came through."""
    told = say(text, language, name=text)
    harmless(told)
    assert shown_start(text) in told and len(told) < 1000


# --- whole files ---


def context(language: Language) -> Context:
    return Context(Namespace(), Path("/nowhere"), False, language)


def session_of(folder: Path) -> Session:
    return Session.from_dict(read_json(folder / "session.json"), folder)


@EACH
@TEXTS
def test_a_journal(text: str, language: Language, tmp_path: Path) -> None:
    """`session status` of a running session, whose track journalled this cause."""
    folder = Path(shutil.copytree(BEGUN, tmp_path / BEGUN.name))
    (folder / "tracks" / "closeup").mkdir(parents=True, exist_ok=True)
    journal = Journal(folder / "tracks" / "closeup" / "journal.jsonl")
    journal.append("begin", session=folder.name, track="closeup", start_ns=T0, boot_id="b", software="1", device={})
    journal.append("lost", from_ns=T0 + 5 * SECOND_NS, cause=text, values={"name": text})
    journal.close()
    [line] = gap_lines(context(language), session_of(folder), gaps_of(folder))
    harmless(line)
    assert shown_start(text) in line


def resealed(folder: Path, keys: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A manifest with other content, signed by a key of its own: what another version, or a forger with a key, would leave."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    change(manifest)
    data = encode(manifest)
    (folder / "manifest.json").write_bytes(data)
    write_json(folder / "manifest.sig", sign_manifest(data, device_key(keys)))
    return folder


@EACH
@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in HOSTILE.items()])
def test_a_manifest(text: str, language: Language, tmp_path: Path) -> None:
    """`verify` of a session whose manifest holds the text in a gap, a problem, a file's name and who left a track behind."""

    def change(manifest: dict[str, Any]) -> None:
        [gap] = manifest["tracks"]["closeup"]["gaps"]
        gap |= {"cause": text, "fault": {"text": text, "mend": "", "values": {"name": text}, "exit_code": 7}}
        manifest["problems"] = [{"text": text, "values": {"path": text}, "path": "x"}]
        manifest["left"] = [{"by": text, "reason": text, "tracks": [text]}]
        manifest["session"] = text

    folder = resealed(Path(shutil.copytree(SEALED, tmp_path / SEALED.name)), tmp_path / "keys", change)
    report = verify_session(folder)
    told = lines(report, language)
    for line in told:
        harmless(line)
    assert any(shown_start(text) in line for line in told)
    assert not report.ok
    for line in gap_lines(context(language), session_of(folder), gaps_of(folder)):
        harmless(line)


@TEXTS
def test_a_status_file(text: str, tmp_path: Path) -> None:
    """A track's own status file names its fault by the text."""
    fault = {"code": text, "mend": text, "values": {"name": text}, "exit_code": 7}
    TrackStatus(
        name="closeup", pid=1, boot_id="b", version="", at_ns=SECOND_NS, state="recording", fault=fault, bitrate_bps=1.0
    ).write(tmp_path)
    read = read_statuses(tmp_path, SECOND_NS, "b")["closeup"]
    found = told_fault(read)
    assert found is not None
    for language in LANGUAGES:
        harmless(context(language).fault_line(found))
        assert shown_start(text) in found.say(language)


@EACH
def test_a_status_file_at_the_command_line(language: str, tmp_path: Path) -> None:
    """All of it at once, through a real agent to the real terminal."""
    text = "".join(HOSTILE[name] for name in ("a field", "an attribute", "escape sequences", "right to left", "nul"))
    with LiveAgent(tmp_path) as room:
        room.silent.add("closeup")
        with room.agent():
            fault = {"code": text, "mend": text, "values": {"name": text}, "exit_code": 7}
            about: dict[str, Any] = {"pid": os.getpid(), "boot_id": boot_id(), "version": "", "at_ns": boottime_ns()}
            TrackStatus(name="closeup", state="recording", fault=fault, bitrate_bps=1.0, **about).write(room.places.status)
            answer = room.command("session", "status", "--language", language)
    assert answer.code == 0 and answer.err == ""
    for line in answer.out.splitlines():
        harmless(line)
    assert "{x}{0.__class__" in answer.out and "\\u001b[2J" in answer.out and "\\u202e" in answer.out and "\\u0000" in answer.out


# --- version 0.1.0 ---

SENTENCES = tomllib.loads(BEFORE.read_text(encoding="utf-8"))


def fields(template: str) -> set[str]:
    return {name.split(".")[0].split("[")[0] for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def test_each_sentence_of_version_0_1_0_leads_to_a_text() -> None:
    assert len(SENTENCES) > 900
    assert {code for code in SENTENCES.values() if code not in catalogue()} == set()
    assert {text for text in SENTENCES if code_of(text) != SENTENCES[text]} == set()


def test_each_text_is_filled_by_the_values_that_version_0_1_0_wrote() -> None:
    wanting = {text: code for text, code in SENTENCES.items() if not fields(catalogue()[code]["en"]) <= fields(text)}
    assert wanting == {}


@EACH
def test_each_sentence_is_said_by_its_new_text(language: Language) -> None:
    for text, code in SENTENCES.items():
        names = fields(text)
        values = dict.fromkeys(names, 3) if all(name.isidentifier() for name in names) else {}  # else its braces are JSON's
        told = Sentence.from_json({"text": text, "values": values}).say(language)
        assert told == say(code, language, **values), text
        assert not values or not fields(told), text


@EACH
def test_a_sentence_that_the_table_lacks_is_shown_as_it_is(language: Language) -> None:
    text = "Nobody ever wrote {this}, or %s."
    assert code_of(text) == text
    assert Sentence.from_json({"text": text, "values": {"this": 5}}).say(language) == f"{text} (this=5)"


def test_the_digest_of_the_fixture_is_untouched_by_reading(tmp_path: Path) -> None:
    """Reading evidence changes none of it."""
    folder = Path(shutil.copytree(SEALED, tmp_path / SEALED.name))

    def digests() -> dict[str, str]:
        return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}

    before = digests()
    verify_session(folder)
    gaps_of(folder)
    assert digests() == before
