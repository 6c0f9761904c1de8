"""What a person gets for what cannot be done, through the real command line: a reason, a mend, an exit code, and nothing lost."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from recorder.disk.durable import make_folder, write_json
from tests.agent.live import START, STOP, Answer, LiveAgent
from tests.live_room import wait_for
from wording import Exit

SESSION = ("session", "start", "--cause", "由", "--interviewee", "王五")
LONG_NAME = "x" * 300


@pytest.fixture
def room(tmp_path: Path) -> Iterator[LiveAgent]:
    with LiveAgent(tmp_path) as room:
        room.selfcheck()
        yield room


def refused(answer: Answer, code: Exit, *parts: str) -> None:
    """A clear no: its exit code, its words, no traceback, nothing on stdout."""
    assert answer.code == code, answer
    assert all(part in answer.err for part in parts), answer.err
    assert "Traceback" not in answer.err and answer.out == ""


def refused_in_json(answer: Answer, code: Exit) -> dict[str, Any]:
    """The fault of an answer that is one JSON line on stdout and nothing else."""
    assert answer.code == code and answer.err == "" and answer.out.count("\n") == 1, answer
    fault = answer.json()["fault"]
    assert fault["exit_code"] == code and fault["message"]
    return dict(fault)


def sealed(room: LiveAgent, *case: str) -> dict[str, Any]:
    """A session that was recorded and sealed, and its transcript matched."""
    assert room.command(*(case or START)).code == 0
    stopped = room.command(*STOP, "--json").json()
    start, end = (stopped[key][:19].replace("T", " ") for key in ("official_start", "official_end"))
    transcript = room.folder / "笔录 一.txt"
    transcript.write_text(f"Interview time: {start} to {end}\n", "utf-8")
    assert room.command("transcript", "attach", "last", str(transcript)).code == 0
    return stopped


def test_a_text_that_cannot_stand_on_one_line_begins_and_ends_nothing(room: LiveAgent) -> None:
    with room.agent():
        refused(
            room.command(*SESSION, "--case", "案\n1", "--handler", "张三", "--handler", "李\x1b[31m四"),
            Exit.INPUT,
            "--case holds a line break or another control character: 案\ufffd1.",
            "--handler holds a line break",
            "Type it again on one line.",
        )
        refused(
            room.command(*SESSION, "--case", "1\u202e2", "--handler", "张三", "--language", "zh"), Exit.INPUT, "--case 含有换行符"
        )
        refused(room.command(*SESSION, "--case", "案" * 201, "--handler", "张三"), Exit.INPUT, "has 201 characters; at most 200")
        for minutes in ("0", "-1", "9" * 25):
            answer = room.command(*START, "--planned-minutes", minutes)
            refused(answer, Exit.INPUT, f"--planned-minutes is {minutes}.", "from 1 to 1440")
            assert "GB" not in answer.err
        assert room.command("session", "list").out == "There is no session yet.\n"
        odd = room.command(*SESSION, "--case", "案👨‍👩‍👧\u3000一号", "--handler", "张三")
        assert odd.code == 0, odd
        refused(room.command("session", "stop", "--by", "赵\n六", "--reason", "x"), Exit.INPUT, "--by holds a line break")
        assert room.command("session", "status", "--json").json()["state"] == "recording"
        assert room.command(*STOP).code == 0
        assert "案👨‍👩‍👧\u3000一号" in room.command("session", "list").out


def test_a_transcript_that_cannot_be_taken_is_said_at_once(room: LiveAgent) -> None:
    """Too large for the agent's socket, endless or no file: the client itself says so, and the agent stays."""
    huge = room.folder / "huge.txt"
    with huge.open("wb") as file:
        file.truncate(40 << 20)
    os.mkfifo(room.folder / "pipe")
    with room.agent():
        sealed(room)
        attach = ("transcript", "attach", "last")
        refused(room.command(*attach, str(huge)), Exit.INPUT, "huge.txt is too large: 41943040 bytes", "at most 1048576 are read")
        refused(room.command(*attach, str(room.folder / "pipe")), Exit.INPUT, "pipe is no file.")
        refused(room.command(*attach, "/dev/zero"), Exit.INPUT, "/dev/zero is no file.")
        refused(room.command(*attach, "/none.txt", "--language", "zh"), Exit.INPUT, "无法读取 /none.txt：没有该文件或文件夹。")
        halves = room.folder / "halves.json"
        for content in (r'{"interview_start": "\ud83d", "interview_end": "x"}', r'{"text": "询问时间：2026年十十月21日\ud83d"}'):
            halves.write_text(content, "utf-8")
            refused(room.command(*attach, str(halves)), Exit.INPUT, "halves.json", "holds what is no character")
        session = room.command("session", "status", "--json").json()["session"]
        assert session["state"] == "matched"
        kept = room.places.session(session["id"]) / "transcript"
        assert [path.name for path in kept.iterdir()] == ["笔录 一.txt"], "nothing refused is kept"


