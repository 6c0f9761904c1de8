"""The gate of a real agent: who asks is what the kernel says of the process at the other end of the socket."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from recorder.disk import journal
from tests.agent.live import START, STOP, LiveAgent
from wording import Exit

STRANGER = 65_534
# Sends one line as the user whose number it is given ("-": as it is) and prints the answer.
CLIENT = """
import os, socket, sys
connection = socket.socket(socket.AF_UNIX)
folder = os.open(os.path.dirname(sys.argv[1]), os.O_PATH)
if sys.argv[2] != "-":
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
connection.connect(f"/proc/self/fd/{folder}/{os.path.basename(sys.argv[1])}")
connection.sendall(sys.stdin.buffer.read())
print(connection.makefile().readline())
"""


@pytest.fixture
def room(tmp_path: Path) -> Iterator[LiveAgent]:
    with LiveAgent(tmp_path) as room:
        room.selfcheck()
        with room.agent():
            yield room


def send(room: LiveAgent, command: str, arguments: dict[str, Any], uid: int | None = None) -> dict[str, Any]:
    line = json.dumps({"command": command, "arguments": arguments, "uid": 0, "login": "root"}) + "\n"
    words = [sys.executable, "-c", CLIENT, str(room.places.socket), "-" if uid is None else str(uid)]
    done = subprocess.run(words, input=line, capture_output=True, text=True, timeout=30, check=True, cwd="/")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def acts(room: LiveAgent) -> list[dict[str, Any]]:
    return [dict(entry) for entry in journal.read(room.places.acts)]


def report() -> dict[str, Any]:
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    about = {"schema": "interview-room-selfcheck/1", "at": at, "passed": True, "failed_checks": []}
    return {**about, "room": {"id": "room-01"}}


def test_start_and_stop_by_the_command_line_name_the_user(room: LiveAgent) -> None:
    started = room.command(*START, "--json").json()
    assert room.command(*STOP, "--no-wait").code == 0
    assert [(a["act"], a["uid"], a["session"]) for a in acts(room)] == [
        (act, os.getuid(), started["session"]) for act in ("session.start", "session.stop")
    ]
    record = json.loads((Path(started["path"]) / "session.json").read_text(encoding="utf-8"))
    assert record["asked"]["uid"] == record["stop"]["asked"]["uid"] == os.getuid()
    assert set(record["asked"]) == {"uid", "login"}


def test_the_service_may_store_a_self_check(room: LiveAgent) -> None:
    answer = send(room, "selfcheck.store", {"report": report()})
    assert answer["ok"], answer
    [act] = acts(room)
    assert (act["act"], act["uid"]) == ("selfcheck.store", os.getuid())


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize("command", ["selfcheck.store", "calibration.store", "disc.author", "session.complete"])
def test_another_user_may_not_whatever_the_line_says(command: str, room: LiveAgent) -> None:
    room.places.socket.chmod(0o666)
    before = {path: path.read_bytes() for path in room.places.root.rglob("*.json")}
    answer = send(room, command, {"report": report(), "cameras": {}, "session": "last", "by": "甲"}, STRANGER)
    fault = answer["fault"]
    assert (fault["code"], fault["exit_code"]) == ("act-not-allowed", Exit.REFUSED)
    assert fault["values"] == {"act": command, "uid": STRANGER}
    assert {path: path.read_bytes() for path in room.places.root.rglob("*.json")} == before
    assert acts(room) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_another_user_of_the_group_may_lead_an_interview_under_its_own_number(room: LiveAgent) -> None:
    room.places.socket.chmod(0o666)
    case = {"case": "案1", "cause": "由", "handlers": ["张三", "李四"], "interviewee": "王五"}
    answer = send(room, "session.start", case, STRANGER)
    assert answer["ok"], answer
    [act] = acts(room)
    assert (act["act"], act["uid"]) == ("session.start", STRANGER)
