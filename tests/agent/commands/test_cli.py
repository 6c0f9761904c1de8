"""The command line against a real agent: a whole session, and what every kind of bad input gets."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.cli import build_parser, main
from recorder.clock.instants import SECOND_NS
from recorder.disk.locks import lock_holder
from recorder.process.wanted import Wanted
from tests.agent.live import START, STOP, Answer, LiveAgent
from tests.live_room import wait_for
from wording import Exit, say
from wording.fault import EXIT_TEXTS

HEAVY = ("pydantic", "av", "numpy", "cv2", "cryptography", "zeep", "paho", "sqlite3", "asyncio", "xml")


@pytest.fixture
def room(tmp_path: Path) -> Iterator[LiveAgent]:
    with LiveAgent(tmp_path) as room:
        room.selfcheck()
        yield room


def refused(answer: Answer, code: Exit, *parts: str) -> None:
    """The answer is a clear no: its exit code, its words, no traceback, nothing on stdout."""
    assert answer.code == code, (answer.code, answer.out, answer.err)
    assert all(part in answer.err for part in parts), answer.err
    assert "Traceback" not in answer.err and answer.out == ""


def transcript(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def times(session: dict[str, str]) -> str:
    """A transcript that says the session's official times, to the second."""
    start, end = (session[key][:19].replace("T", " ") for key in ("official_start", "official_end"))
    return f"Interview time: {start} to {end}\n"


def test_a_whole_session(room: LiveAgent) -> None:
    """Start, status, stop, seal, transcript, exception's rules, verify: through the command line alone."""
    with room.agent():
        refused(room.command(*STOP), Exit.REFUSED, "No session is running")
        started = room.command(*START, "--json")
        assert started.code == 0 and started.seconds < 2.0, started
        session = started.json()
        assert session["official_start"].endswith("+08:00") and "年" in session["start_text"]["zh"]
        refused(room.command(*START), Exit.REFUSED, "has been running since")
        status = wait_for(
            lambda: (s := room.command("session", "status", "--json").json())["recording"] and s, "bytes of every track"
        )
        assert status["session"]["id"] == session["session"] and status["not_on_disk"] == []
        shown = room.command("session", "status", "--language", "zh").out
        assert "录制中" in shown and "正式开始时间" in shown
        refused(
            room.command("session", "stop", "--by", " ", "--reason", ""), Exit.INPUT, "--by is missing", "--reason is missing"
        )
        stopped = room.command(*STOP, "--json")
        assert stopped.code == 0, stopped
        assert stopped.json()["state"] == "sealed" and set(stopped.json()["coverage"]) == {"overview", "closeup", "microphone"}
        refused(room.command(*STOP), Exit.REFUSED, "No session is running")
        folder = Path(stopped.json()["path"])
        assert (folder / "manifest.sig").exists()
        made = [room.places.wanted, room.places.acts, folder, *folder.rglob("*")]
        assert [str(path) for path in made if path.stat().st_mode & 0o027] == [], "its group reads, nobody else does"
        assert room.command("verify", str(folder)).code == 0

        refused(room.command("disc", "burn", "last"), Exit.REFUSED, "has no transcript")
        refused(room.command("disc", "burn", "last", "--drive", "stdio:/nowhere/1"), Exit.INPUT, "is none of burner.drives: -")
        refused(room.command("transcript", "attach", "last", "/missing.txt"), Exit.INPUT, "cannot be read")
        binary = room.folder / "scan.pdf"
        binary.write_bytes(b"%PDF-1.7\n\xff\xfe")
        refused(room.command("transcript", "attach", "last", str(binary)), Exit.INPUT, "no plain text")
        refused(room.command("transcript", "attach", "1999", str(binary)), Exit.NOT_FOUND, "no session 1999")
        refused(room.command("transcript", "accept", "last", "--by", "孙七", "--reason", "x"), Exit.REFUSED, "has no transcript")
        wrong = transcript(room.folder, "笔录 一.txt", "询问时间：2020年01月01日09时30分至10时45分\n")
        answer = room.command("transcript", "attach", "last", wrong, "--json")
        assert (
            answer.code == Exit.NO and answer.json()["transcript"]["verdict"] == "mismatch" and answer.json()["state"] == "sealed"
        )
        assert "DO NOT AGREE" in room.command("transcript", "attach", "last", wrong).out
        for person in ("张三", "赵 六"):
            refused(room.command("transcript", "accept", "last", "--by", person, "--reason", "x"), Exit.REFUSED, "took part")
        answer = room.command("transcript", "accept", "last", "--by", "孙七", "--reason", "表述不同", "--json")
        assert answer.json()["transcript"]["exception"]["by"] == "孙七" and answer.json()["state"] == "matched"
        right = transcript(room.folder, "笔录.txt", times(stopped.json()))
        answer = room.command("transcript", "attach", session["session"], right, "--json")
        assert answer.code == 0 and answer.json()["transcript"]["verdict"] == "match"
        kept = {path.name for path in (folder / "transcript").iterdir()}
        assert kept == {"笔录 一.txt", "笔录.txt"}
        assert room.command("verify", "last").code == 0
    lists = room.command("session", "list", "--json").json()["sessions"]
    assert [(s["id"], s["state"], s["verdict"]) for s in lists] == [(session["session"], "matched", "match")]
    kinds = [json.loads(line)["kind"] for line in (folder / "journal.jsonl").read_text().splitlines()]
    assert kinds[kinds.index("sealed") :] == ["sealed", "transcript", "transcript", "exception", "transcript"]