def test_a_command_line_that_is_not_understood(room: LiveAgent) -> None:
    told = {
        ("session", "start"): "缺少 --case",
        ("bogus",): "只能为 'run'",
        ("session", "list", "--x"): "不认识 --x",
        (*START, "--planned-minutes", "x"): "--planned-minutes 为 'x'，须为整数",
        (*STOP, "--timeout", "nan"): "--timeout 为 'nan'，须为不小于 0 的秒数",
        ("watch", "--seconds", "-1"): "--seconds 为 '-1'",
        ("session", "stop", "--by"): "--by 须给出值",
    }
    for words, part in told.items():
        answer = room.command(*words, "--language", "zh")
        refused(answer, Exit.USAGE, "命令行有误：", part, "--help")
    fault = refused_in_json(room.command("session", "start", "--json"), Exit.USAGE)
    assert "missing: --case" in fault["message"]


@pytest.mark.parametrize("kind", ["closed", "full"])
def test_an_answer_that_cannot_be_written(room: LiveAgent, kind: str) -> None:
    command = [sys.executable, "-m", "agent", "--config", str(room.config)]
    where = ">&-" if kind == "closed" else ">/dev/full"
    for words in (["session", "list"], ["session", "list", "--json"], ["--help"]):
        line = ["sh", "-c", f'exec "$@" {where}', "sh", *command, *words]
        done = subprocess.run(line, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == (Exit.OK if kind == "closed" else Exit.STORAGE), done
        assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
        if kind == "full" and words != ["--help"]:
            assert "The answer cannot be written: No space left on device." in done.stderr


def test_names_of_images_and_discs(room: LiveAgent, tmp_path: Path) -> None:
    empty = make_folder(tmp_path / "leer 空")
    for words in (("verify",), ("disc", "verify")):
        refused(room.command(*words, ""), Exit.INPUT, "holds neither a session nor a disc")
        refused(room.command(*words, str(empty)), Exit.INPUT, f"{empty} holds neither a session nor a disc", "mounted disc")
        refused(room.command(*words, LONG_NAME), Exit.INPUT, "File name too long")
    refused(room.command("verify", f"/{LONG_NAME}", "--language", "zh"), Exit.INPUT, "文件名过长")
    refused(room.command("verify", "/etc/passwd/none.iso"), Exit.NOT_FOUND, "none.iso does not exist")
    with room.agent():
        sealed(room)
        author = ("disc", "author", "last", "--out")
        there = tmp_path / "there.iso"
        there.write_bytes(b"kept")
        refused(room.command(*author, str(there)), Exit.INPUT, f"{there} exists already.")
        refused(
            room.command(*author, str(tmp_path / "none" / "x.iso")), Exit.INPUT, f"The folder {tmp_path / 'none'} does not exist"
        )
        refused(room.command(*author, str(there / "x.iso")), Exit.INPUT, "x.iso cannot be used: Not a directory.")
        refused(room.command(*author, str(tmp_path / LONG_NAME)), Exit.INPUT, "File name too long", "Name a new file")
        assert there.read_bytes() == b"kept"


def test_a_damaged_session_file_is_named_and_hurts_no_other(room: LiveAgent) -> None:
    with room.agent():
        good = sealed(room)
    broken = room.places.session("20200101T000000-room-01")
    shutil.copytree(good["path"], broken)
    content = json.loads((broken / "session.json").read_text("utf-8"))
    with room.agent():
        for field, value in [
            ("start_ns", "x"),
            ("state", "bogus"),
            ("timezone", "Mars/X"),
            ("case", {}),
            ("stop", []),
        ]:
            write_json(broken / "session.json", {**content, field: value})
            listed = room.command("session", "list", "--json")
            assert listed.code == Exit.EVIDENCE and [s["id"] for s in listed.json()["sessions"]] == [good["session"]]
            assert listed.json()["broken"][0]["values"]["field"].split(".")[0] == field
        refused(room.command("session", "status", "2020"), Exit.EVIDENCE, "session.json is no session file: its field stop")
        refused(room.command("transcript", "attach", "2020", str(room.folder / "笔录 一.txt")), Exit.EVIDENCE, "its field stop")
        assert room.command("session", "status", good["session"]).code == 0
    (broken / "manifest.json").unlink()
    (broken / "journal.jsonl").unlink()
    (broken / "session.json").write_text("{")
    answer = room.command("verify", str(broken))
    assert answer.code == Exit.NO and "journal.jsonl is missing" in answer.out and "not readable JSON" in answer.out


@contextmanager
def worker(room: LiveAgent) -> Iterator[None]:
    """The real burner worker."""
    command = [sys.executable, "-m", "agent", "burner", "--config", str(room.config)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for((room.places.status / "burner.json").exists, "the worker")
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(15)


def test_discs_that_cannot_be_burned(tmp_path: Path) -> None:
    used = tmp_path / "used 盘.img"
    used.write_bytes(b"somebody's disc")
    (tmp_path / "dev").mkdir()
    null = tmp_path / "dev" / "null"
    null.symlink_to("/dev/null")
    drives = ("/dev/sr7", f"stdio:{used}", str(null))
    with LiveAgent(tmp_path / "room", drives=drives) as room, room.agent(), worker(room):
        room.selfcheck()
        room.command(*START)
        refused(room.command("disc", "burn", "last", "--drive", "/dev/sr7"), Exit.REFUSED, "is not sealed yet")
        room.command(*STOP)
        refused(room.command("disc", "author", "last", "--out", str(tmp_path / "x.iso")), Exit.REFUSED, "has no transcript")
        session = sealed(room)["session"]
        burn = ("disc", "burn", session)
        for drive in ("", "sr0"):
            refused(room.command(*burn, "--drive", drive), Exit.INPUT, "--drive is no drive: ", "stdio:/")
        _names_that_are_refused(room, burn)
        missing = room.command(*burn, "--drive", "/dev/sr7")
        assert missing.code == Exit.DEVICE and missing.out.count("No such device") == 1, missing
        assert "没有该设备" in room.command(*burn, "--drive", "/dev/sr7", "--language", "zh").out
        assert "null is no optical drive" in room.command(*burn, "--drive", str(null)).out
        again = room.command(*burn, "--drive", f"stdio:{used}", "--json")
        assert again.code != 0 and again.out.count("\n") == 1 and again.json()["verified"] == 0
        _discs_were_made(room, session)
        once_more = room.command(*burn, "--drive", f"stdio:{used}")
        assert once_more.code == Exit.OK and "Nothing to burn" in once_more.out, once_more
        assert used.read_bytes() == b"somebody's disc"


def _names_that_are_refused(room: LiveAgent, burn: tuple[str, ...]) -> None:
    """Drives that the configuration does not have: nothing is written for them, whoever owns the place."""

    def kept() -> dict[Path, bytes]:
        folders = (room.places.sessions, room.places.burn)
        return {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}

    before, names = kept(), {path.name for path in (*room.places.root.iterdir(), *room.places.run.iterdir())}
    own = (f"stdio:{room.places.root}/x", f"stdio:{room.places.run}/x", "stdio:/tmp/x", "/dev/null", "/dev/sr0", "/etc/hostname")
    for drive in own:
        refused(room.command(*burn, "--drive", drive), Exit.INPUT, f"--drive {drive} is none of", "burner.drives: /dev/sr7")
    many = room.command(*burn, *(word for _ in range(6) for word in ("--drive", "/dev/sr7")))
    refused(many, Exit.INPUT, "6 drives are named; at most 5 may be")
    assert kept() == before
    assert {path.name for path in (*room.places.root.iterdir(), *room.places.run.iterdir())} == names


def _discs_were_made(room: LiveAgent, session: str) -> None:
    """The result of a job that burned both discs, as the worker leaves it."""
    disc = {"device": "/dev/sr0", "image": "/dev/sr0", "verified": True, "sha256": "ab", "fault": None}
    result = {"job": f"{session}-050", "session": session, "copies": 2, "verified": 2, "discs": [disc, disc], "fault": None}
    write_json(room.places.burn / "jobs" / f"{session}-050.json", result)
    wait_for(lambda: room.command("session", "status", session, "--json").json()["session"]["state"] == "on-disc", "on disc")


def test_a_password_file_that_is_missing(room: LiveAgent) -> None:
    """Told by the process that needs it, in the reader's language."""
    text = room.config.read_text("utf-8") + '[camera.closeup]\npassword_file = "/none 无/密码.txt"\n'
    room.config.write_text(text, "utf-8")
    told = ("/none 无/密码.txt", "camera.closeup.password_file")
    for words in (("track", "closeup"), ("composer",), ("check-config",)):
        refused(room.command(*words), Exit.CONFIG, *told, "cannot be read: No such file", "Write the password into that file")
    refused(room.command("track", "closeup", "--language", "zh"), Exit.CONFIG, *told, "没有该文件或文件夹", "请把密码写入该文件")


def test_a_wrong_value_is_shown_with_what_is_wrong(room: LiveAgent) -> None:
    text = room.config.read_text("utf-8").replace("[mqtt]", '[room]\ntimezone = "Mars/X"\n[mqtt]', 1)
    room.config.write_text(text + '[camera.overview]\nrtsp = "rtsp://u:geheim@h/1"\n', "utf-8")
    answer = room.command("check-config")
    refused(
        answer,
        Exit.CONFIG,
        'room.timezone: no such time zone; write it like Asia/Shanghai. It is "Mars/X"',
        "camera.overview.rtsp",
    )
    assert "geheim" not in answer.err


def test_a_report_that_cannot_be_written_is_said_before_the_checks(room: LiveAgent) -> None:
    (room.folder / "file").write_text("")
    for report, why in (
        ("/proc/报告 1", "No such file"),
        (str(room.folder / "file"), "file cannot be written: Not a directory."),
    ):
        refused(room.command("selfcheck", "--report", report), Exit.STORAGE, report, "cannot be written", why)
    assert json.loads((room.places.selfcheck / "latest.json").read_text())["passed"], "the last self-check is as it was"
