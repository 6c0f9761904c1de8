"""Nobody blocks the console: storms of connections from unprivileged processes against a real agent, while a session is recorded.

The storms come from another user (``setpriv``), so they need root; without it the same is tried under one user.
"""

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.console.client import ask
from recorder.process import local_socket
from tests.agent.live import START, LiveAgent
from wording import Fault

STRANGER = 65_534
ANSWERED_S = 2.0
STORM_S = 1.5  # of each storm; the agent is at its limits after some hundredths of a second
# connects: 5,000 connections at once and again; halves: 80 threads that send half a line; looks: 80 that send whole commands.
STORM = """
import os, resource, socket, sys, threading, time
os.nice(19)
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
kind = sys.argv[1]
lines = {"halves": b'{"command": "session.st', "looks": b'{"command": "session.status"}\\n'}
def connect():
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(1.0)
    sock.connect("agent.sock")
    return sock
def hold():
    while True:
        try:
            with connect() as sock:
                sock.sendall(lines[kind])
                sock.recv(1 << 16)
        except OSError:
            pass
if kind == "connects":
    held = []
    while True:
        try:
            held.append(connect())
        except OSError:
            pass
        if len(held) == 100:
            print("on", flush=True)
        if len(held) >= min(5000, hard - 100):
            del held[:500]
else:
    for _ in range(80):
        threading.Thread(target=hold, daemon=True).start()
    time.sleep(0.1)
    print("on", flush=True)
    time.sleep(3600)
"""
# Asks the agent, and prints how long the answer took, and the answer.
CLIENT = """
import json, sys, time
from pathlib import Path
from agent.console.client import ask
from wording import Fault
began = time.monotonic()
try:
    answer = ask(Path("agent.sock"), sys.argv[1], json.loads(sys.argv[2]))
except Fault as fault:
    answer = {"fault": fault.code}
print(json.dumps([time.monotonic() - began, answer]))
"""
HOME = Path(__file__).parents[3]


def as_stranger(words: list[str]) -> list[str]:
    """The command line that runs these words as another user."""
    return ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", *words]


def stranger_or_skip() -> None:
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root may become another user, by setpriv")


@contextmanager
def storming(folder: Path, *kinds: str, stranger: bool) -> Iterator[None]:
    """Processes that storm the socket of the folder; they are ended one by one."""
    with ExitStack() as stack:
        for kind in kinds:
            words = [sys.executable, "-I", "-c", STORM, kind]
            process = stack.enter_context(
                subprocess.Popen(as_stranger(words) if stranger else words, cwd=folder, stdout=subprocess.PIPE, text=True)
            )
            stack.callback(process.kill)
            assert process.stdout is not None and process.stdout.readline() == "on\n", kind
        yield


def told_to(folder: Path, command: str, arguments: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """Seconds and answer of a command that the stranger gives."""
    words = [sys.executable, "-c", CLIENT, command, json.dumps(arguments)]
    environment = {**os.environ, "PYTHONPATH": str(HOME), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(as_stranger(words), cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=True)
    seconds, answer = json.loads(done.stdout)
    return float(seconds), answer


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveAgent]:
    """A room in which a session is recorded; its socket is open to everybody, as to a large group."""
    with LiveAgent(tmp_path_factory.mktemp("storm")) as room:
        room.selfcheck()
        with room.agent():
            assert room.command(*START).code == 0
            room.places.run.chmod(0o755)
            room.places.socket.chmod(0o666)
            yield room


def asked(room: LiveAgent, command: str, **arguments: str) -> tuple[float, str]:
    """Seconds until the answer, and the fault's code in it, "" for none."""
    began = time.monotonic()
    try:
        ask(room.places.socket, command, arguments)
    except Fault as fault:
        return time.monotonic() - began, fault.code
    return time.monotonic() - began, ""


def test_files_that_nobody_asked_for_hold_nobody_up(room: LiveAgent) -> None:
    """A connection that lingers for a minute when its last holder closes it: whoever takes it from the line stands still."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        for _ in range(8):
            lingering = stack.enter_context(socket.create_connection(listener.getsockname()))
            stack.enter_context(listener.accept()[0])  # and never read
            lingering.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
            lingering.setblocking(False)
            with pytest.raises(BlockingIOError):
                while True:
                    lingering.send(b"x" * (1 << 20))
            for line in (b'{"command": "session.status"}\n', b"x"):
                sock = stack.enter_context(local_socket.connect(room.places.socket, 5.0))
                socket.send_fds(sock, [line], [lingering.fileno()])
            lingering.close()
        for _ in range(3):
            seconds, told = asked(room, "session.status")
            assert told == "" and seconds < 1.0, (told, seconds)


def test_a_storm_of_ones_own_processes_keeps_nobody_from_stopping(room: LiveAgent) -> None:
    """Also without root: whoever stops is the user who storms. A stop without a name is refused, by the agent's own thread."""
    with storming(room.places.run, "halves", "looks", stranger=False):
        until = time.monotonic() + STORM_S
        while time.monotonic() < until:
            seconds, told = asked(room, "session.stop")
            assert told == "session-stop-refused" and seconds < ANSWERED_S, (told, seconds)


def test_a_storm_of_another_user_keeps_nobody_from_stopping(room: LiveAgent) -> None:
    """Neither anybody else's commands, nor the other user's own stop, which comes from beside the storm."""
    stranger_or_skip()
    with storming(room.places.run, "connects", "halves", "looks", stranger=True):
        until = time.monotonic() + STORM_S
        while time.monotonic() < until:
            for command, code in (
                ("session.stop", "session-stop-refused"),
                ("session.status", ""),
                ("session.start", "session-start-refused"),
            ):
                seconds, told = asked(room, command)
                assert told == code and seconds < ANSWERED_S, (command, told, seconds)
        status = ask(room.places.socket, "session.status")
        assert status["recording"] is True and status["fault"] is None
        seconds, answer = told_to(room.places.run, "session.stop", {"by": "赵六", "reason": "询问结束"})
        assert answer.get("state") == "sealing" and seconds < ANSWERED_S, (answer, seconds)
    log = (room.folder / "agent.log").read_text()
    assert "Traceback" not in log and "no connection can be taken" not in log