def test_kill_9_of_the_agent_loses_nothing(room: LiveAgent) -> None:
    with room.agent() as agent:
        started = room.command(*START, "--json").json()
        agent.send_signal(signal.SIGKILL)
        agent.wait(5)
        assert Wanted.read(room.places.wanted).session == started["session"]
        refused(room.command("session", "status"), Exit.NO_AGENT, "The agent does not run")
    with room.agent() as agent:
        status = room.command("session", "status", "--json").json()
        assert status["session"]["official_start"] == started["official_start"] and status["state"] == "recording"
        room.unfinished.add("closeup")
        late = room.command(*STOP, "--timeout", "1.5")
        assert late.code == Exit.NO and "waits for: Close-up" in late.err, late
        agent.send_signal(signal.SIGKILL)
        agent.wait(5)
    with room.agent():
        assert room.command("session", "status", "--json").json()["waiting_for"] == ["closeup"]
        room.unfinished.clear()
        wait_for(lambda: room.command("session", "status", "--json").json()["session"]["state"] == "sealed", "the seal")
    assert room.command("verify", "last").code == 0


def test_an_agent_that_is_asked_to_stop_leaves_the_session(room: LiveAgent) -> None:
    with room.agent() as agent:
        room.command(*START)
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(10) == 0
    assert Wanted.read(room.places.wanted).session is not None
    assert not room.places.socket.exists()


def test_two_agents_on_one_folder(room: LiveAgent) -> None:
    with room.agent() as first:
        second = room.command("run", "--no-children")
        refused(second, Exit.ALREADY_RUNNING, "already runs on", f"process {first.pid}")
        assert room.command("session", "status").code == 0
    assert lock_holder(room.places.agent_lock) is None


def test_a_start_without_what_it_needs_names_everything(room: LiveAgent) -> None:
    room.selfcheck(passed=False)
    room.silent.add("microphone")
    (room.places.status / "microphone.json").unlink(missing_ok=True)
    with room.agent():
        answer = wait_for(lambda: (a := room.command(*START)).code == Exit.REFUSED and a, "a refusal")
        refused(answer, Exit.REFUSED, "did not pass: camera-light:closeup", "process of track Microphone does not run")
        chinese = room.command(*START, "--language", "zh")
        assert "未能开始录制" in chinese.err and "设备自检未通过" in chinese.err
        told = room.command(*START, "--json")
        fault = json.loads(told.out)["fault"]
        assert told.code == Exit.REFUSED == fault["exit_code"] and len(fault["reasons"]) == 2 and told.err == ""


def test_what_is_wrong_before_any_agent(room: LiveAgent, tmp_path: Path) -> None:
    refused(room.command("session", "status"), Exit.NO_AGENT, "`room-agent run`")
    assert room.command("session", "list").out == "There is no session yet.\n"
    refused(room.command("disc", "author", "last", "--out", str(tmp_path / "x.iso")), Exit.NOT_FOUND, "no session last")
    refused(room.command("disc", "verify", "20200101"), Exit.NOT_FOUND, "no session 20200101")
    refused(room.command("verify", "/no/such/path"), Exit.NOT_FOUND, "/no/such/path does not exist")
    refused(room.command("watch"), Exit.CONFIG, "mqtt.enabled")
    assert room.command("check-config").code == 0
    room.config.write_text(room.config.read_text("utf-8") + "[rom]\n", "utf-8")
    for words in (("check-config",), ("run",), ("track", "overview"), ("selfcheck",)):
        refused(room.command(*words), Exit.CONFIG, "rom: unknown key. Did you mean room?")
    assert room.command("session", "list").code == 0  # it needs two keys only, and they are good
    room.config.unlink()
    refused(room.command("session", "list", "--language", "en"), Exit.CONFIG, "cannot be read: No such file")


