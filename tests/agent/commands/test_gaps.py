"""`session stop` and `session status` tell each interruption: of what, from when to when, how long, and why."""

import json
import shutil
import time
from argparse import Namespace
from datetime import datetime
from pathlib import Path
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest

from agent.commands.context import Context
from agent.commands.gaps import gap_lines, gaps_of, with_gaps
from recorder.clock.instants import SECOND_NS
from recorder.disk.durable import read_json
from recorder.disk.journal import Journal
from recorder.session.record import Session
from tests.agent.live import START, STOP, LiveAgent
from tests.live_room import wait_for
from wording import Language, say

MADE = Path(__file__).parents[2] / "recorder" / "verify" / "version_0_1_0"
[SEALED] = (MADE / "sealed").iterdir()
[BEGUN] = (path for path in (MADE / "begun").iterdir() if path.is_dir())
LANGUAGES = pytest.mark.parametrize("language", ["en", "zh"])
T0 = 1_795_224_605_280_000_000  # of both sessions
CAUSE = {"name": "closeup", "host": "192.168.1.64", "port": 554}
WHY = {language: say("camera-connection-refused", language, **CAUSE) for language in get_args(Language)}
AT = {"en": "2026-11-21 09:30:{:02d}", "zh": "2026年11月21日 09:30:{:02d}"}


def context(language: Language) -> Context:
    return Context(Namespace(), Path("/nowhere"), False, language)


def session_of(folder: Path) -> Session:
    return Session.from_dict(read_json(folder / "session.json"), folder)


@pytest.fixture
def running(tmp_path: Path) -> Path:
    """A session that is being recorded: the close-up was away once and is away again, the overview never was."""
    folder = Path(shutil.copytree(BEGUN, tmp_path / BEGUN.name))
    for track in ("overview", "closeup"):
        (folder / "tracks" / track).mkdir(parents=True, exist_ok=True)
        journal = Journal(folder / "tracks" / track / "journal.jsonl")
        journal.append("begin", session=folder.name, track=track, start_ns=T0, boot_id="b", software="1", device={})
        if track == "closeup":
            journal.append("lost", from_ns=T0 + 5 * SECOND_NS, cause="camera-connection-refused", values=CAUSE)
            journal.append("back", at_ns=T0 + 17 * SECOND_NS, cause="")
            journal.append("lost", from_ns=T0 + 30 * SECOND_NS, cause="camera-connection-refused", values=CAUSE)
        journal.close()
    return folder


@LANGUAGES
def test_an_interruption_that_is_over_has_start_end_length_and_cause(running: Path, language: Language) -> None:
    over, _ = gap_lines(context(language), session_of(running), gaps_of(running))
    name, length = {"en": ("Close-up", "12 s"), "zh": ("特写", "12秒")}[language]
    for part in (name, AT[language].format(10), AT[language].format(22), length, WHY[language]):
        assert part in over


@LANGUAGES
def test_one_that_lasts_says_so_and_names_no_end(running: Path, language: Language) -> None:
    _, lasts = gap_lines(context(language), session_of(running), gaps_of(running))
    name, word = {"en": ("Close-up", "INTERRUPTED"), "zh": ("特写", "正在中断")}[language]
    for part in (name, word, AT[language].format(35), WHY[language]):
        assert part in lasts
    assert lasts.count("2026") == 1


@LANGUAGES
def test_a_sealed_session_of_version_0_1_0_tells_its_gaps(language: Language) -> None:
    [line] = gap_lines(context(language), session_of(SEALED), gaps_of(SEALED))
    length = {"en": "1.0 s", "zh": "1.0秒"}[language]
    for part in (AT[language].format(6), AT[language].format(7), length, WHY[language]):
        assert part in line


def test_the_answer_for_programs_carries_the_same(running: Path) -> None:
    answer = with_gaps({"session": {"id": running.name}, "path": str(running)})
    assert [(g["track"], g["from_ns"] - T0, g["to_ns"] and g["to_ns"] - T0, g["cause"]) for g in answer["gaps"]] == [
        ("closeup", 5 * SECOND_NS, 17 * SECOND_NS, "camera-connection-refused"),
        ("closeup", 30 * SECOND_NS, None, "camera-connection-refused"),
    ]
    assert with_gaps({"session": None, "path": None})["gaps"] == []


@LANGUAGES
@pytest.mark.parametrize("broken", ["journal", "manifest"])
def test_what_cannot_be_read_is_said_and_is_not_taken_for_whole(
    broken: str, language: Language, running: Path, tmp_path: Path
) -> None:
    if broken == "journal":
        folder = running
        path = folder / "tracks" / "closeup" / "journal.jsonl"
        path.write_bytes(path.read_bytes().replace(b'"seq":1', b'"seq":7'))
    else:
        folder = Path(shutil.copytree(SEALED, tmp_path / "sealed"))
        (folder / "manifest.json").write_text("{}")
    answer = with_gaps({"session": {"id": folder.name}, "path": str(folder)})
    assert answer["gaps"] is None
    [line] = gap_lines(context(language), session_of(folder), answer["gaps"])
    assert "room-agent verify" in line and {"en": "not readable", "zh": "无法读取"}[language] in line


@LANGUAGES
def test_the_commands_print_them(language: str, tmp_path: Path) -> None:
    """A real agent: the close-up journals that it was away; no track writes more, so that the seal finds that as well."""
    with LiveAgent(tmp_path) as room:
        room.selfcheck()
        with room.agent():
            started = room.command(*START, "--json").json()
            folder = Path(started["path"])
            start_ns = int(json.loads((folder / "session.json").read_text(encoding="utf-8"))["start_ns"])
            (folder / "tracks" / "closeup").mkdir(parents=True, exist_ok=True)
            journal = Journal(folder / "tracks" / "closeup" / "journal.jsonl")
            about: dict[str, Any] = {"session": folder.name, "track": "closeup", "start_ns": start_ns, "boot_id": "b"}
            journal.append("begin", **about, software="1", device={})
            journal.append("lost", from_ns=start_ns, cause="camera-connection-refused", values=CAUSE)
            journal.close()
            running = room.command("session", "status", "--language", language).out
            [lasts] = [line for line in running.splitlines() if WHY[language] in line]
            begin = datetime.fromtimestamp(start_ns // SECOND_NS, ZoneInfo("Asia/Shanghai"))
            shown = begin.strftime({"en": "%Y-%m-%d %H:%M:%S", "zh": "%Y年%m月%d日 %H:%M:%S"}[language])
            assert shown in lasts and {"en": "INTERRUPTED", "zh": "正在中断"}[language] in lasts
            time.sleep(1.1)
            stopped = room.command(*STOP, "--language", language)
            assert stopped.code == 0, stopped.err
            wait_for((folder / "manifest.sig").exists, "the seal")
            status = room.command("session", "status", "--language", language)
        for told in (stopped.out, status.out):
            [line] = [line for line in told.splitlines() if WHY[language] in line]
            word = {"en": "Interruption of Close-up", "zh": "中断（特写录像）"}[language]
            assert word in line and shown in line and "INTERRUPTED" not in line and "正在中断" not in line
            others = {"en": ("Overview", "Microphone"), "zh": ("全域录像", "录音")}[language]
            assert all(any(shown in each and name in each for each in told.splitlines()) for name in others)