@pytest.mark.parametrize("words", [("track", "overview"), ("composer",), ("run", "--no-children")])
def test_a_folder_that_cannot_be_written(room: LiveAgent, words: tuple[str, ...]) -> None:
    text = room.config.read_text("utf-8").replace(str(room.places.run), "/proc/no-such-folder")
    room.config.write_text(text, "utf-8")
    answer = room.command(*words)
    assert answer.code == Exit.STORAGE and "/proc/no-such-folder" in answer.err and "Traceback" not in answer.err


@pytest.mark.parametrize(
    "words",
    [(), ("sesion",), ("session",), ("session", "start"), ("track", "attic"), ("session", "stop", "--by"), ("run", "--x")],
)
def test_a_command_line_that_is_not_understood(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--language", "zh"]) == Exit.USAGE
    assert "命令行有误" in capsys.readouterr().err


def test_help_is_in_the_reader_s_language(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["session"], ["session", "start"], ["disc", "verify"]):
        assert main([*words, "--help", "--language", "zh"]) == 0
        shown = capsys.readouterr().out
        assert shown.startswith("用法：") and "选项" in shown and "显示本说明并结束" in shown
        assert not {"usage", "options", "arguments", "show", "exit"}.intersection(shown.replace(":", " ").split())


def test_sessions_that_may_not_be_looked_at_are_not_none(
    room: LiveAgent, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Root may look everywhere, so the refusal is the test's."""
    scandir = os.scandir

    def scan(path: Path) -> object:
        if path == room.places.sessions:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    common = ["--config", str(room.config), "--language", "en"]
    assert main(["session", "list", *common]) == Exit.STORAGE
    assert main(["verify", "last", *common]) == Exit.STORAGE
    said = capsys.readouterr()
    assert "cannot be read: Permission denied" in said.out and "cannot be read: Permission denied" in said.err
    assert "There is no session" not in said.out + said.err


def test_the_help_lists_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help", "--language", "en"]) == 0
    shown = capsys.readouterr().out
    assert set(EXIT_TEXTS) == set(Exit)
    for code, text in EXIT_TEXTS.items():
        assert f"{int(code):3d}  {say(text, 'en')}" in shown


@pytest.mark.parametrize(
    "words", [["--config", "/a", "session", "list"], ["session", "list", "--config", "/a"], ["session", "--config", "/a", "list"]]
)
def test_config_is_taken_in_every_place(words: list[str]) -> None:
    assert build_parser("en").parse_args(words).config == Path("/a")


def test_a_defect_is_one_line_and_debug_shows_it(
    room: LiveAgent, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr("agent.session.catalogue.sessions", broken)
    words = ["session", "list", "--config", str(room.config)]
    assert main(words) == Exit.DEFECT
    shown = capsys.readouterr().err
    assert "ZeroDivisionError: of all things" in shown and "Traceback" not in shown
    with pytest.raises(ZeroDivisionError):
        main([*words, "--debug"])


def test_a_reader_that_goes_away_is_no_fault(room: LiveAgent) -> None:
    command = [sys.executable, "-m", "agent", "--config", str(room.config), "session", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.wait(10) == 141 and process.stderr.read() == b""


def test_the_client_is_light(room: LiveAgent) -> None:
    """`session start` answers quickly because it imports next to nothing."""
    code = (
        "import sys; from agent.cli import main; code = main(sys.argv[1:]); "
        f"print(code, [m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    with room.agent():
        done = subprocess.run(
            [sys.executable, "-c", code, *START, "--config", str(room.config), "--language", "zh"],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        assert done.stderr.strip() == "0 []", done.stderr
        assert "正式开始时间" in done.stdout


def test_the_agent_carries_no_media_library_and_is_small(room: LiveAgent) -> None:
    with room.agent() as agent:
        room.command(*START)
        room.command(*STOP)
        maps = Path(f"/proc/{agent.pid}/maps").read_text()
        for library in ("/av/", "/numpy/", "/cv2/", "lxml", "pyaudio"):
            assert library not in maps
        rss_kb = next(
            int(line.split()[1]) for line in Path(f"/proc/{agent.pid}/status").read_text().splitlines() if "VmRSS" in line
        )
        assert rss_kb < 60_000


def test_the_official_start_is_the_instant_of_the_command(room: LiveAgent) -> None:
    with room.agent():
        began = time.time_ns()
        room.command(*START)
        ended = time.time_ns()
    start = Wanted.read(room.places.wanted).start_ns
    assert began - SECOND_NS // 25 <= start <= ended
